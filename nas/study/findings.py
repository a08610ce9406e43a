"""What 2507.06457 found, and whether the proxies agree.

Shapes: M mixers, R ratios from no attention to most; statistics take [..., M, R] and give [...].
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from nas.ranking import taus
from nas.study.cells import Cells, Interval

WEAK = 0.5
"""A rank correlation below this is called weak."""
FLAT = 0.2
"""The loss is called flat where it moves by less than this share of what recall moves by."""
STRONG_HYBRIDS = ("hgrn2", "gated_deltanet")
FAILING = ("hgrn", "retnet")


@dataclass(frozen=True)
class Finding:
    """A finding of the paper and what the proxies say of it.

    Args:
        claim: of the paper.
        paper: the figures that it rests on.
        figures: ours, a line each.
        verdict: "holds", "contradicted" or "not settled", by the intervals.
    """

    claim: str
    paper: str
    figures: tuple[str, ...]
    verdict: str


def findings(recall: Cells, loss: Cells | None) -> list[Finding]:
    """All findings that the cells can speak to; `loss` is that on text, where there was any."""
    found = [_recall_rises(recall), _standalone_rank(recall), _failing(recall), _recommended(recall)]
    return found if loss is None else [_loss_is_flat(recall, loss), *found]


def verdict(figure: Interval, claimed_above: float) -> str:
    """By which side of a value the whole interval lies on."""
    if figure.low > claimed_above:
        return "holds"
    return "contradicted" if figure.high < claimed_above else "not settled"


def _change(cells: np.ndarray) -> np.ndarray:
    """By what factor the mean over mixers changes from the first ratio to the last, as a logarithm."""
    first, last = (np.maximum(cells[..., ratio].mean(-1), 1e-3) for ratio in (0, -1))
    return np.log(last / first)


def _loss_is_flat(recall: Cells, loss: Cells) -> Finding:
    change, gain = loss.interval(_change), recall.interval(_change)
    most = max(abs(change.low), abs(change.high))
    least = 0.0 if change.low <= 0 <= change.high else min(abs(change.low), abs(change.high))
    if gain.low > 0 and most < FLAT * gain.low:
        found = "holds"
    elif gain.high < 0 or least > FLAT * max(gain.high, 0.0):
        found = "contradicted"
    else:
        found = "not settled"
    return Finding(
        "Language modelling barely moves with the share of attention, recall moves a lot.",
        "LM average 1.02 times from pure to 3:1, RULER 1.55 times.",
        (
            f"loss on text, {recall.ratios[-1]} over pure: {_factor(change)}",
            f"recall, {recall.ratios[-1]} over pure: {_factor(gain)}",
            f"holds where the loss moves by less than {FLAT:g} of what recall moves by, in logarithms",
        ),
        found,
    )


def _factor(change: Interval) -> Interval:
    return Interval(*(float(np.exp(x)) for x in (change.value, change.low, change.high)))


def _recall_rises(recall: Cells) -> Finding:
    def step(to: int) -> Callable[[np.ndarray], np.ndarray]:
        return lambda c: (c[..., to] - c[..., to - 1]).mean(-1)

    steps = [
        (f"{after} over {before}", recall.interval(step(to), mixers=True))
        for to, (before, after) in enumerate(pairwise(recall.ratios), 1)
    ]
    ends = recall.interval(lambda c: (c[..., -1] - c[..., 0]).mean(-1), mixers=True)
    trend = recall.interval(lambda c: taus(c, np.arange(c.shape[-1])).mean(-1), mixers=True)
    return Finding(
        "Mean recall rises pure < 24:1 <= 12:1 < 6:1 <= 3:1.",
        "RULER .256, .339, .340, .390, .397 (four mixers).",
        (
            *(f"{name}: {figure}" for name, figure in steps),
            f"{recall.ratios[-1]} over pure: {ends}",
            f"rank correlation (tau) of recall and attention within a mixer: {trend}",
        ),
        verdict(trend, 0.0),
    )


def _standalone_rank(recall: Cells) -> Finding:
    def agreement(ratio: int) -> Callable[[np.ndarray], np.ndarray]:
        return lambda c: taus(c[..., 0], c[..., ratio])

    each = [(r, recall.interval(agreement(i))) for i, r in enumerate(recall.ratios) if i]
    mean = recall.interval(lambda c: np.mean([agreement(i)(c) for i in range(1, c.shape[-1])], 0))
    weak = Interval(-mean.value, -mean.high, -mean.low)
    return Finding(
        "A mixer's rank standing alone is a weak predictor of its rank in a hybrid.",
        "tau of the LM average, pure against hybrid: -.13, .27, .40, .07 at 24:1, 12:1, 6:1, 3:1.",
        (
            *(f"tau of recall, pure against {ratio}: {figure}" for ratio, figure in each),
            f"mean: {mean} (weak: below {WEAK})",
        ),
        verdict(weak, -WEAK),
    )


def _failing(recall: Cells) -> Finding:
    failing = [recall.mixers.index(m) for m in FAILING]
    others = [i for i in range(len(recall.mixers)) if i not in failing]

    def gap(columns: slice) -> Callable[[np.ndarray], np.ndarray]:
        return lambda c: (c[..., others, columns].mean((-2, -1))) - c[..., failing, columns].mean((-2, -1))

    hybrids, pure = recall.interval(gap(slice(1, None))), recall.interval(gap(slice(0, 1)))

    def one(mixer: str) -> Callable[[np.ndarray], np.ndarray]:
        return lambda c: c[..., recall.mixers.index(mixer), 1:].mean(-1)

    each = [f"{mixer} hybrids: {recall.interval(one(mixer))}" for mixer in recall.mixers]
    return Finding(
        "RetNet and HGRN hybrids fail recall.",
        "Left out of the paper's RULER table as insignificant.",
        (f"other four over these two, hybrids: {hybrids}", f"the same, pure: {pure}", *each),
        verdict(hybrids, 0.0),
    )


def _recommended(recall: Cells) -> Finding:
    columns = [recall.ratios.index(r) for r in ("6:1", "3:1") if r in recall.ratios]
    ours = [recall.mixers.index(m) for m in STRONG_HYBRIDS]
    others = [i for i in range(len(recall.mixers)) if i not in ours]

    def lead(c: np.ndarray) -> np.ndarray:
        score = c[..., columns].mean(-1)
        return score[..., ours].max(-1) - score[..., others].max(-1)

    ahead = recall.interval(lead)
    chance = float((lead(recall.draws()) > 0).mean())
    scores = dict(zip(recall.mixers, recall.means[:, columns].mean(1), strict=True))
    ranking = ", ".join(f"{mixer} {scores[mixer]:.3f}" for mixer in sorted(scores, key=lambda m: -scores[m]))
    return Finding(
        "Best for recall: HGRN2 or Gated DeltaNet between 3:1 and 6:1.",
        "RULER at 6:1 and 3:1: gated_deltanet .431, hgrn2 .415, deltanet .399, gla .331.",
        (
            f"order at 6:1 and 3:1: {ranking}",
            f"the better of the two over the best of the others: {ahead}",
            f"chance that one of the two is best, by the spread of the seeds: {chance:.0%}",
        ),
        verdict(ahead, 0.0),
    )
