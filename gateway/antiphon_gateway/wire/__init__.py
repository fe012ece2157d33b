"""Formats on the wire, without I/O: Ogg and Opus, G.711, PCM, and the shapes of messages."""
