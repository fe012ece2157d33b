"""What only a GPU shows, and what of it can be known without one."""
