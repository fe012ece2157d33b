"""The codec on onnxruntime, where its files come from, and what they may hold."""
