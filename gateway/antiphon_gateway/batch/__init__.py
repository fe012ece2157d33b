"""The codec for many callers at once: one run of a graph that steps several streams."""
