"""Settings: where they come from, how each is read, and what they may be."""
