"""The contract between edge and cloud: messages, code packing, specs and errors. Needs protobuf and numpy only."""

import os
from importlib import metadata

try:
    __version__ = metadata.version("antiphon")
except metadata.PackageNotFoundError:  # a checkout that is run without being installed
    __version__ = "0+checkout"

# onnxruntime's wheels since 1.29 send telemetry to Microsoft and keep a device identifier in the user's cache, unless
# this is set when they are imported. Our users have not agreed to that.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
