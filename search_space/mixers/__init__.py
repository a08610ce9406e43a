"""The catalogue of token mixers. A new mixer is a file beside this one and a line here."""

from collections.abc import Mapping
from inspect import Parameter, signature
from typing import Any

from search_space.catalogue import Catalogue
from search_space.errors import InputError, one_of
from search_space.mixers.base import Dims, Mixer

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
    },
)


def build_mixer(name: str, dims: Dims, options: Mapping[str, Any] | None = None, key: str = "mixer") -> Mixer:
    """Builds the mixer called `name` in a model of sizes `dims`.

    Args:
        name: built-in or announced name, or dotted path.
        dims: sizes of the model.
        options: keyword options of the mixer.
        key: configuration key that messages name; an option's is `key.option`.

    Raises:
        InputError: no such mixer, no such option, or a value that the mixer cannot take.
    """
    kind = MIXERS.get(name, key)
    if not (isinstance(kind, type) and issubclass(kind, Mixer)):
        raise InputError(key, name, "a subclass of search_space.mixers.base.Mixer")
    options = dict(options or {})
    known = option_names(kind)
    for option, value in options.items():
        if option not in known:
            options_of = f"an option of {name}: {one_of(option, known)}"
            raise InputError(f"{key}.{option}", value, options_of if known else f"no options for {name}")
    try:
        return kind(dims, **options)
    except InputError as error:
        raise InputError(f"{key}.{error.key}", error.value, error.expected) from error


def option_names(kind: type[Mixer]) -> list[str]:
    """Options that a mixer takes; where it passes `**options` on, those of the mixer below it as well."""
    names: list[str] = []
    for each in kind.__mro__:
        if each is Mixer:
            break
        if "__init__" in vars(each):
            _, _, *parameters = signature(vars(each)["__init__"]).parameters.values()  # beside self and dims
            names += [p.name for p in parameters if p.kind is not Parameter.VAR_KEYWORD]
            if len(names) == len(parameters):
                break
    return names


__all__ = ["MIXERS", "build_mixer", "option_names"]
