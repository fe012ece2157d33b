"""What both servers share, worker and gateway: the operators' port, keys, rates, and what is said of sessions."""
