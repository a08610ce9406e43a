import xml.etree.ElementTree as ElementTree
from itertools import combinations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import FillBetweenPolyCollection, PathCollection
from matplotlib.figure import Figure
from matplotlib.text import Text

from tests.tracking.examples import crowd, objectives, trial
from tracking.picture.figure import draw_front, notable, spread_out
from tracking.picture.key import quantity
from tracking.picture.labels import place_labels
from tracking.picture.palette import mixer_colours
from tracking.picture.plot import draw_chart

SVG = "{http://www.w3.org/2000/svg}"


def drawn(path, trials, **changes):
    """All texts of the picture."""
    options = {"objectives": objectives(), "title": "mine", "target": "B 8"}
    draw_front(trials, path, **(options | changes))
    return [element.text.strip() for element in ElementTree.parse(path).iter(f"{SVG}text") if element.text]


def test_the_picture_says_what_it_shows(tmp_path):
    trials = crowd(60)
    texts = drawn(tmp_path / "front.svg", trials)
    x = "decode step of the whole batch: time per token (ms), lower is better"
    assert {"mine", x, "recall, mean and standard deviation over seeds, higher is better"} <= set(texts)
    assert any("B 8" in text and "60 layouts, 120 runs, 2 seeds each" in text for text in texts)
    assert {"searched, hybrid", "published, hybrid", "attention", "retnet"} <= set(texts)
    front = sorted((t for t in trials if t.on_front), key=lambda t: t.objectives["decode_ms"])
    assert {str(front[0].number), str(front[-1].number)} <= set(texts)


def test_the_knee_is_marked_even_on_a_long_front(tmp_path):
    trials = [trial(i, on_front=True, recall=i / 40, decode_ms=1.0 + i) for i in range(40)]
    assert "17 knee" in drawn(tmp_path / "front.svg", trials, knee=17)
    assert [t.number for t in spread_out(trials, 5, 17)] == [0, 10, 17, 29, 39]
    assert not any("knee" in text for text in drawn(tmp_path / "front.svg", trials))


def test_the_same_trials_give_the_same_file(tmp_path):
    for name in ("a.svg", "b.svg"):
        drawn(tmp_path / name, crowd(40))
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


@pytest.mark.parametrize(
    "names",
    [
        ("recall", "decode_ms"),
        ("recall", "largest_batch"),
        ("text_loss", "decode_ms"),
        ("text_loss", "largest_batch"),
        ("recall", "text_loss"),
        ("decode_ms", "largest_batch"),
        ("recall", "decode_ms", "largest_batch"),
        ("decode_ms", "cache_bytes", "text_loss"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize(
    "trials",
    [
        [trial(0, on_front=True)],
        [trial(0, on_front=True, spreads={}, seeds=(0,)), trial(1)],
        [trial(0, on_front=True, decode_ms=0.0, largest_batch=0.0), trial(1)],
        [trial(n, on_front=True, decode_ms=1.3**n, recall=n / 40) for n in range(40)],
        [trial(0, layers=tuple(f"mixer_{i}" for i in range(64)), on_front=True)],
        [trial(0)],
    ],
    ids=["one", "one seed", "a cost of zero", "a long front", "many mixers", "no front"],
)
def test_unusual_searches_are_drawn(tmp_path, trials, names):
    assert "mine" in drawn(tmp_path / "front.svg", trials, objectives=objectives(*names))


@pytest.mark.parametrize("trials", [[], [trial(0, state="diverged")]], ids=["no trials", "none complete"])
def test_a_search_without_a_result_says_so(tmp_path, trials):
    assert any("no layout" in text for text in drawn(tmp_path / "front.svg", trials))


def test_trials_that_are_not_complete_are_left_out(tmp_path):
    trials = [trial(0, on_front=True), trial(1, state="diverged", recall=0.0)]
    assert any("1 layouts" in text for text in drawn(tmp_path / "front.svg", trials))


def test_costs_over_a_decade_are_drawn_on_a_log_scale(tmp_path):
    wide = [trial(n, decode_ms=cost) for n, cost in enumerate((1.0, 3.0, 14.0))]
    narrow = [trial(n, decode_ms=cost) for n, cost in enumerate((6.0, 9.0, 14.0))]
    assert {"1", "2", "5", "10"} <= set(drawn(tmp_path / "wide.svg", wide))
    assert "5" not in drawn(tmp_path / "narrow.svg", narrow)


def test_the_best_of_each_family_is_named():
    front = trial(0, on_front=True, recall=0.9, decode_ms=1.0)
    gla = [trial(n, origin=f"GLA {n}", recall=0.1 * n) for n in (3, 5, 4)]
    retnet = trial(9, origin="RetNet", layers=("retnet", "attention", "retnet"), recall=0.2)
    assert [t.origin for t in notable([front, *gla, retnet, trial(10)], objectives())] == ["GLA 5", "RetNet"]


def colours(trials):
    return mixer_colours(mixer for t in trials for mixer in t.layers)


@pytest.fixture
def chart():
    figure = Figure()
    FigureCanvasAgg(figure)
    return figure.add_subplot()


@pytest.mark.parametrize("y, y_order", [("recall", 1), ("text_loss", -1)], ids=["y high", "y low"])
@pytest.mark.parametrize("x, x_order", [("decode_ms", -1), ("largest_batch", 1)], ids=["x low", "x high"])
def test_the_line_leads_from_the_best_in_x_to_the_worst(chart, x, x_order, y, y_order):
    """Better x goes with worse y along a front; the line keeps to the side that its members beat."""
    better_x, better_y = [40.0 + 10 * x_order * i for i in range(3)], [2.0 - 0.5 * y_order * i for i in range(3)]
    trials = [trial(i, on_front=True, **{x: a, y: b}) for i, (a, b) in enumerate(zip(better_x, better_y, strict=True))]
    chosen = objectives(x, y)
    draw_chart(chart, trials, chosen, colours(trials), [])
    corners = list(zip(*chart.lines[0].get_data(), strict=True))
    edge = chart.get_xlim()[x_order < 0]
    expected = [(better_x[2], better_y[2]), (better_x[1], better_y[2]), (better_x[1], better_y[1])]
    expected += [(better_x[0], better_y[1]), (better_x[0], better_y[0]), (edge, better_y[0])]
    assert np.array(corners) == pytest.approx(np.array(expected))
    for corner in corners[:-1]:
        beaten = [
            chosen[x].losses(corner[0]) >= chosen[x].losses(t.objectives[x])
            and chosen[y].losses(corner[1]) >= chosen[y].losses(t.objectives[y])
            for t in trials
        ]
        assert any(beaten)
    (shade,) = (c for c in chart.collections if isinstance(c, FillBetweenPolyCollection))
    heights = shade.get_paths()[0].vertices[:, 1]
    assert (heights.min() if y_order > 0 else heights.max()) == chart.get_ylim()[y_order < 0]


def test_a_third_objective_is_a_column_and_the_size_of_the_marks(tmp_path, chart):
    chosen = objectives("recall", "decode_ms", "largest_batch")
    trials = [
        trial(0, on_front=True, recall=0.9, decode_ms=1.0, largest_batch=10.0),
        trial(1, on_front=True, recall=0.5, decode_ms=2.0, largest_batch=1234.0),
    ]
    texts = drawn(tmp_path / "front.svg", trials, objectives=chosen)
    assert {"recall", "ms", "sequences", "1234", "confidence"} <= set(texts)
    assert any("larger marks: better sequences that fit" in text for text in texts)
    draw_chart(chart, trials, chosen, colours(trials), [])
    marks = [c for c in chart.collections if isinstance(c, PathCollection) and len(c.get_offsets())]
    (sizes,) = (dict(zip(map(tuple, c.get_offsets().tolist()), c.get_sizes(), strict=True)) for c in marks)
    assert sizes[2.0, 0.5] > sizes[1.0, 0.9]
    # Trial 1 is beaten on the axes: the line passes it by.
    assert (2.0, 0.5) not in list(zip(*chart.lines[0].get_data(), strict=True))


def test_both_axes_take_a_log_scale_and_measured_values_do_not(chart):
    trials = [trial(n, decode_ms=4.0**n, cache_bytes=1e6 * 4.0**n, recall=0.01 * 4.0**n) for n in range(4)]
    draw_chart(chart, trials, objectives("decode_ms", "cache_bytes"), colours(trials), [])
    assert (chart.get_xscale(), chart.get_yscale()) == ("log", "log")
    chart.clear()
    draw_chart(chart, trials, objectives("recall", "decode_ms"), colours(trials), [])
    assert (chart.get_xscale(), chart.get_yscale()) == ("log", "linear")


@pytest.mark.parametrize("count, most, expected", [(3, 5, [0, 1, 2]), (9, 3, [0, 4, 8]), (0, 3, [])])
def test_a_long_front_is_thinned_evenly(count, most, expected):
    assert [t.number for t in spread_out([trial(n) for n in range(count)], most)] == expected


@pytest.mark.parametrize(
    "value, text",
    [(0.816, "0.816"), (16.24, "16.2"), (3070, "3070"), (39_400, "39.4k"), (1.09e9, "1.09G"), (0, "0"), (2e12, "2T")],
)
def test_quantities_are_short(value, text):
    assert quantity(value) == text


def test_labels_hide_neither_each_other_nor_leave_the_chart():
    figure = Figure(figsize=(6, 4))
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot(xlim=(0, 1), ylim=(0, 1))
    near = [(0.5 + 0.02 * (i % 3), 0.5 + 0.03 * (i // 3)) for i in range(6)]
    place_labels(
        axes, [(x, y, f"label {i}", {"fontsize": 7}) for i, (x, y) in enumerate([*near, (0.0, 0.0), (1.0, 1.0)])]
    )
    canvas.draw()
    boxes = [Text.get_window_extent(text, canvas.get_renderer()) for text in axes.texts]
    assert len(boxes) == 8
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    frame = axes.get_window_extent(canvas.get_renderer())
    assert all(frame.x0 <= b.x0 and b.x1 <= frame.x1 and frame.y0 <= b.y0 and b.y1 <= frame.y1 for b in boxes)
