"""Domain rules: pure functions and data, without I/O, clock or randomness."""
