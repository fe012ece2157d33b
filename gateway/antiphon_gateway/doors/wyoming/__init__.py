"""Wyoming, the protocol of Home Assistant's voices: speech to text and text to speech, turn by turn, over TCP."""
