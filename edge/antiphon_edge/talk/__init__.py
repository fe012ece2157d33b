"""A conversation from sound to sound, what is measured of it, and what is kept."""
