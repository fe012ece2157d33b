"""The codec Mimi, and its export for the edge."""
