"""The cloud worker: checkpoints, the model, the step engine and the gRPC service."""

import antiphon as _antiphon  # noqa: F401 - tells onnxruntime not to report, before anything here imports it
