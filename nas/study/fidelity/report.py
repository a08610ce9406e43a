"""What a benchmark of evidence found: agreement by axis and source, beside baselines that train nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from nas.config import Config
from nas.study.fidelity.agreement import Agreement, Array, Share
from nas.study.fidelity.baselines import BASELINES, verdict
from nas.study.fidelity.plan import Pair, Plan, Run
from nas.study.fidelity.scores import LOSS, RECALL, Scores, at_one_ratio
from nas.study.fidelity.statements import AXES
from workers.suite.suite import Suite

NEAR = 0.02
"""Accuracies so close to that of a trivial strategy, or to 1, are at the floor or the ceiling."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """Agreement on one axis.

    Args:
        name: of the axis.
        statements: clear ones that are judged.
        source_count: sources that these are from.
        sources: share of each source: name -> (share, statements); empty where the proxies judged none.
        proxies: share that the proxies order alike; None where they judged none.
        ties: share of the statements on which the proxies have a tie.
        baselines: baseline -> its share on the same statements.
        above: what the proxies are above the best of the baselines.
        best: that baseline.
        draws_sources: whether the intervals draw sources anew, or layouts alone.
    """

    name: str
    statements: int
    source_count: int
    sources: Mapping[str, tuple[float, int]]
    proxies: Share | None
    ties: float
    baselines: Mapping[str, Share]
    above: Share | None
    best: str
    draws_sources: bool


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a benchmark of evidence found.

    Args:
        about: the configuration and what was counted, by name.
        axes: in the order of `AXES`, those that have a statement that can be judged.
        tasks: axis -> {single score: share of its statements that it orders alike}; they decide nothing.
        noise: objective -> standard deviation between seeds; None where it is not known.
        tau: Kendall's tau of recall between seeds, over all runs.
        tau_at_ratio: the same among mixers at equal places of attention, the mean over places.
        ends: task -> shares of the runs at its floor and its ceiling.
        unmapped: layout that cannot be trained -> clear statements about it, and why.
        unknown_mixers: name -> clear statements that name it.
        failures: layouts whose runs left no result -> why.
        runs: every run: layout, seeds, scores.
    """

    about: Mapping[str, Any]
    axes: tuple[Axis, ...]
    tasks: Mapping[str, Mapping[str, float]]
    noise: Mapping[str, float | None]
    tau: float
    tau_at_ratio: float
    ends: Mapping[str, tuple[float, float]]
    unmapped: Mapping[str, tuple[int, str]]
    unknown_mixers: Mapping[str, int]
    failures: Mapping[str, str]
    runs: tuple[Mapping[str, Any], ...]


def make_report(config: Config, suite: Suite, plan: Plan, scores: Scores, about: Mapping[str, Any]) -> Report:
    """Judges the statements of a plan by the runs that it has by now.

    Args:
        config: that they were trained with.
        suite: of the configuration.
        plan: with the statements.
        scores: of the runs.
        about: what else is said of the benchmark.
    """
    axes, tasks = [], {}
    for name in AXES:
        pairs = [pair for pair in plan.pairs if pair.statement.axis == name]
        if pairs:
            axes.append(_axis(name, pairs, plan, scores))
            tasks[name] = _single_scores(pairs, plan, scores, suite)
    trained = [run for run in plan.distinct if scores.count(run)]
    ratios = [scores.agreement_between_seeds(group) for group in at_one_ratio(trained)]
    unmapped = plan.unmapped_statements()
    judged = [pair for pair in plan.pairs if not np.isnan(_verdict(pair, plan, scores))]
    return Report(
        about={
            **about,
            "statements": len(plan.statements),
            "clear": plan.clear,
            "mapped": len(plan.pairs),
            "judged": len(judged),
            "same_proxy": plan.same,
            "by_loss_without_text": plan.without_text,
            "runs": len(plan.distinct),
            "trained": len(trained),
            "seeds": sum(scores.count(run) for run in trained),
            "layers": sum(len(run.proxy.layers) for run in plan.distinct),
            "hours": sum(r.seconds for run in trained for r in scores.results[run.number]) / 3600,
        },
        axes=tuple(axes),
        tasks=tasks,
        noise=scores.noise,
        tau=scores.agreement_between_seeds(trained),
        tau_at_ratio=float(np.mean(known)) if (known := [tau for tau in ratios if not np.isnan(tau)]) else np.nan,
        ends=_ends(trained, scores, suite, config.training.test_sequences),
        unmapped={text: (unmapped[text], why) for text, why in plan.unmapped.items()},
        unknown_mixers=dict(plan.unknown_mixers().most_common()),
        failures={
            str(run.origin.layout): scores.failures[run.number]
            for run in plan.distinct
            if run.number in scores.failures
        },
        runs=tuple(_run(run, scores) for run in plan.distinct),
    )


def _verdict(pair: Pair, plan: Plan, scores: Scores) -> float:
    objective = LOSS if pair.statement.by_loss else RECALL
    return scores.verdict(plan.runs[pair.a], plan.runs[pair.b], objective)


def _axis(name: str, pairs: Sequence[Pair], plan: Plan, scores: Scores) -> Axis:
    """Agreement on one axis. Baselines are judged on the statements that the proxies judge; where nothing is trained
    yet, on all that can be."""
    proxies = np.array([_verdict(pair, plan, scores) for pair in pairs])
    known = ~np.isnan(proxies) if not np.isnan(proxies).all() else np.ones(len(pairs), bool)
    judged, trained = (
        [pair for pair, is_known in zip(pairs, known, strict=True) if is_known],
        not np.isnan(proxies).all(),
    )
    figures = [(plan.baselines[pair.a], plan.baselines[pair.b]) for pair in judged]
    columns = [[verdict(a[each], b[each]) for a, b in figures] for each in BASELINES]
    agreement = _agreement(judged, np.array([np.nan_to_num(proxies[known]), *columns]).T)
    baselines = {each: agreement.share(1 + i) for i, each in enumerate(BASELINES)}
    best = max(baselines, key=lambda each: baselines[each].value)
    counts = {source: sum(pair.statement.source == source for pair in judged) for source in agreement.source_names}
    shares = dict(zip(agreement.source_names, agreement.by_source[:, 0], strict=True))
    return Axis(
        name=name,
        statements=len(judged),
        source_count=len(counts),
        sources={source: (float(shares[source]), counts[source]) for source in counts} if trained else {},
        proxies=agreement.share(0) if trained else None,
        ties=float((proxies[known] == 0.5).mean()) if trained else 0.0,
        baselines=baselines,
        above=agreement.difference(0, 1 + list(BASELINES).index(best)) if trained else None,
        best=best,
        draws_sources=agreement.draws_sources,
    )


def _agreement(pairs: Sequence[Pair], verdicts: Array) -> Agreement:
    return Agreement(
        sources=[pair.statement.source for pair in pairs],
        a=[pair.statement.a for pair in pairs],
        b=[pair.statement.b for pair in pairs],
        weights=[pair.weight for pair in pairs],
        verdicts=verdicts,
    )


def _single_scores(pairs: Sequence[Pair], plan: Plan, scores: Scores, suite: Suite) -> dict[str, float]:
    """Agreement of single scores on one axis: the accuracy of each task; of an axis by loss, the loss of each group of
    the text's tokens. An exact tie counts half."""
    by_loss = pairs[0].statement.by_loss
    names = [f"text/{group}" for group in suite.tasks["text"].groups] if by_loss else list(suite.tasks)
    found: dict[str, float] = {}
    for name in names:
        sides = [[scores.task(plan.runs[side], name, by_loss) for side in (pair.a, pair.b)] for pair in pairs]
        verdicts = np.array([np.nan if np.isnan(a - b) else verdict(a, b) for a, b in sides])
        known = ~np.isnan(verdicts)
        if known.any():
            judged = [pair for pair, is_known in zip(pairs, known, strict=True) if is_known]
            found[name] = float(_agreement(judged, verdicts[known][:, None]).by_source.mean())
    return found


def _ends(runs: Sequence[Run], scores: Scores, suite: Suite, test_sequences: int) -> dict[str, tuple[float, float]]:
    """Shares of the runs whose accuracy is at the floor of a task, that of its best trivial strategy, and at 1."""
    if not runs:
        return {}
    floors, found = suite.floors(test_sequences), {}
    for label, task in suite.tasks.items():
        values = np.array([scores.task(run, label, by_loss=False) for run in runs])
        floor = fmean(floors[key] for name in task.recall_groups if (key := f"{label}/{name}") in floors)
        found[label] = float((values <= floor + NEAR).mean()), float((values >= 1 - NEAR).mean())
    return found


def _run(run: Run, scores: Scores) -> dict[str, Any]:
    mean = {name: scores.mean(run, name) for name in (RECALL, LOSS)}
    return {
        "layout": str(run.origin.layout),
        "source": run.origin.name,
        "proxy": str(run.proxy),
        "layers": len(run.proxy.layers),
        "seeds": scores.count(run),
        "recall": None if np.isnan(mean[RECALL]) else mean[RECALL],
        "text_loss": None if np.isnan(mean[LOSS]) else -mean[LOSS],
    }
