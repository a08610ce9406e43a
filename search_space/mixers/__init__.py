"""The catalogue of token mixers. A new mixer is a file beside this one and a line here."""

from search_space.catalogue import Catalogue, subclass_of

MIXERS = Catalogue(
    "mixer",
    {
        "attention": "search_space.mixers.attention:Attention",
        "gated_attention": "search_space.mixers.gated_attention:GatedAttention",
        "sliding_window": "search_space.mixers.sliding_window:SlidingWindow",
        "retnet": "search_space.mixers.retnet:RetNet",
        "gla": "search_space.mixers.gla:GatedLinearAttention",
        "hgrn": "search_space.mixers.hgrn:HGRN",
        "hgrn2": "search_space.mixers.hgrn2:HGRN2",
        "deltanet": "search_space.mixers.deltanet:DeltaNet",
        "gated_deltanet": "search_space.mixers.gated_deltanet:GatedDeltaNet",
        "parallel": "search_space.mixers.parallel:Parallel",
    },
    subclass_of("search_space.parts.base:Mixer"),
)

__all__ = ["MIXERS"]
