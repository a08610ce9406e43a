import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from nas.report import prices
from nas.report.effects import effects
from nas.report.prices import price_grid
from nas.search.setup import check, trials_of
from search_space.cost.cost import cost
from search_space.errors import InputError
from tests.nas.conftest import nas
from tests.nas.report.examples import made_up, page_of
from tracking.picture.palette import mixer_colours

FEW = ["proxy.width=16"]


@pytest.fixture(scope="module")
def made():
    config, records = made_up(24)
    return (config, records, *page_of(config, records))


def data_of(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1])


class Elements(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def test_the_page_loads_nothing(made):
    page = made[3]
    for tag, attributes in Elements(page).found:
        assert tag not in ("iframe", "img", "object", "embed")
        assert not {"src", "srcset", "action", "formaction"} & set(attributes)
        assert attributes.get("href", "#").startswith(("#", "data:,"))
    assert "http:" not in page.replace("http://www.w3.org/2000/svg", "") and "https:" not in page


def test_points_are_those_of_the_front(made):
    config, _, trials, page = made
    data = data_of(page)
    assert [p["trial"] for p in data["points"]] == [t.number for t in trials]
    for point, trial in zip(data["points"], trials, strict=True):
        assert point["values"] == {name: trial.value(name) for name in config.search.objectives}
        assert point["front"] == trial.on_front and len(point["layers"]) == config.target.layers
        assert "layers:" in point["yaml"] and point["seeds"] == len(trial.seeds)
    assert data["axes"] == ["decode_ms", "recall"] and data["third"] is None


def test_every_price_is_the_cost_models():
    config, records = made_up(5, overrides=["search.objectives=[recall, decode_ms, cache_bytes]"])
    layouts = [t.design for t in trials_of(records, config)]
    grid = price_grid(layouts, config)
    d, b, c = grid["here"]
    assert (grid["devices"][d], grid["batches"][b], grid["contexts"][c]) == ("h100", 8, 32_768)
    shape = [len(grid[name]) for name in ("devices", "batches", "contexts")]
    for name in ("decode_ms", "cache_bytes"):
        table = np.frombuffer(base64.b64decode(grid["values"][name]), "<f4").reshape(*shape, len(layouts))
        for place in ((0, 0, 0), (d, b, c), tuple(n - 1 for n in shape), (2, 1, 4)):
            uses = [grid[key][i] for key, i in zip(("devices", "batches", "contexts"), place, strict=True)]
            use = replace(config.target, device=uses[0], batch=uses[1], context=uses[2])
            expected = [getattr(cost(layout, use), name) for layout in layouts]
            assert table[place] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("most, expected", [(5 * 6 * 4 * 4, [6, 4, 4]), (5 * 6, [6, 1, 1]), (5, [1, 1, 1])])
def test_the_grid_is_coarser_where_layouts_are_many(monkeypatch, most, expected):
    monkeypatch.setattr(prices, "MOST", most)
    config, records = made_up(5)
    grid = price_grid([t.design for t in trials_of(records, config)], config)
    assert [len(grid[name]) for name in ("devices", "batches", "contexts")] == expected
    assert [grid["batches"][grid["here"][1]], grid["contexts"][grid["here"][2]]] == [8, 32_768]


def test_effects_find_where_attention_pays():
    config, records = made_up(40)
    found = effects(trials_of(records, config), check(config), "recall")
    assert found.runs == len(records) and found.depths == ((0,), (1,), (2,), (3,))
    rows = dict(zip(found.blocks, found.gains, strict=True))
    last, error = rows["attention"][3]
    assert last > 2 * error > 0 and last > rows["attention"][0][0]
    for place in range(4):  # gains are over the mean of what may stand there
        assert sum(row[place][0] for row in found.gains) == pytest.approx(0, abs=1e-9)


def test_effects_of_a_loss_are_gains_as_well():
    config, records = made_up(40)
    worse = [replace(r, result=replace(r.result, loss={"text": 3 - r.result.recall})) for r in records]
    found = effects(trials_of(worse, config), check(config), "text_loss")
    assert dict(zip(found.blocks, found.gains, strict=True))["attention"][3][0] > 0


def test_layers_that_decide_together_and_limits():
    config, records = made_up(24, overrides=["space.constraints.not_first=[attention]"])
    found = effects(trials_of(records, config), check(config), "recall")
    assert dict(zip(found.blocks, found.gains, strict=True))["attention"][0] is None
    assert effects(trials_of(records, config)[:5], check(config), "recall") is None


def test_texts_are_text(made):
    page = made[3]
    assert "<i>&amp;" not in page.split('id="data"')[0] and "GLA &lt;i&gt;&amp;amp;" in page
    config, records = made_up(6)
    named = replace(config, name="<script>alert(1)<", tasks={"recall": config.tasks["recall"]})
    _, page = page_of(replace(named, tracking=replace(named.tracking, uri="http://me:secret@host")), records)
    assert "<script>alert" not in page and "secret" not in page and "//***@host" in page


def test_the_page_says_what_was_measured(made):
    config, records, trials, page = made
    text = re.sub(r"<[^>]+>", " ", page.split('<script type="application/json"')[0])
    assert f"{len(trials)}: 1 published, {len(trials) - 1} by thompson" in text
    assert f"{len(records)}, one for each seed" in text and "2 s on average" in text
    assert "pairs 4" in text and "No audit" in text and config.target.description in text
    assert f"steps: {config.training.steps}" in text
    assert "tau 0.5" in page_of(config, records, "audit: tau 0.5")[1]
    strips = [a for tag, a in Elements(page).found if a.get("class") == "strip"]
    assert len(strips) >= sum(t.on_front for t in trials)
    assert all(len(a["aria-label"].split()) == config.target.layers for a in strips[: sum(t.on_front for t in trials)])


def test_colours_are_those_of_the_picture(made):
    data = data_of(made[3])
    assert dict(zip(data["labels"], data["colours"], strict=True)) == mixer_colours(data["labels"])


def test_a_search_without_a_result_has_a_page():
    config, records = made_up(4)
    none = [replace(r, result=replace(r.result, status="diverged", recall=0.0)) for r in records]
    for left in ([], none):
        trials, page = page_of(config, left)
        assert "No layout has been trained to its end yet." in page and data_of(page)["points"] == []
        assert len(trials) == len({r.trial for r in left})


def test_five_hundred_layouts_fit(monkeypatch):
    monkeypatch.setattr(prices, "MOST", 3000)
    config, records = made_up(500, "laptop")
    trials, page = page_of(config, records)
    assert len(data_of(page)["points"]) == len(trials) == 500 and len(page.encode()) < 5e6


def test_of_many_layouts_the_chart_shows_some(made, monkeypatch):
    config, records, trials, _ = made
    monkeypatch.setattr("nas.report.page.MOST_DRAWN", 12)
    page = page_of(config, records)[1]
    points = data_of(page)["points"]
    assert len(points) == 12 and "24 layouts, 12 of them drawn" in page
    assert {t.number for t in trials if t.on_front or t.origin} <= {p["trial"] for p in points}


def test_the_command(finished, tmp_path):
    file = tmp_path / "page.html"
    found = nas("report", finished, "-o", file, "target.batch=1")
    assert found.exit_code == 0 and found.stdout == f"{file}\n"
    assert "B 1, n 32768" in file.read_text()
    assert nas("report", finished).stdout == f"{finished / 'report.html'}\n"
    refused = nas("report", finished, "-o", tmp_path / "nowhere" / "page.html")
    assert refused.exit_code == 2 and refused.stderr.startswith("nas: -o=")


def test_a_link_in_somebodys_folder_is_not_followed(finished, tmp_path):
    import shutil

    import nas as front_door

    copy, victim = tmp_path / "copy", tmp_path / "victim"
    shutil.copytree(finished, copy)
    (copy / "report.html").unlink(missing_ok=True)
    victim.write_text("mine")
    (copy / "report.html").symlink_to(victim)
    assert nas("report", copy).exit_code == 2 and victim.read_text() == "mine"
    with pytest.raises(InputError, match="-o"):
        front_door.open(copy).report(tmp_path)
