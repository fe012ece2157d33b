"""moshi-server's API, of Unmute and the scripts of delayed-streams-modeling: speech to text, and text to speech."""
