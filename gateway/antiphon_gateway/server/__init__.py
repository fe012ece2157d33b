"""The gateway's process: its ports, its routes, its health, and a clean end."""
