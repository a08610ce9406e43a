"""The token mixers that there are, at the target's scale and the proxy's."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nas.config import Config
from search_space.errors import InputError
from search_space.mixers import MIXERS
from search_space.parts.build import mixer_class, options_of
from search_space.parts.part import Part
from search_space.scale import Scaled


@dataclass(frozen=True, kw_only=True)
class MixerRow:
    """A token mixer in the catalogue.

    Args:
        name: as layouts and spaces name it.
        source: the paper that it follows.
        options: its options, with their defaults.
        scaled: with these defaults at both scales; None for a mixer that needs options, as `parallel` does.
    """

    name: str
    source: str
    options: Mapping[str, Any]
    scaled: Scaled | None


def mixer_rows(config: Config) -> list[MixerRow]:
    """All mixers of the catalogue, at the scales of a configuration."""
    return [_row(name, config) for name in MIXERS.names()]


def _row(name: str, config: Config) -> MixerRow:
    kind, scaled = mixer_class(Part(name)), None
    try:
        scaled = config.scale.scaled(Part(name))
    except InputError as error:
        if name not in error.key:  # then it is not that the mixer lacks an option
            raise
    return MixerRow(name=name, source=kind.source, options=options_of(kind), scaled=scaled)


def table(rows: list[MixerRow], context: int, length: int) -> str:
    """For people: the elements that each mixer keeps of a sequence, its parameters and the FLOPs of a decode step.

    Args:
        rows: of the catalogue.
        context: tokens that a sequence of the target holds.
        length: tokens of a sequence of the proxy.
    """
    lines = [
        f"{'':18}{'state':^21}  {'cache':^21}  {'parameters':^21}  {'FLOPs':^21}",
        f"{'mixer':18}" + "  ".join([f"{'target':>12} {'proxy':>8}"] * 4),
    ]
    for row in rows:
        cells = []
        if row.scaled is not None:
            pairs = ((row.scaled.target, context), (row.scaled.proxy, length))
            figures = [(c.state_elements, c.cache_elements(n), c.parameters, round(c.step_flops(n))) for c, n in pairs]
            cells = [f"{target:>12,} {proxy:>8,}" for target, proxy in zip(*figures, strict=True)]
        floor = "*" if row.scaled is not None and row.scaled.floor else ""
        lines.append(f"{row.name + floor:18}" + "  ".join(cells).rstrip())
    if any(row.scaled is not None and row.scaled.floor for row in rows):
        lines.append(
            "* its state in the proxy is larger than in proportion: it has no fewer elements than the model is wide"
        )
    return "\n".join(lines) + "\n"
