"""The protocols, a file or folder each, which only translate between messages and a call."""
