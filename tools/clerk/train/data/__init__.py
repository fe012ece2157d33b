"""Training data of the number clerk: voices, scenes, conversations."""
