"""Profiles the device at hand: what to measure, and how to show it."""

import os
import platform
import random
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import product
from statistics import median

import torch
from tqdm import tqdm

from nas.config import Config
from search_space import limits
from search_space.cost.cost import cost, part_counts
from search_space.cost.measured import ENDS, Profile
from search_space.cost.target import Target
from search_space.errors import InputError
from search_space.layouts.block import Block
from search_space.layouts.layout import Layout
from search_space.parts.build import build_mixer
from search_space.parts.part import NONE
from search_space.space.space import Space
from workers.profiler import Profiler

CONTEXTS = {"cuda": (2048, 8192, 32768, 131072), "cpu": (512, 2048, 8192)}
MOST = 32
"""Batches, contexts or prompts."""
PASSES = 2
PROMPTS = {"cuda": (2048, 8192, 32768), "cpu": (512, 1024)}


@dataclass(frozen=True)
class Grid:
    """Where to measure.

    Args:
        device: "cuda" or "cpu".
        batches: B of the decode steps.
        contexts: n of the decode steps.
        prompts: T of the prompts.
    """

    device: str
    batches: tuple[int, ...]
    contexts: tuple[int, ...]
    prompts: tuple[int, ...]

    @classmethod
    def parse(cls, device: str | None, batches: str, contexts: str | None, prompts: str | None) -> "Grid":
        """From options of the command line.

        Raises:
            InputError: no list of positive integers, or no GPU.
        """
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        if device == "cuda" and not torch.cuda.is_available():
            raise InputError("--device", "cuda", "a machine with a GPU and a CUDA build of torch")
        return cls(
            device,
            _integers("--batches", batches),
            CONTEXTS[device] if contexts is None else _integers("--contexts", contexts),
            PROMPTS[device] if prompts is None else _integers("--prompts", prompts),
        )

    @property
    def points(self) -> list[tuple[int, int]]:
        """All (B, n)."""
        return list(product(self.batches, self.contexts))

    @property
    def checked(self) -> list[tuple[int, int]]:
        """Those that whole models are measured at: two batches, the shortest context and the last but one."""
        return list(product(self.batches[:2], sorted({self.contexts[0], self.contexts[-2:][0]})))


def _integers(option: str, text: str) -> tuple[int, ...]:
    try:
        found = sorted(int(part) for part in text[: limits.TEXT].split(","))
    except ValueError:
        found = [0]
    if not 1 <= found[0] <= found[-1] <= limits.TOKENS or len(found) > MOST:
        raise InputError(
            option, text, f"at most {MOST} positive integers of at most {limits.TOKENS}, with commas between"
        )
    return tuple(dict.fromkeys(found))


def _check_room(grid: Grid, blocks: Iterable[Block | None], target: Target, memory: float) -> None:
    """Raises InputError for prompts, batches or contexts that not even a single layer has room for."""
    dims, size = target.sizes.dims(), target.cache_element_bytes
    for option, tokens in (("--batches", grid.batches[-1]), ("--prompts", grid.prompts[-1])):
        if tokens * (target.width + target.mlp_width) * size > memory:
            raise InputError(option, tokens, "fewer: the inputs of a layer do not fit in memory")
    with torch.device("meta"):
        mixers = [build_mixer(target.part(block.mixer), dims) for block in blocks if block and block.mixer]
    for mixer in mixers:
        cost = mixer.cost()
        if max(cost.cache_bytes(grid.contexts[-1], size, read=read) for read in (False, True)) > memory:
            raise InputError("--contexts", grid.contexts[-1], "fewer: the cache of a layer does not fit in memory")


def measure(config: Config, grid: Grid, check: int, save: Callable[[Profile], None]) -> Profile:
    """Measures all parts, then `check` random layouts as whole models, to compare with the sums of their layers.

    All of it is measured `PASSES` times, minutes apart, and of each figure the shortest time counts: other work on the
    machine would else slow parts and whole models by different shares.

    Args:
        config: its target's sizes, its space's blocks.
        grid: where to measure.
        check: layouts.
        save: called with what there is so far: after each part, so that a stop loses little.

    Raises:
        InputError: the target has a profile, or the place of the file cannot be written.
    """
    target = config.target
    if target.profile is not None:
        raise InputError("target.profile", target.profile, "null where a profile is to be made")
    space, rng = Space(config.space, target), random.Random(config.search.seed)
    blocks: dict[str, Block | None] = {ENDS: None}
    for block in sorted(space.blocks.values(), key=str):
        mixer = target.part(block.mixer)
        blocks |= {str(mixer): Block(mixer, NONE)} if mixer else {}
        blocks |= {str(block.mlp): Block(NONE, block.mlp)} if block.mlp else {}
    layouts = [target.layout(space.sample(rng)) for _ in range(check)]
    profiler = Profiler(target, grid.device)
    _check_room(grid, blocks.values(), target, profiler.memory)
    flops, bandwidth = profiler.ceilings()
    profile = Profile(
        about=_about(grid, profiler), sizes=target.profiled_sizes, flops=flops, bandwidth=bandwidth, parts={}
    )
    save(profile)
    whole: dict[Layout, list[float]] = {}
    with tqdm(total=PASSES * (len(blocks) + check), file=sys.stderr, unit="part", mininterval=_every()) as bar:
        for _ in range(PASSES):
            for name, alone in blocks.items():
                bar.set_description(name, refresh=False)
                times = profiler.part(alone, grid.points, grid.prompts)
                profile.parts[name] = profile.parts.get(name, times).faster(times)
                save(profile)
                bar.update()
            for number, layout in enumerate(layouts, 1):
                bar.set_description(f"whole model {number}", refresh=False)
                found = list(profiler.whole(layout, grid.checked, grid.prompts[-1:]))
                whole[layout] = [min(pair) for pair in zip(whole.get(layout, found), found, strict=True)]
                bar.update()
            profile.check[:] = _compared(profile, whole, config, grid, profiler.memory)
            save(profile)
    return profile


def _every() -> float:
    """Seconds between looks at the progress: a line now and then where standard error is no terminal."""
    return 0.1 if sys.stderr.isatty() else 20.0


def _compared(
    profile: Profile, whole: dict[Layout, list[float]], config: Config, grid: Grid, memory: float
) -> list[dict]:
    """Rows of `Profile.check`: measured, by the sum over the layers, and by a roofline of the measured ceilings.

    Args:
        whole: layout -> milliseconds of decode steps at `grid.checked`, then of a prompt.
    """
    target, rows = config.target, []
    weight_bytes = 2 if grid.device == "cuda" else 4
    device = {"flops": profile.flops, "bandwidth": profile.bandwidth, "memory": memory}
    served = replace(target, device=device, weight_bytes=weight_bytes, cache_element_bytes=weight_bytes)
    points = [("decode", *point) for point in grid.checked] + [("prefill", 1, grid.prompts[-1])]
    for layout, times in whole.items():
        parts = part_counts(layout, target)
        for (kind, batch, tokens), ms in zip(points, times, strict=True):
            price = cost(layout, replace(served, batch=batch, context=tokens))
            decode = kind == "decode"
            rows.append(
                {
                    "layout": str(layout),
                    "kind": kind,
                    "batch": batch,
                    "tokens": tokens,
                    "measured_ms": ms,
                    "sum_ms": profile.decode_ms(parts, batch, tokens) if decode else profile.prefill_ms(parts, tokens),
                    "roofline_ms": price.decode_ms if decode else price.prefill_ms,
                }
            )
    return rows


def _about(grid: Grid, profiler: Profiler) -> dict:
    gpu = grid.device == "cuda"
    return {
        "device": torch.cuda.get_device_name()
        if gpu
        else f"CPU {platform.machine()}, {torch.get_num_threads()} threads",
        "dtype": str(profiler.dtype).removeprefix("torch."),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
        "command": "nas " + " ".join(sys.argv[1:]),
        "backend": os.environ.get("KERNELS_BACKEND") or ("triton" if gpu else "chunked"),
        "memory": profiler.memory,
    }


def table(profile: Profile) -> str:
    """For people: a line for each part, and how well the sums agree with whole models."""
    columns = sorted({(int(b), int(n)) for part in profile.parts.values() for b, n, _ in part.decode if n > 1})
    prompts = sorted({int(t) for part in profile.parts.values() for t, _ in part.prefill})
    heads = [f"B {b}, n {_short(n)}" for b, n in columns] + [f"T {_short(t)}" for t in prompts]
    lines = [
        f"{profile.about['device']}, {profile.about['dtype']}: {profile.flops / 1e12:.3g} TFLOP/s, "
        f"{profile.bandwidth / 1e9:.0f} GB/s; milliseconds a layer",
        f"{'':18}" + "".join(f"{head:>15}" for head in heads),
    ]
    for name, part in profile.parts.items():
        measured = {(int(b), int(n)) for b, n, _ in part.decode}
        cells = [f"{part.decode_ms(b, n):.3f}" if (b, n) in measured or (b, 1) in measured else "-" for b, n in columns]
        cells += [f"{part.prefill_ms(t):.2f}" for t in prompts]
        lines.append(f"{name:18}" + "".join(f"{cell:>15}" for cell in cells))
    for kind in ("decode", "prefill"):
        errors = profile.errors(kind)
        if errors["sum"]:
            said = [f"{way} {median(e):.1%} off (at most {e[-1]:.1%})" for way, e in errors.items()]
            models = {row["layout"] for row in profile.check if row["kind"] == kind}
            lines.append(f"{kind} of {len(models)} whole models: {', '.join(said)}")
    return "\n".join(lines) + "\n"


def _short(tokens: int) -> str:
    return f"{tokens // 1024}k" if tokens % 1024 == 0 else str(tokens)
