"""Many checks beside each other, the registry that they ask, and the picture of their load."""
