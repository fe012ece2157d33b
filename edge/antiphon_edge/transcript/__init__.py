"""What a model that listens has heard: words with their times, pauses, and subtitles."""
