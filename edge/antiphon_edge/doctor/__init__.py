"""Whether this device keeps up with a conversation, and what to mend if not."""
