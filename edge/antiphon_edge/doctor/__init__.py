"""Whether this device keeps up with a conversation."""
