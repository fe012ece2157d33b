"""What both servers share: the operators' port, files that change, keys, rates, reloads, and what is said of sessions."""
