"""Agreement with published models that is on record."""

import json

import yaml

import nas
from nas.results.known import RECORD, entry_of, known_agreement

AXIS = {
    "name": "mixer",
    "statements": 70,
    "source_count": 4,
    "proxies": {"value": 0.81234, "low": 0.7, "high": 0.9},
    "baselines": {"state bytes": {"value": 0.6}, "cost": {"value": 0.5}},
    "best": "state bytes",
}


def test_the_proxies_of_the_default_search_are_on_record():
    known = known_agreement(nas.load("laptop", ["target.batch=1", "training.device=cpu", "search.seconds=60"]))
    assert known is not None and known.name == "laptop" and known.axes["mixer"]["statements"] > 50
    assert f"{known.axes['mixer']['share']:.0%} on mixer" in known.line


def test_other_proxies_are_not():
    for changed in ("training.steps=481", "proxy.width=64", "tasks.recall.keys=17"):
        assert known_agreement(nas.load("laptop", [changed])) is None


def test_an_entry_is_that_of_a_report(tmp_path):
    config = nas.load("smoke", ["training.steps=7"])
    (tmp_path / "study.yaml").write_text(config.to_yaml())
    about = {"config": "smoke", "group": "report", "seeds": 30, "trained": 20}
    untrained = {**AXIS, "name": "count", "proxies": None}
    (tmp_path / "report.json").write_text(json.dumps({"about": about, "axes": [AXIS, untrained]}))
    entry = entry_of(tmp_path)
    figures = {"share": 0.812, "low": 0.7, "high": 0.9, "statements": 70, "sources": 4, "untrained": 0.6}
    assert entry["axes"] == {"mixer": figures} and entry["seeds"] == 1.5 and entry["group"] == "report"
    assert entry["proxies"]["training"]["steps"] == 7


def test_the_record_is_plain_and_each_of_its_entries_stands_once():
    entries = yaml.safe_load(RECORD.read_text())
    keys = [json.dumps([each["group"], each["proxies"]]) for each in entries]
    assert len(set(keys)) == len(keys)
