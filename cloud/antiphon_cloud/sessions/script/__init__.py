"""What a session is given to say: its words, and when the text stream holds them."""
