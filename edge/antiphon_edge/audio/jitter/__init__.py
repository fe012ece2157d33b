"""What a playout buffer needs where frames come late and clocks differ: how late, how joined, and how concealed."""
