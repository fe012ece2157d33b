"""What the gateway adds to a conversation, what each hop of it costs, and how many conversations a core carries."""
