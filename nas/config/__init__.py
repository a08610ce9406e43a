"""What a user can set: the keys, the presets, and how they are read."""

from nas.config.loading import load, presets
from nas.config.settings import FORMAT, Config

__all__ = ["FORMAT", "Config", "load", "presets"]
