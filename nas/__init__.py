"""Architecture search for hybrid language models."""

__version__ = "0.2.0"
