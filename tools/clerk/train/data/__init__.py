"""What the number clerk hears and says in training: voices, scenes, conversations."""
