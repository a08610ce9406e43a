"""The catalogue of channel mixers. A new one is a file beside this one and a line here."""

from search_space.catalogue import Catalogue

CHANNEL_MIXERS = Catalogue("channel_mixer", {"swiglu": "search_space.channel_mixers.swiglu:SwiGLU"})

__all__ = ["CHANNEL_MIXERS"]
