"""What both servers share: the operators' port, changing files, keys, rates, reloads, and what is said of sessions."""
