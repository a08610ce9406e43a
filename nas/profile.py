"""Profiles the device at hand: what to measure, and how to show it."""

import os
import platform
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product
from statistics import median

import torch
from tqdm import tqdm

from nas.config import Config
from search_space.cost import cost
from search_space.errors import InputError
from search_space.layout import Block, Layout
from search_space.profile import ENDS, MLP, Profile
from search_space.resize import resize
from search_space.space import Space
from workers.profiler import Profiler

CONTEXTS = {"cuda": (2048, 8192, 32768, 131072), "cpu": (512, 2048, 8192)}
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
        found = sorted({int(part) for part in text.split(",")})
    except ValueError:
        found = [0]
    if found[0] < 1:
        raise InputError(option, text, "positive integers separated by commas")
    return tuple(found)


def measure(config: Config, grid: Grid, check: int, save: Callable[[Profile], None]) -> Profile:
    """Measures all parts, then compares `check` random layouts as whole models with the sums of their layers.

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
    space = Space(config.space, target)
    blocks = sorted({block.updated(target.options) for slot in space.slots for block in space.blocks(slot)}, key=str)
    profiler = Profiler(target, grid.device)
    flops, bandwidth = profiler.ceilings()
    profile = Profile(about=_about(grid, profiler), sizes=target.sizes, flops=flops, bandwidth=bandwidth, parts={})
    save(profile)
    names: list[str | Block] = [ENDS, MLP, *blocks]
    live = sys.stderr.isatty()
    bar = tqdm(total=len(names) + check, file=sys.stderr, disable=not live, unit="part")
    for name in names:
        bar.set_description(str(name))
        begin = time.monotonic()
        profile.parts[str(name)] = profiler.part(name, grid.points, grid.prompts)
        save(profile)
        bar.update()
        if not live:
            print(f"{name}: {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
    rates = {"flops": flops, "bandwidth": bandwidth, "memory": profiler.memory}
    rng = random.Random(config.search.seed)
    for number in range(check):
        bar.set_description(f"whole model {number + 1}")
        layout = resize(space.sample(rng), target.layers)
        profile.check.extend(_compared(profile, profiler, layout, config, rates, grid))
        save(profile)
        bar.update()
        if not live:
            print(f"whole model {number + 1} of {check}: {layout}", file=sys.stderr, flush=True)
    bar.close()
    return profile


def _compared(profile: Profile, profiler: Profiler, layout: Layout, config: Config, rates: dict, grid: Grid) -> list:
    """Rows of `Profile.check` for one layout: measured, by the sum over its layers, and by a roofline."""
    target = config.target
    parts = Counter({MLP: target.layers, ENDS: 1})
    parts.update(str(block.updated(target.options)) for block in layout.layers)
    weight_bytes = 2 if grid.device == "cuda" else 4
    rows = []
    for kind, batch, tokens, ms in profiler.whole(layout, grid.checked, grid.prompts[-1:]):
        at = replace(
            target,
            device=rates,
            batch=batch,
            context=tokens,
            weight_bytes=weight_bytes,
            cache_element_bytes=weight_bytes,
        )
        price = cost(layout, at)
        if kind == "decode":
            by_sum, roofline = profile.decode_ms(parts, batch, tokens), price.decode_ms
        else:
            by_sum, roofline = profile.prefill_ms(parts, tokens), price.prefill_ms
        found = {"layout": str(layout), "kind": kind, "batch": batch, "tokens": tokens}
        rows.append({**found, "measured_ms": ms, "sum_ms": by_sum, "roofline_ms": roofline})
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
        rows = [row for row in profile.check if row["kind"] == kind]
        if rows:
            errors = {
                way: sorted(abs(row[f"{way}_ms"] / row["measured_ms"] - 1) for row in rows)
                for way in ("sum", "roofline")
            }
            said = [f"{way} {median(e):.1%} off (at most {e[-1]:.1%})" for way, e in errors.items()]
            lines.append(f"{kind} of {len({row['layout'] for row in rows})} whole models: {', '.join(said)}")
    return "\n".join(lines) + "\n"


def _short(tokens: int) -> str:
    return f"{tokens // 1024}k" if tokens % 1024 == 0 else str(tokens)
