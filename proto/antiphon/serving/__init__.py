"""What both servers share, the worker and the gateway: the operators' port, who gets in, how often, and reloads."""
