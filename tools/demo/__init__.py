"""`make demo`: a conversation with the packaged model, in real time."""
