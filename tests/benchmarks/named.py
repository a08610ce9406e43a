"""Layouts by name that the recall suite is calibrated on, and ladders: rows whose order is known."""

from collections.abc import Sequence
from dataclasses import dataclass

from nas.config import Config

LADDERS = ["window", "state", "convolution", "count", "place"]


@dataclass(frozen=True)
class Case:
    """One row of a table.

    Args:
        name: shown.
        layout: in short.
        overrides: of the configuration.
    """

    name: str
    layout: str
    overrides: tuple[str, ...] = ()


def stack(mixer: str, depth: int, attention: Sequence[int] = (), name: str | None = None) -> Case:
    """A stack of one mixer with attention in some layers."""
    blocks = ["attention" if i in attention else mixer for i in range(depth)]
    places = f", attention at {', '.join(map(str, attention))}" if attention else ""
    return Case(name or f"{mixer.partition('(')[0]}{places}", " ".join(blocks))


def window(tokens: int, config: Config) -> str:
    """A sliding window that sees so many tokens in the proxy."""
    return f"sliding_window(window={tokens * config.target.context // config.training.length})"


def layouts(config: Config) -> list[Case]:
    """Twelve layouts: pure stacks and hybrids, from the weakest to full attention."""
    depth = config.space.layers
    length, middle, last = config.training.length, depth // 2, depth - 1
    return [
        stack("attention", depth),
        stack(window(max(2, length // 16), config), depth, name="window of 1/16"),
        *(stack(mixer, depth) for mixer in ("hgrn", "gla", "deltanet", "gated_deltanet", "mamba2")),
        stack("gla", depth, [middle]),
        *(stack("gated_deltanet", depth, [place]) for place in (0, middle, last)),
        stack("gated_deltanet", depth, [middle // 2, middle + middle // 2]),
    ]


def ladder(name: str, config: Config) -> list[list[Case]]:
    """Rows of cases; within each the published order is from worst to best."""
    depth, length = config.space.layers, config.training.length
    middle = depth // 2
    if name == "window":  # 2506.05233, table 15
        sizes = [w for w in (4, 8, 16, 32, 64, 128, 256) if w < length]
        return [[*(stack(window(w, config), depth, name=f"window {w}") for w in sizes), stack("attention", depth)]]
    if name == "state":  # 2402.18668, table 6; 2412.06464
        sizes = [config.proxy.state // 4, config.proxy.state, config.proxy.state * 4]
        return [[Case(f"{m}, state {s}", " ".join([m] * depth), (f"proxy.state={s}",)) for s in sizes]
                for m in ("gla", "gated_deltanet")]  # fmt: skip
    if name == "convolution":  # 2406.06484, 2412.06464
        return [[stack(f"{m}(conv=0)", depth, name=f"{m}, no convolution"), stack(m, depth)]
                for m in ("deltanet", "gated_deltanet")]  # fmt: skip
    if name == "count":  # 2507.06457 and others
        spread = [[], [middle], [depth // 3, 2 * depth // 3], range(1, depth, 2), range(depth)]
        return [[stack(m, depth, places, name=f"{m}, {len(places)} attention") for places in spread]
                for m in ("gla", "gated_deltanet")]  # fmt: skip
    # 2510.04800, table 17: index 0 is the worst place.
    return [[stack(m, depth, [place]) for place in (0, middle)] for m in ("gla", "gated_deltanet", "mamba2")]
