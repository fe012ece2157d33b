"""What the model is, in plain torch: the definition."""
