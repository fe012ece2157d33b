"""The edge: codec, audio devices and client. Never imports torch."""
