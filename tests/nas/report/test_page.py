"""The page of `nas report` in a browser: what is on it, at every width, and what it does when it is used."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest

from nas.results.front import front_json
from nas.search.setup import trials_of
from search_space.layouts.layout import Layout
from tests.nas.report.examples import made_up, page_of
from tests.tracking.browser import installed

pytestmark = pytest.mark.skipif(not installed(), reason="needs chromium and chromedriver (Debian: chromium-driver)")

BOXES = """return [...document.querySelectorAll(arguments[0])].map(e => {
  const b = e.getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom, e.textContent] })"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    config, records = made_up(60)
    trials, page = page_of(config, records)
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page, encoding="utf-8")
    return config, records, trials, path


@pytest.fixture
def opened(window, made):
    show(window, made[3])
    return window


def show(window, path: Path, width: int = 1200, height: int = 900):
    window.resize(width, height)
    window.prefer("light")
    window.open(path.as_uri())
    assert window.run("return document.readyState") == "complete"


def boxes(window, selector):
    return window.run(BOXES.replace("arguments[0]", json.dumps(selector)))


def numbers(window, selector):
    return window.run(f"return [...document.querySelectorAll({selector!r})].map(e => Number(e.dataset.trial))")


def put(window, slider, place):
    """Moves a slider as a hand would."""
    window.run(
        f"const s = document.getElementById('{slider}'); s.value = {place};"
        "s.dispatchEvent(new Event(s.tagName === 'SELECT' ? 'change' : 'input'))"
    )


def test_the_points_are_those_of_front_json(opened, made):
    config, _, trials, _ = made
    front = [p["trial"] for p in json.loads(front_json(trials, config))["points"]]
    assert sorted(numbers(opened, "#chart .point.front")) == sorted(front)
    assert sorted(numbers(opened, "#chart .point")) == [t.number for t in trials]
    assert numbers(opened, "#layouts .front > li") == front
    axes = [text for *_, text in boxes(opened, "#chart .axis")]
    assert any("decode step" in text and "lower is better" in text for text in axes)
    assert any("recall" in text and "higher is better" in text for text in axes)


@pytest.mark.parametrize("width", [360, 768, 1200])
def test_nothing_overlaps_and_nothing_is_cut(window, made, width):
    show(window, made[3], width)
    assert window.run("return document.documentElement.scrollWidth") <= width
    labels, marks = boxes(window, "#chart .label"), boxes(window, "#chart .point:is(.front, .published)")
    assert labels
    for a, b in itertools.combinations(labels, 2):
        assert not overlap(a, b), (a, b)
    for a, b in itertools.product(labels, marks):
        assert not overlap(a, b, 2), (a, b)
    for axis in ("middle", "end"):
        ticks = boxes(window, f"#chart .tick[text-anchor={axis}]")
        assert len(ticks) >= 2
        assert not any(overlap(a, b) for a, b in itertools.combinations(ticks, 2))
    (left, top, right, bottom, _), *_ = boxes(window, "#chart svg")
    for box in boxes(window, "#chart text"):
        assert left - 1 <= box[0] and box[2] <= right + 1 and top - 1 <= box[1] and box[3] <= bottom + 1, box


def overlap(a, b, within=0.5):
    return a[0] + within < b[2] and b[0] + within < a[2] and a[1] + within < b[3] and b[1] + within < a[3]


def test_another_use_gives_the_front_of_the_cost_model(opened, made):
    config, records, _, _ = made
    for batch, context, device in ((0, 0, 0), (5, 6, 2)):
        for slider, place in (("batch", batch), ("context", context), ("device", device)):
            put(opened, slider, place)
        use = opened.run(
            "return [Number(document.getElementById('batch-shown').textContent),"
            "Number(document.getElementById('context-shown').textContent.replaceAll(',', '')),"
            "document.getElementById('device').selectedOptions[0].text]"
        )
        target = replace(config.target, batch=use[0], context=use[1], device=use[2])
        trials = trials_of(records, replace(config, target=target))
        assert sorted(numbers(opened, "#chart .point.front")) == [t.number for t in trials if t.on_front]
    opened.run("document.getElementById('use').reset()")
    assert "as searched" in opened.run(
        "return new Promise(r => setTimeout(() => r(document.getElementById('now').textContent), 50))"
    )


def test_pointing_shows_a_layout_and_a_click_copies_it(opened, made):
    trial = next(t for t in made[2] if t.on_front)
    place = boxes(opened, f"#chart .point[data-trial='{trial.number}']")[0]
    x, y = (place[0] + place[2]) / 2, (place[1] + place[3]) / 2
    opened.run(
        "Object.defineProperty(navigator, 'clipboard',{value: {writeText: async text => { window.copied = text }}})"
    )
    for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
        button = {} if kind == "mouseMoved" else {"button": "left", "clickCount": 1}
        opened.devtools("Input.dispatchMouseEvent", type=kind, x=x, y=y, **button)
    detail = opened.run("return document.getElementById('detail').textContent")
    assert str(trial.design) in detail and f"recall {trial.value('recall'):.3g}" in detail
    strips = opened.run("return document.querySelectorAll('#detail .strip i').length")
    assert strips == made[0].target.layers
    assert Layout.from_yaml(opened.run("return window.copied")) == made[0].target.layout(trial.design)
    assert f"layout {trial.number} copied" in opened.run("return document.getElementById('said').textContent")


def test_the_keyboard_reaches_the_front(opened, made):
    front = [t for t in made[2] if t.on_front]
    assert opened.run("return document.querySelectorAll('#chart .point[tabindex]').length") == len(front)
    opened.run("document.querySelector('#chart .point[tabindex]').focus()")
    assert "recall" in opened.run("return document.getElementById('detail').textContent")


def test_dark_and_print(window, made):
    show(window, made[3])
    light = window.run("return getComputedStyle(document.body).backgroundColor")
    window.prefer("dark")
    dark = window.run("return [getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]")
    assert light == "rgb(255, 255, 255)" and dark[0] != light and contrast(*dark) > 7
    window.devtools("Emulation.setEmulatedMedia", media="print")
    hidden = window.run("return [...document.querySelectorAll('#use, nav, .copy')].every(e => !e.offsetParent)")
    shown = window.run("return getComputedStyle(document.querySelector('.strip i')).printColorAdjust")
    window.resize(700, 900)  # a page of A4, in pixels
    wide = window.run("return document.documentElement.scrollWidth")
    window.devtools("Emulation.setEmulatedMedia", media="")
    assert wide <= 700
    assert hidden and shown == "exact"


def contrast(one, other):
    """Of two colours rgb(...), as WCAG 2.2 has it."""

    def light(colour):
        parts = [int(x) / 255 for x in colour[4:-1].split(",")]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    a, b = sorted((light(one), light(other)))
    return (b + 0.05) / (a + 0.05)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_small_searches_are_drawn(window, tmp_path, count):
    config, records = made_up(4)
    trials, page = page_of(config, [r for r in records if r.trial < count])
    (tmp_path / "report.html").write_text(page, encoding="utf-8")
    show(window, tmp_path / "report.html")
    assert numbers(window, "#chart .point") == [t.number for t in trials] or len(trials) == 2
    if not count:
        assert "No layout" in window.run("return document.getElementById('chart').textContent")


def test_three_objectives(window, tmp_path):
    config, records = made_up(30, overrides=["search.objectives=[recall, decode_ms, largest_batch]"])
    trials, page = page_of(config, records)
    (tmp_path / "report.html").write_text(page, encoding="utf-8")
    show(window, tmp_path / "report.html")
    assert sorted(numbers(window, "#chart .point.front")) == [t.number for t in trials if t.on_front]
    assert "larger: better sequences" in window.run("return document.getElementById('marks').textContent")
