"""The edge: codec, audio devices and client. Never imports torch."""

import antiphon as _antiphon  # noqa: F401 - tells onnxruntime not to report, before anything here imports it
