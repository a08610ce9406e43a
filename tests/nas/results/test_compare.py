import csv
import io
import json
import shutil
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest

import nas as front_door
from nas.results.compare import MARGIN, Searched, compare
from nas.results.pareto import hypervolume
from nas.results.trials import losses_of
from search_space.errors import InputError
from tests.nas.conftest import nas
from tests.nas.examples import config, result, trial


def two():
    """Searches that share a layout; the second found one that beats the rest of the first."""
    one = [trial(0, result(0, 0.4), decode_ms=1.0), trial(1, result(0, 0.6), decode_ms=4.0)]
    other = [trial(0, result(0, 0.9), result(1, 0.6), decode_ms=1.0), trial(2, result(0, 0.8), decode_ms=2.0)]
    return {"a": Searched(config(), one), "b": Searched(config(), other)}


def test_a_layout_of_both_has_the_runs_of_both_once():
    found = compare(two())
    assert found.found_by == {0: {"a": 0, "b": 0}, 1: {"a": 1}, 2: {"b": 2}}
    shared, _, better = found.trials
    assert shared.seeds == [0, 1] and shared.value("recall") == pytest.approx(0.5)
    assert found.members == [shared, better]
    assert [(p.layouts, p.runs, p.on_front) for p in found.parts] == [(2, 2, 1), (2, 3, 2)]


def test_hypervolumes_share_a_reference():
    found = compare(two())
    losses = losses_of(found.trials, ["recall", "decode_ms"])
    low, span = losses.min(0), np.ptp(losses, 0)
    corner = np.full(2, 1 + MARGIN)
    for part, rows in zip(found.parts, ([0, 1], [0, 2]), strict=True):
        assert part.hypervolume == pytest.approx(hypervolume((losses[rows] - low) / span, corner) / corner.prod())
    assert max(p.hypervolume for p in found.parts) <= found.hypervolume < 1
    assert found.reference["recall"] == pytest.approx(0.5 - MARGIN * 0.3)
    assert found.reference["decode_ms"] == pytest.approx(4 * 4**MARGIN)


def test_searches_are_left_as_they_were():
    searches = two()
    compare(searches)
    assert not any(t.on_front for search in searches.values() for t in search.trials)
    assert [t.seeds for t in searches["a"].trials] == [[0], [0]]


NOTHING = Searched(config(), [])
CHANGES = {
    "target.batch": lambda c: replace(c, target=replace(c.target, batch=2)),
    "proxy.width": lambda c: replace(c, proxy=replace(c.proxy, width=48)),
    "training.steps": lambda c: replace(c, training=replace(c.training, steps=7)),
    "tasks.recall": lambda c: replace(c, tasks={"recall": {"keys": 8}}),
    "search.objectives": lambda c: config("recall", "cache_bytes"),
    "space.layers": lambda c: replace(c, space=replace(c.space, layers=4)),
}


@pytest.mark.parametrize("key", CHANGES)
def test_what_may_not_be_compared_is_named(key):
    searches = two()
    searches["b"] = replace(searches["b"], config=CHANGES[key](config()))
    with pytest.raises(InputError) as error:
        compare(searches)
    assert error.value.key == key and "do not mean the same" in str(error.value)


@pytest.mark.parametrize("name, value", [("context", 4096), ("width", 256)])
def test_proxies_of_another_target_are_no_others_at_another_price(name, value):
    searches = two()
    own = replace(config(), target=replace(config().target, **{name: value}))
    searches["b"] = replace(searches["b"], own=own)
    with pytest.raises(InputError, match=rf"target\.{name}={value}"):
        compare(searches)
    priced = replace(config(), target=replace(config().target, batch=1))
    cheap = {"a": Searched(priced, NOTHING.trials, config()), "b": Searched(priced, two()["b"].trials, config())}
    assert compare(cheap).config is priced


def test_how_a_search_proposed_does_not_matter():
    searches, other = two(), config()
    other = replace(other, search=replace(other.search, seed=9, sampler="random"), name="another")
    other = replace(other, training=replace(other.training, device="cpu"))
    searches["b"] = replace(searches["b"], config=other)
    assert compare(searches).hypervolume == compare(two()).hypervolume


@pytest.mark.parametrize("searches", [{}, {"a": NOTHING}, {"a": NOTHING, "b": NOTHING}])
def test_too_little_is_refused(searches):
    with pytest.raises(InputError, match="DIR"):
        compare(searches)


def test_forms_say_the_same(tmp_path):
    found = compare(two())
    table, data = found.to_table(), json.loads(found.to_json())
    rows = list(csv.DictReader(io.StringIO(found.to_csv())))
    assert "2 searches that may be compared" in table and f"{found.hypervolume:.4f}" in table
    assert [p["found_by"] for p in data["points"]] == [{"a": 0, "b": 0}, {"b": 2}]
    assert [(row["a"], row["b"], row["layout"]) for row in rows] == [
        ("0", "0", data["points"][0]["layout"]),
        ("", "2", data["points"][1]["layout"]),
    ]
    assert list(found.front()["layout"]) == [row["layout"] for row in rows]
    found.draw(tmp_path / "both.svg")
    texts = [e.text for e in ElementTree.parse(tmp_path / "both.svg").iter("{http://www.w3.org/2000/svg}text")]
    assert {"a", "b", "2 searches"} <= set(texts)
    with pytest.raises(InputError, match="-o"):
        found.draw(tmp_path / "nowhere" / "both.svg")


def test_the_command(finished, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    found = nas("compare", finished, copy, "--format", "json", "-o", tmp_path / "c.svg", "target.batch=1")
    assert found.exit_code == 0 and (tmp_path / "c.svg").exists()
    data = json.loads(found.stdout)
    ours = front_door.open(finished, ["target.batch=1"])
    assert [p["layout"] for p in data["points"]] == list(ours.front()["layout"])
    assert {s["hypervolume"] for s in data["searches"]} == {data["hypervolume"]}
    text = (copy / "config.yaml").read_text().replace("batch: 8", "batch: 4", 1)
    (copy / "config.yaml").write_text(text)
    refused = nas("compare", finished, copy)
    assert refused.exit_code == 2 and refused.stderr.startswith("nas: target.batch=4")
    assert nas("compare", finished).exit_code == 2 and nas("compare", finished, finished).exit_code == 2
