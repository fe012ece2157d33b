"""What becomes of a voice on its way to the microphone: places, loudspeakers, and the clerk's own echo."""
