"""The contract between edge and cloud: messages, code packing, specs and errors. Needs protobuf and numpy only."""

__version__ = "0.1.0"
