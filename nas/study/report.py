"""The study as Markdown."""

from collections.abc import Sequence

import numpy as np

from nas.config import Config
from nas.study.cells import Cells, collect, published
from nas.study.fidelity import CHOSEN_ON, at_each_rung, between_seeds, between_studies, losses, recalls, with_paper
from nas.study.findings import findings
from nas.study.layouts import study_layouts
from nas.trials import Trial
from search_space.errors import InputError

BASELINE = "attention layers alone, no training"


def report(trials: Sequence[Trial], config: Config, other: Sequence[Trial] = ()) -> str:
    """Tables, findings and rank correlations of a study.

    Args:
        other: of another study, such as one with another learning rate, to be compared with.

    Raises:
        InputError: the folder holds no study, or too little of it.
    """
    _check(trials, config.space.layers)
    recall = collect(trials, lambda r: r.recall)
    recall_cells = {name: collect(trials, score) for name, score in recalls(trials).items()}
    loss_cells = {name: collect(trials, score) for name, score in losses(trials).items()}
    text = loss_cells.get("loss of text")
    diverged = sum(r.status == "diverged" for t in trials for r in t.results)
    seconds = np.mean([r.seconds for t in trials for r in t.results])
    lines = [
        f"{len(recall.mixers)} mixers x {len(recall.ratios)} ratios and the Transformer, {recall.seeds} seeds each at "
        f"least, {diverged} runs diverged; "
        f"{config.space.layers} layers of width {config.proxy.width}, {config.training.steps} steps of "
        f"{config.training.batch} x {config.training.length} tokens; {seconds:.0f} s a run. Intervals are 95%, from "
        f"the spread between the seeds of a layout ({recall.spread:.3f} in recall) unless said otherwise.",
    ]
    for name, cells in (recall_cells | loss_cells).items():
        lines += [f"\n## {name.capitalize()}\n", *_table(cells)]
    lines.append("\n## The paper's findings\n")
    for finding in findings(recall, text):
        lines += [f"**{finding.claim}** {finding.verdict.capitalize()}.\n", f"- Paper: {finding.paper}"]
        lines += [f"- {figure}" for figure in finding.figures] + [""]
    both = recall_cells | {f"-{name}": -cells for name, cells in loss_cells.items()}
    lines += ["## Correlation with the paper's models\n", *_with_paper({**both, BASELINE: recall.attention()})]
    lines += ["\n## Agreement of the proxies with themselves\n", *_with_themselves(trials, both)]
    if other:
        there = collect(other, lambda r: r.recall)
        paper, _ = with_paper(there, "ruler_1p3b", there.mixers)
        lines.append(
            f"\nKendall's tau with the other study, of means over seeds: {between_studies(trials, other)}. "
            f"Spearman's correlation of the other with RULER: {paper}."
        )
    return "\n".join(lines) + "\n"


def _check(trials: Sequence[Trial], depth: int) -> None:
    """Raises InputError unless all layouts of the study were trained with the same two seeds at least."""
    ended = {t.origin: {r.seed for r in t.results} for t in trials if t.state == "complete"}
    names = [name for _, name in study_layouts(depth)]
    shared = set.intersection(*(ended.get(name, set()) for name in names))
    if len(shared) < 2 or depth < 3:
        missing = sum(len(ended.get(name, ())) < 2 for name in names)
        found = f"{missing} of {len(names)} layouts with fewer than two seeds"
        raise InputError("DIR", found, "a finished study (`nas search --config study`) of three layers or more")


def _table(cells: Cells) -> list[str]:
    """Means by mixer and ratio, with the standard error of a cell's mean below."""
    means = cells.means
    rows = [
        f"| {mixer} | {' | '.join(f'{v:.3f}' for v in means[i])} |" for i, mixer in enumerate(cells.mixers)
    ]  # fmt: skip
    rows.append(f"| mean | {' | '.join(f'{v:.3f}' for v in means.mean(0))} |")
    head = [f"| | {' | '.join(cells.ratios)} |", "|" + " --- |" * (len(cells.ratios) + 1)]
    whole = f"Transformer {np.nanmean(cells.transformer):.3f}. " if np.isfinite(cells.transformer).any() else ""
    return [*head, *rows, "", f"{whole}Standard error of a cell: {cells.error:.3f} at most."]


def _with_paper(cells: dict[str, Cells]) -> list[str]:
    lines = [
        "Rank correlation over cells (mixer x ratio), with intervals from cells drawn anew. The tasks were chosen on "
        f"{' and '.join(CHOSEN_ON)} alone; the learning rate and which tasks count were not. One cell of the paper is "
        "one run, so no proxy can reach 1. Where mixers are compared at a ratio, both sides are less their mean over "
        "mixers at that ratio; where ratios are compared for a mixer, less that mixer's mean over ratios; such cells "
        "depend on each other, so no interval is given.\n",
    ]
    for table, title in (("ruler_1p3b", "RULER, 1.3B"), ("lm_average", "language-modelling average, 1.3B")):
        paper = published(table)
        choices: list[tuple[str, tuple[str, ...]]] = [("all mixers", paper.mixers), ("chosen on", CHOSEN_ON)]
        choices.append(("the others", tuple(m for m in paper.mixers if m not in CHOSEN_ON)))
        lines += [
            f"\n### {title}\n",
            "| score | " + " | ".join(f"{name}: Spearman | Kendall" for name, _ in choices) + " |",
            "|" + " --- |" * (1 + 2 * len(choices)),
        ]
        for name, values in cells.items():
            figures = [figure for _, mixers in choices for figure in with_paper(values, table, mixers)]
            lines.append(f"| {name} | " + " | ".join(map(str, figures)) + " |")
        for less, left in (("ratio", "which mixer, at a ratio"), ("mixer", "which ratio, for a mixer")):
            figures = [f for _, mixers in choices for f in with_paper(cells["recall"], table, mixers, less)]
            lines.append(f"| recall: {left} | " + " | ".join(f"{f.value:.2f}" for f in figures) + " |")
    return lines


def _with_themselves(trials: Sequence[Trial], cells: dict[str, Cells]) -> list[str]:
    lines = ["Kendall's tau over layouts between two seeds:\n", "| score | mean over pairs of seeds |", "| --- | --- |"]
    for name, values in cells.items():
        lines.append(f"| {name} | {between_seeds(values)} |")
    lines += [
        "\nKendall's tau of the recall over the first steps with that over the whole training:\n",
        "| steps | means over seeds | one seed with the mean of the others | with RULER (Spearman) |",
        "| --- | --- | --- | --- |",
    ]
    lines += [f"| {rung.step} | {rung.means} | {rung.others} | {rung.paper} |" for rung in at_each_rung(trials)]
    return lines
