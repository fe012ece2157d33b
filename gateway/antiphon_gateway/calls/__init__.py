"""A caller: samples up, the model's frames down, at the pace of either."""
