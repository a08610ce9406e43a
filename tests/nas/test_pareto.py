import numpy as np
import pytest

from nas.results.pareto import front_probability, hypervolume, hypervolume_gain, knee, on_front
from nas.results.trials import Trial, mark_front
from search_space.layouts.layout import Block, Layout
from workers.training import Result


def beaten(cost, recall, i):
    return any(
        cost[j] <= cost[i] and recall[j] >= recall[i] and (cost[j] < cost[i] or recall[j] > recall[i])
        for j in range(len(cost))
    )


@pytest.mark.parametrize("seed", range(20))
def test_front_is_what_nothing_beats(seed):
    generator = np.random.default_rng(seed)
    # Few distinct values, so that ties and equal points occur.
    cost, recall = generator.integers(1, 8, 30).astype(float), generator.integers(0, 8, 30) / 8
    assert on_front(cost, recall).tolist() == [not beaten(cost, recall, i) for i in range(30)]


def test_equal_points_all_stay():
    assert on_front(np.array([1.0, 1.0, 2.0]), np.array([0.5, 0.5, 0.4])).tolist() == [True, True, False]


def test_hypervolume_of_known_rectangles():
    cost, recall = np.array([1.0, 2.0]), np.array([0.5, 1.0])
    assert hypervolume(cost, recall, (3.0, 0.0)) == pytest.approx(0.5 + 1.0)


@pytest.mark.parametrize("seed", range(10))
def test_gain_is_the_difference_of_hypervolumes(seed):
    generator = np.random.default_rng(seed)
    cost, recall = generator.random(6), generator.random(6)
    front = on_front(cost, recall)
    new_cost, new_recall = generator.random(5), generator.random(5)
    gains = hypervolume_gain(new_cost, new_recall, cost[front], recall[front], (1.1, 0.0))
    before = hypervolume(cost, recall, (1.1, 0.0))
    for c, r, gain in zip(new_cost, new_recall, gains, strict=True):
        after = hypervolume(np.append(cost, c), np.append(recall, r), (1.1, 0.0))
        assert gain == pytest.approx(after - before, abs=1e-12)


def test_knee_is_the_corner():
    assert knee(np.array([1.0, 2.0, 10.0]), np.array([0.2, 0.9, 1.0])) == 1


def test_probability_is_sure_without_noise_and_even_between_twins():
    cost, recall = np.array([1.0, 2.0, 3.0]), np.array([0.5, 0.4, 0.9])
    assert front_probability(cost, recall, np.zeros(3)).tolist() == [1.0, 0.0, 1.0]
    twins = front_probability(np.array([1.0, 1.0]), np.array([0.5, 0.5]), np.full(2, 0.1), draws=2000)
    assert twins == pytest.approx([0.5, 0.5], abs=0.05)


def test_marking_tells_who_joined_the_front_or_left_it():
    def trial(number, cost, recall):
        layout = Layout((Block("attention"),) * (number + 1))
        result = Result(seed=0, steps=1, status="complete", recall=recall)
        return Trial(number, layout, "search", {"decode_ms": cost}, [result])

    trials = [trial(0, 1.0, 0.5), trial(1, 2.0, 0.6)]
    assert mark_front(trials, "decode_ms") == trials
    assert mark_front(trials, "decode_ms") == []
    trials.append(trial(2, 1.5, 0.7))
    assert mark_front(trials, "decode_ms") == trials[1:]
    assert [t.on_front for t in trials] == [True, False, True]
