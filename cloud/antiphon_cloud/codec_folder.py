"""An exported codec's folder, as the worker sees it: whose codes these are, and which files to hand out."""

from __future__ import annotations

CODEC_FILES = ("codec.json", "encoder.onnx", "decoder.onnx")
