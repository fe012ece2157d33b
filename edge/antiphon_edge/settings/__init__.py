"""What a person has settled once for all commands: the file that holds it, and how that is changed."""
