"""The contract between edge and cloud: messages, code packing, specs and errors. Needs protobuf and numpy only."""

import os

__version__ = "0.1.0"

# onnxruntime's wheels since 1.29 report to Microsoft and keep a device's identifier in the user's cache, unless this is
# set when they are imported. Who talks to a machine at home has not agreed to that.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
