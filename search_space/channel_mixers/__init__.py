"""The catalogue of channel mixers. A new one is a file beside this one and a line here."""

from search_space.catalogue import Catalogue, subclass_of

CHANNEL_MIXERS = Catalogue(
    "channel_mixer",
    {"swiglu": "search_space.channel_mixers.swiglu:SwiGLU"},
    subclass_of("search_space.parts.base:ChannelMixer"),
)

__all__ = ["CHANNEL_MIXERS"]
