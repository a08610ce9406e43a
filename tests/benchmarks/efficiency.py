"""How the order of layouts depends on the use, and how good the cost model is.

Run as `python -m tests.benchmarks.efficiency`; writes docs/efficiency.md from the published layouts and the profiles in
docs/profiles (each made by `nas profile`).
"""

from dataclasses import replace
from itertools import combinations
from pathlib import Path
from statistics import median

from scipy.stats import kendalltau

from nas.study.profiling import table
from search_space.cost.cost import Cost, cost
from search_space.cost.measured import Profile, load_profile
from search_space.cost.target import TARGETS, Target
from search_space.layouts.published import published_layouts

DOCS = Path(__file__).parents[2] / "docs"
USES = {"chat: B 1, n 4k": (1, 4096), "B 8, n 32k": (8, 32768), "long context: B 64, n 128k": (64, 131072)}
SHOWN = [
    "Transformer", "Gemma 2 2B", "Qwen3-Next", "RetNet 3:1", "Gated DeltaNet 3:1", "HGRN2 6:1", "Gated DeltaNet 12:1",
    "Mistral 7B", "Gated DeltaNet-H1", "RetNet", "Gated DeltaNet", "GLA", "HGRN2", "DeltaNet", "HGRN",
]  # fmt: skip


def priced(target: Target) -> dict[str, dict[str, Cost]]:
    """Use -> published layout -> cost, all at the depth of the target."""
    layouts = {p.name: p.layout for p in published_layouts()}
    return {
        use: {name: cost(layout, replace(target, batch=b, context=n)) for name, layout in layouts.items()}
        for use, (b, n) in USES.items()
    }


def by_use(target: Target) -> list[str]:
    """The order of the published layouts under each use."""
    found = priced(target)
    order = {use: sorted(costs, key=lambda name, c=costs: c[name].decode_ms) for use, costs in found.items()}
    heads = [f"{use}: ms (place)" for use in USES]
    lines = [f"| layout | {' | '.join(heads)} | sequences of 128k that fit |", "| --- " * (len(heads) + 2) + "|"]
    for name in SHOWN:
        cells = [f"{costs[name].decode_ms:.3g} ({order[use].index(name) + 1})" for use, costs in found.items()]
        lines.append(f"| {name} | {' | '.join(cells)} | {list(found.values())[-1][name].largest_batch} |")
    spans = [
        f"{max(c.decode_ms for c in costs.values()) / min(c.decode_ms for c in costs.values()):.3g}"
        for costs in found.values()
    ]
    lines += ["", f"Slowest over fastest: {', '.join(f'{s} ({use})' for s, use in zip(spans, USES, strict=True))}."]
    for one, other in combinations(USES, 2):
        names = list(found[one])
        pairs = ([found[use][name].decode_ms for name in names] for use in (one, other))
        lines.append(f"Agreement of the order (Kendall's tau), {one} and {other}: {kendalltau(*pairs).statistic:.2f}.")
    return lines


def checked(profile: Profile) -> list[str]:
    """How far sums over layers, and rooflines, are from whole models."""
    lines = [
        "| pass | whole models measured | within 10%: sum | median | worst | roofline: median | worst |",
        "| --- " * 7 + "|",
    ]
    for kind in ("decode", "prefill"):
        off = profile.errors(kind)
        total, roofline = off["sum"], off["roofline"]
        if total:
            good = sum(error <= 0.1 for error in total)
            lines.append(
                f"| {kind} | {len(total)} | {good} of {len(total)} | {median(total):.1%} | {total[-1]:.1%} "
                f"| {median(roofline):.1%} | {roofline[-1]:.1%} |"
            )
    return lines


def main() -> None:
    """Writes the page."""
    target = TARGETS["study_1p3b"]
    lines = [
        "# Efficiency",
        "",
        "Made by `python -m tests.benchmarks.efficiency` from the published layouts and the profiles in "
        "[profiles](profiles).",
        "",
        "## What is cheap depends on the use",
        "",
        f"A decode step of published layouts at one size ({target.layers} layers, width {target.width}), by the "
        "roofline of an H100's datasheet: nothing here was measured on one. Places are among all "
        f"{len(published_layouts())} published layouts (`nas published`).",
        "",
        *by_use(target),
        "",
        "For one user and a short context layouts with a channel mixer in every layer cost about the same, since "
        "reading the weights is what takes the time; with many sequences and long contexts the cache of the few "
        "attention layers is all that counts, and the kind of the other layers hardly does. `nas front DIR "
        "target.batch=1 target.context=4096` prices a finished "
        "search's layouts for another use.",
        "",
        "## Measured against whole models",
        "",
        "`nas profile` times a layer of each kind, and `target.profile` makes the cost model add these up. Each "
        "profile also holds random layouts that were built and timed as whole models.",
        "",
    ]
    for path in sorted((DOCS / "profiles").glob("*.json")):
        profile = load_profile(str(path))
        about = profile.about
        lines += [
            f"### {path.stem}",
            "",
            f"{about['device']}, {about['dtype']}, torch {about['torch']}, {about['date']}; `{about['command']}`. "
            f"Width {profile.sizes['width']}.",
            "",
            *checked(profile),
            "",
            "```",
            *table(profile).splitlines(),
            "```",
            "",
        ]
    (DOCS / "efficiency.md").write_text("\n".join(lines).rstrip() + "\n")


if __name__ == "__main__":
    main()
