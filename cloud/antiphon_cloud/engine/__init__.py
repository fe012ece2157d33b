"""Slots, and the process whose one thread steps them all in one batch."""
