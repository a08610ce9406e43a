"""The catalogue of channel mixers. A new one is a file beside this one and a line here."""

from search_space.catalogue import Catalogue

CHANNEL_MIXERS = Catalogue(
    "channel_mixer",
    {
        "swiglu": "search_space.channel_mixers.swiglu:SwiGLU",
        "geglu": "search_space.channel_mixers.geglu:GeGLU",
        "glu": "search_space.channel_mixers.glu:GLU",
        "relu2": "search_space.channel_mixers.relu2:ReLU2",
    },
)

__all__ = ["CHANNEL_MIXERS"]
