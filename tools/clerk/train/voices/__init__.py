"""Natural voices for the number clerk: Kokoro-82M offline, who of them is held out, and what they say."""
