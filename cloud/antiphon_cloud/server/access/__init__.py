"""Who may call, how often, and over what kind of connection."""
