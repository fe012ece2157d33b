"""A conversation: its protocol, and who may have one."""
