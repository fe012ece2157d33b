"""The SDK: a session that outlives its streams."""
