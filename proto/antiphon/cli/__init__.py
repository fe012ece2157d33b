"""What the command lines share: their manners, their first moments, their settings, and the files that they write."""
