"""Who calls, how often, and over what kind of connection."""
