"""From a part as data to a torch module."""

from collections.abc import Mapping
from inspect import Parameter, signature
from typing import Any

from search_space.channel_mixers import CHANNEL_MIXERS
from search_space.errors import InputError, one_of
from search_space.files import reason
from search_space.mixers import MIXERS
from search_space.parts.base import ChannelMixer, Dims, LayerPart, Mixer
from search_space.parts.part import Part


def mixer_class(part: Part, key: str = "mixer") -> type[Mixer]:
    """The class behind a mixer's name.

    Raises:
        InputError: there is none; names `key`.
    """
    return MIXERS.get(part.kind, key)


def channel_mixer_class(part: Part, key: str = "mlp") -> type[ChannelMixer]:
    """The class behind a channel mixer's name, likewise."""
    return CHANNEL_MIXERS.get(part.kind, key)


def build_mixer(part: Part | str, dims: Dims, key: str = "mixer") -> Mixer:
    """Builds a mixer in a model of sizes `dims`.

    Args:
        part: the mixer; a name alone means its default options.
        dims: sizes of the model, and the place in it.
        key: configuration key that messages name; an option's is `key.option`.

    Raises:
        InputError: no such mixer, no such option, or a value that the mixer cannot take.
    """
    part = Part(part) if isinstance(part, str) else part
    return _build(mixer_class(part, key), part, dims, key)


def build_channel_mixer(part: Part, dims: Dims, key: str = "mlp") -> ChannelMixer:
    """Builds a channel mixer, likewise."""
    return _build(channel_mixer_class(part, key), part, dims, key)


def options_of(kind: type[LayerPart]) -> dict[str, Any]:
    """Options that a part takes, with their defaults; where it passes `**options` on, those of the class below too."""
    found: dict[str, Any] = {}
    for each in kind.__mro__:
        if each in (Mixer, ChannelMixer):
            break
        if "__init__" in vars(each):
            _, _, *parameters = signature(vars(each)["__init__"]).parameters.values()  # beside self and dims
            named = {p.name: p.default for p in parameters if p.kind is not Parameter.VAR_KEYWORD}
            found = {**named, **found}
            if len(named) == len(parameters):
                break
    return found


def check_options(kind: type[LayerPart], name: str, options: Any, key: str) -> None:
    """Raises InputError, naming `key.option`, for an option that the part does not have."""
    known = list(options_of(kind))
    for option, value in dict(options).items():
        if option not in known:
            expected = f"an option of {name}: {one_of(option, known)}" if known else f"no options for {name}"
            raise InputError(f"{key}.{option}", value, expected)


def check_mixer_options(options: Any, key: str) -> None:
    """Raises InputError unless `options` is {mixer: {option: value}} with mixers and options that there are."""
    for name, own in options.items():
        kind = mixer_class(Part(str(name)), f"{key}.{name}")
        if not isinstance(own, Mapping):
            raise InputError(f"{key}.{name}", own, "a mapping from options to values")
        check_options(kind, str(name), own, f"{key}.{name}")


def _build(kind: Any, part: Part, dims: Dims, key: str) -> Any:
    check_options(kind, part.kind, part.options, key)
    try:
        return kind(dims, **dict(part.options))
    except InputError as error:
        raise InputError(f"{key}.{error.key}", error.value, error.expected) from error
    except (ArithmeticError, MemoryError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(key, part, f"a {part.kind} that can be built ({reason(error)})") from error
