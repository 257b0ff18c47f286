"""The vendors' own packages and specifications against the simulator, and our adapters' calls against the latter."""
