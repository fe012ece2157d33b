"""What both servers share: the operators' port, keys, rates, reloads, and what is said of sessions."""
