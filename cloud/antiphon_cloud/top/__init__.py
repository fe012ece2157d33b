"""Workers at a glance: how those at some addresses are, as a table, as lines and as JSON."""
