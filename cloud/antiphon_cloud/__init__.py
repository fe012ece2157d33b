"""The cloud worker: checkpoints, the model, the step engine and the gRPC service."""
