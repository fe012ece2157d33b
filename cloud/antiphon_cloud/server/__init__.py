"""The worker's process: its ports, its health, and one gRPC call after another."""
