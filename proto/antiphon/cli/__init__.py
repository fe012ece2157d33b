"""What both command lines share: their manners, their first moments, and the files that they write."""
