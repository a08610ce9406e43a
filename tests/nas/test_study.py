"""The study's statistics on runs that are made up, where the truth is known."""

import numpy as np
import pytest

from nas.config import load
from nas.service import queued
from nas.study.cells import collect, published
from nas.study.fidelity import between_seeds, between_studies, recalls, with_paper
from nas.study.figure import draw
from nas.study.findings import findings
from nas.study.layouts import MIXERS, RATIOS, study_layouts
from nas.study.report import report
from nas.trials import Trial
from search_space.errors import InputError
from tests.nas.conftest import nas
from workers.training import Result


def trials(recall, noise=0.01, loss=lambda m, r: 3.0, seeds=3):
    """Runs of the study: `recall` (mixer index, ratio index) -> mean, None the Transformer."""
    rng = np.random.default_rng(0)
    names = {f"{m} {r}": (i, j) for i, m in enumerate(MIXERS) for j, r in enumerate(RATIOS)}
    found = []
    for number, (layout, name) in enumerate(study_layouts(24)):
        results = []
        for seed in range(seeds):
            i, j = names.get(name, (0, 4))
            score = float(recall(i, j) + noise * rng.normal())
            curves = {k: [(5, score / 2), (10, score)] for k in ("recall", "recall/text")}
            curves["recall/recall"] = [(10, score / 4)]
            curves["loss/text"] = curves["loss/recall"] = [(10, float(loss(i, j) + noise * rng.normal()))]
            results.append(Result(seed=seed, steps=10, status="complete", recall=score, curves=curves))
        found.append(Trial(number, layout, name, {"decode_ms": 1.0}, results))
    return found


def cells(recall, **options):
    return collect(trials(recall, **options), lambda r: r.recall)


def test_layouts_close_their_blocks_with_attention():
    layouts = {name: layout for layout, name in study_layouts(24)}
    assert len(layouts) == 31
    for ratio, count in {"pure": 0, "24:1": 1, "12:1": 2, "6:1": 4, "3:1": 8}.items():
        full = [i for i, b in enumerate(layouts[f"gla {ratio}"].layers) if b.mixer == "attention"]
        assert len(full) == count and all((i + 1) % (24 // count) == 0 for i in full)
    assert {b.mixer for b in layouts["transformer"].layers} == {"attention"}
    assert len(study_layouts(12)) == 25


def test_the_preset_holds_the_whole_study():
    config = load("study")
    assert len(queued(config, config.check())) == 31 == config.search.trials


def test_the_papers_tables():
    ruler = published("ruler_1p3b")
    assert ruler.means.mean(0) == pytest.approx([0.256, 0.339, 0.340, 0.390, 0.397], abs=1e-3)
    assert published("lm_average").means.shape == (6, 5)


def test_findings_hold_where_they_are_true_and_are_contradicted_where_not():
    def true(i, j):
        strength = {0: 0.0, 1: 0.05, 2: 0.15, 3: 0.45, 4: 0.3, 5: 0.4}[i]
        alone = {0: 0.0, 1: 0.3, 2: 0.4, 3: 0.2, 4: 0.3, 5: 0.1}[i]
        return 0.1 + (strength + 0.1 * j if j else alone)

    flat = collect(trials(true), lambda r: r.curves["loss/text"][-1][1])
    assert [f.verdict for f in findings(cells(true), flat)] == ["holds"] * 5
    falling = collect(trials(true, loss=lambda i, j: 3.0 - 0.6 * j), lambda r: r.curves["loss/text"][-1][1])
    false = findings(cells(lambda i, j: 0.9 - 0.1 * j - 0.02 * (i > 1) * i), falling)
    assert [f.verdict for f in false] == ["contradicted"] * 5


def test_noise_settles_nothing():
    flat = collect(trials(lambda i, j: 0.5, noise=0.1), lambda r: r.curves["loss/text"][-1][1])
    noise = findings(cells(lambda i, j: 0.5, noise=0.1), flat)
    assert [f.verdict for f in noise][:2] == ["not settled"] * 2


def test_intervals_cover_the_truth():
    covered = 0
    for offset in range(100):
        rng = np.random.default_rng(offset)
        values = 0.5 + 0.1 * rng.normal(size=(6, 5, 3))
        found = type(cells(lambda i, j: 0.5))(values, np.zeros(3), MIXERS, tuple(RATIOS)).interval(
            lambda c: c.mean((-2, -1))
        )
        covered += found.low <= 0.5 <= found.high
    assert 88 <= covered < 100


def test_correlation_with_the_paper():
    ruler = published("ruler_1p3b")
    order = {(i, j): ruler.means[ruler.mixers.index(m), j] for i, m in enumerate(MIXERS) if m in ruler.mixers
             for j in range(5)}  # fmt: skip
    alike = cells(lambda i, j: order.get((i, j), 0.0), noise=1e-5)
    rho, tau = with_paper(alike, "ruler_1p3b", MIXERS)
    assert rho.value == pytest.approx(1.0, abs=0.01) and tau.value > 0.97 and rho.count == tau.count == 20
    assert with_paper(alike, "lm_average", ("gla",))[0].count == 5
    assert between_seeds(cells(lambda i, j: i + 10.0 * j)).value > 0.95


def test_report(tmp_path):
    text = report(trials(lambda i, j: 0.1 * j + 0.017 * i, noise=1e-5), load("study"))
    assert "| gated_deltanet | 0.085 | 0.185 | 0.285 | 0.385 | 0.485 |" in text
    assert "the other study" not in text
    again = report(
        trials(lambda i, j: 0.1 * j + 0.017 * i, noise=1e-6),
        load("study"),
        trials(lambda i, j: -0.1 * j - 0.017 * i, noise=1e-6),
    )
    assert "the other study, of means over seeds: -1.00" in again and "of the other with RULER: -0." in again
    assert "| -loss of text |" in text and "| 5 | 1.00 [1.00, 1.00] | 1.00" in text


def test_the_recall_of_the_suite_is_not_that_of_a_task_of_its_name():
    names = recalls(trials(lambda i, j: 0.8))
    result = trials(lambda i, j: 0.8, noise=0.0)[0].results[0]
    assert names["recall"](result) == 0.8 and names["recall of recall"](result) == 0.2
    assert names["recall of text"](result) == pytest.approx(0.6) and names["recall at the end"](result) == 0.8


def test_a_diverged_run_counts_as_no_recall():
    made = trials(lambda i, j: 0.6, noise=0.0)
    made[0].results[0] = Result(seed=0, steps=1, status="diverged", recall=0.0, curves={"recall": []})
    assert collect(made, recalls(made)["recall"]).means[0, 0] == pytest.approx(0.4) == made[0].recall
    assert "1 runs diverged" in report(made, load("study"))


def test_an_unfinished_study_beside_a_whole_one():
    whole, other = (trials(lambda i, j: 0.1 * j + 0.017 * i, noise=1e-6) for _ in range(2))
    text = report(whole, load("study"), other[:8] + other[9:12])
    assert "the other study, of means over seeds: 1.00 [1.00, 1.00]" in text and "nan" not in text


@pytest.mark.parametrize("keep", [slice(0, 5), slice(0, 30), slice(6, 31)], ids=["few", "no transformer", "no pure"])
def test_an_unfinished_study(keep):
    with pytest.raises(InputError, match="a finished study"):
        report(trials(lambda i, j: 0.5)[keep], load("study"))


def test_one_seed_is_too_few():
    with pytest.raises(InputError, match="31 of 31 layouts"):
        report(trials(lambda i, j: 0.5, seeds=1), load("study"))


def test_studies_that_share_too_little():
    with pytest.raises(InputError, match="0 layouts in common"):
        between_studies(trials(lambda i, j: 0.5)[:10], trials(lambda i, j: 0.5)[10:])


def test_figure(tmp_path):
    for name in ("a.svg", "b.svg"):
        draw(cells(lambda i, j: 0.1 * j + 0.02 * i), tmp_path / name)
    text = (tmp_path / "a.svg").read_text()
    assert text == (tmp_path / "b.svg").read_text() and all(name in text for name in (*MIXERS, "Transformer", "24:1"))


def test_bad_input(finished):
    result = nas("study", finished)
    assert result.exit_code == 2 and "a finished study" in result.stderr
