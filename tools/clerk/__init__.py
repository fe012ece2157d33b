"""The number clerk: how well it does, and how it is trained."""
