"""What a person, a program or the system is told of a conversation while it goes on, and what they may say to it."""
