"""A model that steps a batch on a device, and what that costs."""
