import math

import numpy as np
import pytest

from nas.study.fidelity.agreement import Agreement
from nas.study.fidelity.scores import LOSS, RECALL, at_one_ratio
from tests.nas.study.fidelity.examples import plan_of, scores_of, statement


def agreement(*rows):
    """Of (source, a, b, weight, verdicts of the judges)."""
    sources, a, b, weights, verdicts = zip(*rows, strict=True)
    return Agreement(sources, a, b, weights, np.array(verdicts, dtype=float))


def test_sources_weigh_alike():
    found = agreement(
        ("one", "a", "b", 1.0, [1, 0]),
        ("one", "a", "c", 0.5, [0, 0.5]),
        ("one", "b", "c", 0.5, [1, 1]),
        ("two", "a", "b", 1.0, [0.5, 1]),
    )
    assert found.by_source == pytest.approx(np.array([[0.75, 0.375], [0.5, 1.0]]))
    assert found.share(0).value == 0.625 and found.share(1).value == 0.6875
    assert found.difference(0, 1).value == -0.0625
    assert not found.draws_sources


def test_intervals():
    sure = agreement(*((name, "a", "b", 1.0, [1, 0.5]) for name in "wxyz"))
    assert sure.draws_sources
    assert (sure.share(0).low, sure.share(0).high) == (1, 1) and sure.difference(0, 1).low == 0.5
    divided = agreement(*((name, "a", "b", 1.0, [name != "z", 1]) for name in "wxyz"))
    assert divided.share(0).low == 0.25 and divided.share(0).high == 1.0
    assert divided.difference(0, 1).low < -0.5 and divided.difference(0, 1).high == 0.0
    few = agreement(("w", "a", "b", 1.0, [1]), ("w", "c", "d", 1.0, [0]), ("x", "a", "b", 1.0, [1]))
    assert (few.share(0).value, few.share(0).low, few.share(0).high) == (0.75, 0.5, 1.0), "both sources in every draw"


def test_a_layout_in_many_statements_widens_the_interval():
    """Twenty pairs that share a layout say less than twenty pairs of their own."""
    shared = agreement(*(("w", "a", f"b{i}", 1.0, [i < 15]) for i in range(20)))
    own = agreement(*(("w", f"a{i}", f"b{i}", 1.0, [i < 15]) for i in range(20)))
    for found in (shared, own):
        assert found.share(0).value == 0.75 and 0.3 < found.share(0).low < 0.75 < found.share(0).high <= 1
    with_luck = agreement(*(("w", "a" if i < 15 else "c", f"b{i}", 1.0, [i < 15]) for i in range(20)))
    assert with_luck.share(0).low < own.share(0).low and with_luck.share(0).low == 0.0


@pytest.fixture(scope="module")
def plan():
    return plan_of(statement(), statement("count-loss", "gla*11 attention", "gla*12"))


def test_verdicts(plan):
    a, b = (plan.runs[side] for side in (plan.pairs[0].a, plan.pairs[0].b))
    assert (a.number, b.number) == (0, 1)
    scores = scores_of([0.5, 0.7], [0.7], [0.9, 0.9])
    # Deviations of .1 from two means, with two degrees of freedom between them.
    assert scores.noise[RECALL] == pytest.approx(0.1) and scores.noise[LOSS] == pytest.approx(0.1)
    assert scores.standard_error(a, b, RECALL) == pytest.approx(0.1 * math.sqrt(1.5))
    assert scores.verdict(a, b, RECALL) == 0.5, "apart by .1, of a standard error of .122"
    apart = scores_of([0.5, 0.7], [0.73], [0.9, 0.9])
    assert apart.verdict(a, b, RECALL) == 0.0 and apart.verdict(b, a, RECALL) == 1.0
    assert apart.verdict(a, b, LOSS) == 0.0, "the lower loss is ahead"
    one_seed = scores_of([0.5], [0.5001], [0.9])
    assert one_seed.noise[RECALL] is None and one_seed.verdict(a, b, RECALL) == 0.0
    assert math.isnan(scores_of([0.5]).verdict(a, b, RECALL))


def test_runs_that_diverged(plan):
    a, b = (plan.runs[side] for side in (plan.pairs[0].a, plan.pairs[0].b))
    scores = scores_of(None, [0.5, 0.5], [0.6])
    assert scores.verdict(a, b, RECALL) == scores.verdict(a, b, LOSS) == 0.0
    assert scores.noise[RECALL] == 0.0


def test_agreement_between_seeds(plan):
    runs = plan.distinct
    same, reverse = scores_of([0.1, 0.2], [0.2, 0.3], [0.3, 0.4]), scores_of([0.1, 0.4], [0.2, 0.3], [0.3, 0.2])
    assert same.agreement_between_seeds(runs) == 1.0 and reverse.agreement_between_seeds(runs) == -1.0
    assert math.isnan(scores_of([0.1], [0.2], [0.3]).agreement_between_seeds(runs))
    one_third = scores_of([0.1, 0.2], [0.2, 0.1], [0.3, 0.3])
    assert one_third.agreement_between_seeds(runs) == pytest.approx(1 / 3)


def test_mixers_at_one_ratio():
    names = ("gla", "hgrn2", "gated_deltanet")
    plan = plan_of(
        *(statement("count", f"{name}*11 attention", f"{name}*12") for name in names),
        statement("across", "gla*10 attention*2", "(gla hgrn2)*6"),
    )
    groups = at_one_ratio(plan.distinct)
    assert sorted(sorted(str(run.origin.layout) for run in group) for group in groups) == [
        sorted(f"{name}*11 attention" for name in names),
        sorted(f"{name}*12" for name in names),
    ]
