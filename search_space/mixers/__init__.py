"""The catalogue of token mixers. A new mixer is a file beside this one and a line here."""

from search_space.catalogue import Catalogue, subclass_of

MIXERS = Catalogue(
    "mixer",
    {
        "attention": "search_space.mixers.attention:Attention",
        "gated_attention": "search_space.mixers.gated_attention:GatedAttention",
        "sliding_window": "search_space.mixers.sliding_window:SlidingWindow",
        "mla": "search_space.mixers.mla:LatentAttention",
        "lightning": "search_space.mixers.lightning:Lightning",
        "retnet": "search_space.mixers.retnet:RetNet",
        "gla": "search_space.mixers.gla:GatedLinearAttention",
        "hgrn": "search_space.mixers.hgrn:HGRN",
        "hgrn2": "search_space.mixers.hgrn2:HGRN2",
        "deltanet": "search_space.mixers.deltanet:DeltaNet",
        "gated_deltanet": "search_space.mixers.gated_deltanet:GatedDeltaNet",
        "jet_block": "search_space.mixers.jet_block:JetBlock",
        "short_conv": "search_space.mixers.short_conv:ShortConv",
        "hyena_se": "search_space.mixers.hyena:HyenaSE",
        "hyena_mr": "search_space.mixers.hyena:HyenaMR",
        "hyena_li": "search_space.mixers.hyena:HyenaLI",
        "mamba": "search_space.mixers.mamba:Mamba",
        "mamba2": "search_space.mixers.mamba2:Mamba2",
        "kda": "search_space.mixers.kda:KDA",
        "rg_lru": "search_space.mixers.rg_lru:RGLRU",
        "parallel": "search_space.mixers.parallel:Parallel",
    },
    subclass_of("search_space.parts.base:Mixer"),
)

__all__ = ["MIXERS"]
