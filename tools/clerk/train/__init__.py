"""Training of the number clerk from scratch; README.md has the recipe."""
