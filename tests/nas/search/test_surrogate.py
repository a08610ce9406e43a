import numpy as np
import pytest
import torch

from nas.search import surrogate
from nas.search.proposer import Proposer
from nas.search.surrogate import JITTER, LayoutProcess
from nas.testing.samplers import SPACES, TARGET, costs
from search_space.space.space import Space

BOOK = [(0.0, 0.0), (0.0, 0.5), (0.0, 1.0), (1.0, 0.0), (2.0, 0.0)]


@pytest.fixture
def runs():
    """Codes [40, 6] of layouts, some of them twice, and what they scored."""
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(0, 5, (40, 6), generator=generator)
    codes[20:25] = codes[:5]
    return codes, (codes == 3).sum(1) / 6.0 + 0.1 * torch.randn(40, generator=generator, dtype=torch.float64)


def covariance(process, a, b):
    """The kernel as it is described, pair by pair."""
    additive, interaction, counts, length, count_length, _, field = process.log_parameters.exp().tolist()
    found = np.empty((len(a), len(b)))
    for i, one in enumerate(a.tolist()):
        for j, other in enumerate(b.tolist()):
            pairs = [(BOOK[x], BOOK[y]) for x, y in zip(one, other, strict=True)]
            differing = sum(1.0 if x[0] != y[0] else min(1.0, field * abs(x[1] - y[1])) for x, y in pairs)
            distance = sum(
                (sum(x[0] == kind for x, _ in pairs) - sum(y[0] == kind for _, y in pairs)) ** 2 for kind in (0, 1, 2)
            )
            found[i, j] = additive * (1 - differing / 6) + interaction * np.exp(-differing / length)
            found[i, j] += counts * np.exp(-distance / (2 * count_length**2))
    return found


def test_the_posterior_is_that_of_all_runs(runs):
    """Fitted to some and updated with others, a run of a layout that is known among them."""
    codes, values = runs
    process = LayoutProcess(BOOK)
    process.fit(codes[:22], values[:22])
    process.update(codes, values)
    new = torch.randint(0, 5, (7, 6), generator=torch.Generator().manual_seed(1))
    scaled = ((values - values.mean()) / values.std()).numpy()
    noise = process.log_parameters[5].exp().item() + JITTER
    inverse = np.linalg.inv(covariance(process, codes, codes) + noise * np.eye(40))
    cross = covariance(process, codes, new)
    mean, spread = process.posterior(new)
    scale, shift = values.std().item(), values.mean().item()
    assert mean.numpy() == pytest.approx(cross.T @ inverse @ scaled * scale + shift)
    expected = (covariance(process, new, new) - cross.T @ inverse @ cross) * scale**2
    assert spread.numpy() == pytest.approx(expected, abs=1e-9)
    at_runs = covariance(process, codes, codes) @ inverse @ scaled * scale + shift
    assert process.means().numpy() == pytest.approx(at_runs)


def test_an_update_follows_from_what_is_given_alone(runs):
    codes, values = runs
    processes = [LayoutProcess(BOOK) for _ in range(2)]
    for process, steps in zip(processes, ((23, 31, 31, 40), (40,)), strict=True):
        process.fit(codes[:22], values[:22])
        for known in steps:
            process.update(codes[:known], values[:known])
    one, other = (process.posterior(codes) for process in processes)
    assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])


def test_it_learns_from_a_part_of_many_runs(runs, monkeypatch):
    monkeypatch.setattr(surrogate, "MOST_LEARNT", 10)
    used = []
    evidence = LayoutProcess._negative_evidence
    monkeypatch.setattr(
        LayoutProcess, "_negative_evidence", lambda self, *a: used.append(len(a[0])) or evidence(self, *a)
    )
    process = LayoutProcess(BOOK)
    process.fit(*runs)
    assert set(used) == {10} and len(process.means()) == 40


def test_it_is_seldom_fitted(monkeypatch):
    """And so are layouts priced: what was told is priced once."""
    fits, fit = [], LayoutProcess.fit
    monkeypatch.setattr(
        LayoutProcess, "fit", lambda self, codes, values: fits.append(len(codes)) or fit(self, codes, values)
    )
    proposer, layouts = Proposer(Space(SPACES["fields"], TARGET), ["recall", "decode_ms"], costs, "thompson", 0), []
    for number in range(40):
        layouts.append(proposer.propose(layouts))
        proposer.tell(layouts[-1], {"recall": number % 7 / 7})
    assert fits == [6, 7, 8, 9, 10, 12, 14, 16, 19, 22, 26, 31, 37]


def test_who_was_not_asked_before_proposes_the_same():
    """A search that is resumed has neither fitted nor updated the model on its way."""
    space, taken = Space(SPACES["fields"], TARGET), []
    first, later = (Proposer(space, ["recall", "decode_ms"], costs, "thompson", 0) for _ in range(2))
    for number in range(30):
        taken.append(first.propose(taken))
        for proposer in (first, later):
            for recall in (number % 7 / 7, number % 5 / 5)[: 1 + number % 2]:
                proposer.tell(taken[-1], {"recall": recall})
    assert first.propose(taken) == later.propose(taken)
