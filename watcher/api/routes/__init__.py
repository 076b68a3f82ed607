"""The routes of the merchant API, one module per noun, each with a ``router``."""
