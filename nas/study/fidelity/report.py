"""What a benchmark of evidence found: agreement by axis and source, beside baselines that train nothing."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Any

import numpy as np

from nas.config import Config
from nas.study.fidelity.agreement import Agreement, Array, Share
from nas.study.fidelity.baselines import BASELINES, verdict
from nas.study.fidelity.plan import TEXT, Pair, Plan, Run
from nas.study.fidelity.scores import LOSS, RECALL, Scores, at_one_ratio
from nas.study.fidelity.statements import AXES
from workers.suite.suite import Suite

NEAR = 0.02
"""Recalls of a task that are less than this above its best trivial strategy, or below 1, are at the floor or the
ceiling."""


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


@dataclass(frozen=True, kw_only=True)
class Part:
    """The statements by recall, or those by loss, with the runs that judge them.

    Args:
        by_loss: which of them.
        config: that the runs are trained with.
        suite: of the configuration.
        plan: with the statements.
        scores: of the runs.
    """

    by_loss: bool
    config: Config
    suite: Suite
    plan: Plan
    scores: Scores

    @cached_property
    def trained(self) -> list[Run]:
        """The runs that have a result."""
        return [run for run in self.plan.distinct if self.scores.count(run)]

    def axes(self) -> dict[str, list[Pair]]:
        """Axis -> the statements on it that can be judged."""
        found = {name: [pair for pair in self.plan.pairs if pair.statement.axis == name] for name in AXES}
        return {name: pairs for name, pairs in found.items() if pairs}

    def judged(self) -> int:
        """Statements that have a result on both sides."""
        return sum(not np.isnan(_verdict(pair, self.plan, self.scores)) for pair in self.plan.pairs)


def make_report(parts: Sequence[Part], about: Mapping[str, Any]) -> Report:
    """Judges statements by the runs that there are by now.

    Args:
        parts: the statements by recall, and those by loss.
        about: what else is said of the benchmark.
    """
    plans = [part.plan for part in parts]
    axes = {name: (part, pairs) for part in parts for name, pairs in part.axes().items()}
    runs = [(part, run) for part in parts for run in part.plan.distinct]
    taus = [tau for part in parts if not part.by_loss for tau in _taus(part)] or [np.nan] * 2
    left_out: dict[str, tuple[int, str]] = {}
    for plan in plans:
        for text, count in plan.unmapped_statements().items():
            left_out[text] = count + left_out.get(text, (0, ""))[0], plan.unmapped[text]
    return Report(
        about={
            **about,
            "statements": sum(len(plan.statements) for plan in plans),
            "clear": sum(plan.clear for plan in plans),
            "mapped": sum(len(plan.pairs) for plan in plans),
            "judged": sum(part.judged() for part in parts),
            "same_proxy": sum(plan.same for plan in plans),
            "runs": len(runs),
            "trained": sum(len(part.trained) for part in parts),
            "seeds": sum(part.scores.count(run) for part, run in runs),
            "layers": sum(len(run.proxy.layers) for _, run in runs),
            "hours": sum(r.seconds for part, run in runs for r in part.scores.results.get(run.number, ())) / 3600,
        },
        axes=tuple(_axis(name, axes[name][1], axes[name][0]) for name in AXES if name in axes),
        tasks={name: _single_scores(axes[name][1], axes[name][0]) for name in AXES if name in axes},
        noise={LOSS if part.by_loss else RECALL: part.scores.noise[LOSS if part.by_loss else RECALL] for part in parts},
        tau=taus[0],
        tau_at_ratio=taus[1],
        ends={label: ends for part in parts if not part.by_loss for label, ends in _ends(part).items()},
        unmapped=left_out,
        unknown_mixers=dict(sum((plan.unknown_mixers() for plan in plans), Counter()).most_common()),
        failures={
            str(run.origin.layout): part.scores.failures[run.number]
            for part, run in runs
            if run.number in part.scores.failures
        },
        runs=tuple(_run(run, part) for part, run in runs),
    )


def _taus(part: Part) -> tuple[float, float]:
    """Agreement of recall between seeds: over all runs, and the mean over mixers at equal places of attention."""
    ratios = [part.scores.agreement_between_seeds(group) for group in at_one_ratio(part.trained)]
    known = [tau for tau in ratios if not np.isnan(tau)]
    return part.scores.agreement_between_seeds(part.trained), float(np.mean(known)) if known else np.nan


def _verdict(pair: Pair, plan: Plan, scores: Scores) -> float:
    objective = LOSS if pair.statement.by_loss else RECALL
    return scores.verdict(plan.runs[pair.a], plan.runs[pair.b], objective)


def _axis(name: str, pairs: Sequence[Pair], part: Part) -> Axis:
    """Agreement on one axis. Baselines are judged on the statements that the proxies judge; where nothing is trained
    yet, on all that can be."""
    plan = part.plan
    proxies = np.array([_verdict(pair, plan, part.scores) for pair in pairs])
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


def _single_scores(pairs: Sequence[Pair], part: Part) -> dict[str, float]:
    """Agreement of single scores on one axis: the recall of each task; of one by loss, the loss on all tokens and on
    each group of them. An exact tie counts half."""
    tasks, by_loss, runs = part.suite.tasks, part.by_loss, part.plan.runs
    names = [TEXT, *(f"{TEXT}/{group}" for group in tasks[TEXT].groups)] if by_loss else list(tasks)
    found: dict[str, float] = {}
    for name in names:
        sides = [[part.scores.task(runs[side], name, by_loss) for side in (pair.a, pair.b)] for pair in pairs]
        verdicts = np.array([np.nan if np.isnan(a - b) else verdict(a, b) for a, b in sides])
        known = ~np.isnan(verdicts)
        if known.any():
            judged = [pair for pair, is_known in zip(pairs, known, strict=True) if is_known]
            found[name] = float(_agreement(judged, verdicts[known][:, None]).by_source.mean())
    return found


def _ends(part: Part) -> dict[str, tuple[float, float]]:
    """Shares of the runs whose recall is at the floor of a task (its best trivial strategy) or under it, and at 1."""
    if not part.trained:
        return {}
    floors, found = part.suite.floors(part.config.training.test_sequences), {}
    for label, task in part.suite.tasks.items():
        values = np.array([part.scores.task(run, label, by_loss=False) for run in part.trained])
        floor = fmean(floors[key] for name in task.recall_groups if (key := f"{label}/{name}") in floors)
        found[label] = float((values <= floor + NEAR).mean()), float((values >= 1 - NEAR).mean())
    return found


def _run(run: Run, part: Part) -> dict[str, Any]:
    mean = part.scores.mean(run, LOSS if part.by_loss else RECALL)
    found = None if np.isnan(mean) else mean
    return {
        "layout": str(run.origin.layout),
        "source": run.origin.name,
        "proxy": str(run.proxy),
        "layers": len(run.proxy.layers),
        "seeds": part.scores.count(run),
        "recall": None if part.by_loss else found,
        LOSS: -found if part.by_loss and found is not None else None,
    }
