import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr

from nas.study.ranking import kendall, rhos, spearman, taus


def test_against_scipy_with_ties():
    rng = np.random.default_rng(0)
    a, b = rng.integers(6, size=(2, 50, 12)).astype(float)
    assert taus(a, b) == pytest.approx([kendalltau(x, y).statistic for x, y in zip(a, b, strict=True)])
    assert rhos(a, b) == pytest.approx([spearmanr(x, y).statistic for x, y in zip(a, b, strict=True)])


@pytest.mark.parametrize("correlation", [kendall, spearman])
def test_the_interval_narrows_with_more_things(correlation):
    rng = np.random.default_rng(0)
    truth = rng.normal(size=160)
    seen = truth + rng.normal(size=160)
    few, many = correlation(truth[:40], seen[:40]), correlation(truth, seen)
    assert few.low < few.value < few.high and many.low < many.value < many.high
    assert 0.3 < many.value < 0.9 and many.high - many.low < 0.8 * (few.high - few.low)
    assert correlation(truth, truth).value == 1.0 and correlation(truth, -truth).value == -1.0


def test_nothing_to_rank():
    assert np.isnan(kendall([1.0, 1.0], [0.1, 0.2]).value) and np.isnan(kendall([], []).value)


def test_draws_without_an_order_count_as_no_agreement():
    found = kendall([0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 1.0])
    assert found.low == 0.0 and found.value == found.high == 1.0
    rows = np.array([[1.0, 2.0, 3.0], [1.0, 1.0, 1.0]])
    assert kendall(rows, np.array([[1.0, 2.0, 3.0]] * 2)).value == 1.0
