"""Who calls, and over what kind of connection."""
