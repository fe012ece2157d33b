"""What both servers share, the worker and the gateway: the operators' port, files that change, API keys, and rates."""
