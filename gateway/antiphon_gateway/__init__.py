"""The gateway: an edge for clients that have none, which speaks their protocols and runs the codec for them."""

import os

import antiphon as _antiphon  # noqa: F401 - tells onnxruntime not to report, before anything here imports it

# gRPC's core writes lines of its own to standard error; what matters of them comes as an error. Read when grpc is
# imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
