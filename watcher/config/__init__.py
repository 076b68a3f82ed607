"""Settings: their sources, types, validation and defaults."""
