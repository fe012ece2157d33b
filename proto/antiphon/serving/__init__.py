"""What both servers share, the worker and the gateway: the operators' port, the file of API keys, and rates."""
