"""Who gets in: keys, tokens for browsers, origins, and limits."""
