"""The number clerk: its evaluation and its training."""
