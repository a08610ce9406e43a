"""The catalogue of channel mixers. A new one is a file beside this one and a line here."""

from search_space.catalogue import Catalogue, subclass_of

CHANNEL_MIXERS = Catalogue(
    "channel_mixer",
    {
        "swiglu": "search_space.channel_mixers.swiglu:SwiGLU",
        "geglu": "search_space.channel_mixers.geglu:GeGLU",
        "glu": "search_space.channel_mixers.glu:GLU",
        "relu2": "search_space.channel_mixers.relu2:ReLU2",
        "moe": "search_space.channel_mixers.moe:MixtureOfExperts",
    },
    subclass_of("search_space.parts.base:ChannelMixer"),
)

__all__ = ["CHANNEL_MIXERS"]
