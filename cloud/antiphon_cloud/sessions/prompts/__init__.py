"""What a session begins with, as the rows of a history: a strategy for each family."""
