"""Published files, and how they become weights."""
