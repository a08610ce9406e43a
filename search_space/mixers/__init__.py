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
        "strided_attention": "search_space.mixers.strided_attention:StridedAttention",
        "nsa": "search_space.mixers.nsa:NativeSparseAttention",
        "rat": "search_space.mixers.rat:RAT",
        "retnet": "search_space.mixers.retnet:RetNet",
        "gla": "search_space.mixers.gla:GatedLinearAttention",
        "hgrn": "search_space.mixers.hgrn:HGRN",
        "hgrn2": "search_space.mixers.hgrn2:HGRN2",
        "deltanet": "search_space.mixers.deltanet:DeltaNet",
        "gated_deltanet": "search_space.mixers.gated_deltanet:GatedDeltaNet",
        "log_linear_gated_deltanet": "search_space.mixers.log_linear_gated_deltanet:LogLinearGatedDeltaNet",
        "jet_block": "search_space.mixers.jet_block:JetBlock",
        "xlstm": "search_space.mixers.xlstm:XLSTM",
        "mesa": "search_space.mixers.mesa:Mesa",
        "short_conv": "search_space.mixers.short_conv:ShortConv",
        "linear_attention": "search_space.mixers.linear_attention:LinearAttention",
        "based": "search_space.mixers.based:Based",
        "lightnet": "search_space.mixers.lightnet:LightNet",
        "rodimus": "search_space.mixers.rodimus:Rodimus",
        "base_conv": "search_space.mixers.base_conv:BaseConv",
        "rwkv6": "search_space.mixers.rwkv6:RWKV6",
        "rwkv7": "search_space.mixers.rwkv7:RWKV7",
        "hyena_se": "search_space.mixers.hyena:HyenaSE",
        "hyena_mr": "search_space.mixers.hyena:HyenaMR",
        "hyena_li": "search_space.mixers.hyena:HyenaLI",
        "mamba": "search_space.mixers.mamba:Mamba",
        "mamba2": "search_space.mixers.mamba2:Mamba2",
        "log_linear_mamba2": "search_space.mixers.log_linear_mamba2:LogLinearMamba2",
        "mamba3": "search_space.mixers.mamba3:Mamba3",
        "kda": "search_space.mixers.kda:KDA",
        "gdn2": "search_space.mixers.gdn2:GatedDeltaNet2",
        "rg_lru": "search_space.mixers.rg_lru:RGLRU",
        "parallel": "search_space.mixers.parallel:Parallel",
    },
    subclass_of("search_space.parts.base:Mixer"),
)

__all__ = ["MIXERS"]
