"""A conversation through a loudspeaker, in a simulated room."""
