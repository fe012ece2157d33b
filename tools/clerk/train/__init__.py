"""How the number clerk is trained from nothing; README.md has the recipe."""
