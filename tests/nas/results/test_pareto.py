from itertools import product

import numpy as np
import pytest

from nas.results import pareto
from nas.results.pareto import front_probability, hypervolume, hypervolume_gain, on_front


def beaten(losses, i):
    return any((other <= losses[i]).all() and (other < losses[i]).any() for other in losses)


@pytest.mark.parametrize("objectives", [2, 3])
@pytest.mark.parametrize("seed", range(10))
def test_front_is_what_nothing_beats(seed, objectives):
    # Few distinct values, so that ties and equal points occur.
    losses = np.random.default_rng(seed).integers(0, 8, (30, objectives)) / 8
    assert on_front(losses).tolist() == [not beaten(losses, i) for i in range(30)]


@pytest.mark.parametrize("signs", list(product([1, -1], repeat=3)), ids=str)
def test_front_in_three_objectives_of_any_direction(signs):
    """Losses are values times their sign: turning values and directions over together changes nothing."""
    values = np.random.default_rng(0).integers(0, 6, (40, 3)).astype(float) * signs
    front = on_front(values * signs)
    assert front.tolist() == [not beaten(values * signs, i) for i in range(40)] and 0 < front.sum() < 40
    best = values[front]
    for sign, mine, every in zip(signs, best.T, values.T, strict=True):
        assert (sign * mine).min() == (sign * every).min()


def test_equal_points_all_stay():
    assert on_front(np.array([[1.0, -0.5], [1.0, -0.5], [2.0, -0.4]])).tolist() == [True, True, False]


def test_hypervolume_of_known_boxes():
    losses = np.array([[1.0, -0.5], [2.0, -1.0]])
    assert hypervolume(losses, np.array([3.0, 0.0])) == pytest.approx(0.5 + 1.0)
    assert hypervolume(np.array([[0.0, 0.0, 0.0], [-1.0, 0.5, 0.5]]), np.ones(3)) == pytest.approx(1.0 + 0.25)
    assert hypervolume(np.array([[4.0, -1.0]]), np.array([3.0, 0.0])) == 0.0
    assert hypervolume(np.empty((0, 2)), np.array([3.0, 0.0])) == 0.0


@pytest.mark.parametrize("objectives", [2, 3])
def test_gain_is_the_share_of_the_unit_box_that_no_member_beats(objectives):
    generator = np.random.default_rng(objectives)
    front = generator.random((5, objectives))
    candidates = np.vstack([generator.random((4, objectives)), front[:1], np.full(objectives, 2.0)])
    gains = hypervolume_gain(candidates, front, np.ones(objectives))
    assert gains.shape == (6,)
    drawn = generator.random((200_000, objectives))
    old = (front[:, None] <= drawn).all(-1).any(0)
    for candidate, gain in zip(candidates, gains, strict=True):
        assert gain == pytest.approx(((candidate <= drawn).all(-1) & ~old).mean(), abs=0.005)
    assert gains[4:] == pytest.approx([0.0, 0.0])


def test_probability_is_sure_without_noise_and_even_between_twins():
    losses = np.array([[1.0, -0.5], [2.0, -0.4], [3.0, -0.9]])
    assert front_probability(losses, np.zeros((3, 2))).tolist() == [1.0, 0.0, 1.0]
    twins = front_probability(np.array([[1.0, -0.5], [1.0, -0.5]]), np.array([[0.0, 0.1]] * 2), draws=2000)
    assert twins == pytest.approx([0.5, 0.5], abs=0.05)


def test_noise_is_drawn_where_there_is_some():
    """Apart in an exact loss, two points are both sure whatever the noise of the other loss that they agree in."""
    losses = np.array([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0]])
    assert front_probability(losses, np.array([[0.0, 9.0, 0.0]] * 2)).tolist() == [1.0, 1.0]
    unsure = front_probability(losses, np.array([[0.0, 9.0, 9.0]] * 2))
    assert unsure[0] == 1.0 and 0.5 < unsure[1] < 1.0


@pytest.mark.parametrize("objectives", [2, 3])
def test_probability_is_the_share_of_draws_on_the_front(objectives, monkeypatch):
    """Whether points far from the front are left out or not; many costs are equal, as those of layouts are."""
    generator = np.random.default_rng(0)
    costs = generator.integers(0, 20, (300, objectives - 1))
    losses = np.column_stack([generator.normal(0, 0.1, 300) - costs.sum(1) / 20, costs])
    errors = np.zeros_like(losses)
    errors[:, 0] = generator.choice([0.03, 0.05], 300)
    found = front_probability(losses, errors, draws=1000)
    drawn = losses + errors * generator.standard_normal((1000, 300, objectives))
    expected = np.mean([on_front(points) for points in drawn], 0)
    assert expected.mean() > 0.02 and found == pytest.approx(expected, abs=0.08)
    monkeypatch.setattr(pareto, "FAR", 100.0)
    assert found == pytest.approx(front_probability(losses, errors, draws=1000), abs=0.01)


def test_points_far_from_the_front_are_not_drawn(monkeypatch):
    counts = []
    monkeypatch.setattr(pareto, "_on_fronts", lambda exact, drawn: counts.append(len(exact)) or np.ones(drawn.shape))
    losses = np.column_stack([np.linspace(-1, 0, 100), np.linspace(0, 1, 100)])
    front_probability(losses, np.full((100, 2), [0.05, 0.0]))
    assert counts == [20]


def test_a_point_keeps_its_noise_when_others_come():
    losses, errors = np.array([[0.0, 1.0], [0.03, 0.5], [0.0, 2.0]]), np.array([[0.05, 0.0]] * 3)
    two, three = (front_probability(losses[:n], errors[:n]) for n in (2, 3))
    assert 0.0 < two[0] < 1.0 and two.tolist() == three[:2].tolist()


def test_only_what_may_gain_is_measured(monkeypatch):
    calls = []
    volume = pareto.hypervolume
    monkeypatch.setattr(pareto, "hypervolume", lambda *a: calls.append(a) or volume(*a))
    front = np.array([[0.2, 0.8], [0.5, 0.5]])
    gains = hypervolume_gain(np.array([[0.9, 0.9], [0.1, 0.7], [0.5, 0.5], [0.1, 2.0]]), front, np.ones(2))
    assert len(calls) == 2 and gains.tolist() == [0.0, pytest.approx(0.06), 0.0, 0.0]
