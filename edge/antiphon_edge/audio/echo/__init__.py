"""The speaker's sound, taken out of the microphone's."""
