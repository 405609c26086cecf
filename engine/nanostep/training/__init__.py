"""A run of training: its arguments, its calls of the engine, what happens between them, and its record."""
