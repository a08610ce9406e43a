"""What a user can set: the keys, the presets, and how they are read."""

import nas.config.presets as _folder  # noqa: F401  # before the function of that name, which would else give way to it
from nas.config.loading import load, presets
from nas.config.settings import FORMAT, Config

__all__ = ["FORMAT", "Config", "load", "presets"]
