"""Conversations by voice, measured: in a simulated room, and on a sound server without hardware."""
