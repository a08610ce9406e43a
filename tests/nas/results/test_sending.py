"""What MLflow is told of a search."""

import re

import pytest

from nas.results import front
from nas.results.folder import Folder
from nas.results.sending import MOST_ROWS, send
from nas.search.setup import trials_of
from tests.nas.report.examples import made_up
from tracking.search_run import TAG_CHARACTERS


class Heard:
    """A tracker that keeps what it is handed."""

    def log(self, records):
        self.records = {record.number: record for record in records}

    def log_front(self, found):
        self.front = found


def told(config, records, path):
    folder = Folder.create(path, config.to_yaml())
    trials, heard = trials_of(records, config), Heard()
    front.write(trials, config, folder)
    send(trials, records, config, folder, lambda *given: f"<p>{len(given[0])}", heard)
    return trials, heard


def rows_of(text):
    """The table's rows below its head."""
    return [re.split(r" *\| *", line.strip("| ")) for line in text.splitlines() if line.startswith("| ")][2:]


def test_the_front_is_told_with_its_knee(tmp_path):
    config, records = made_up(40)
    trials, heard = told(config, records, tmp_path / "run")
    members = [t.number for t in trials if t.on_front]
    assert set(heard.records) == {t.number for t in trials}
    assert sorted(m.number for m in heard.front.members) == sorted(members)
    knee = front.knee_number(trials, config)
    assert [n for n, record in heard.records.items() if record.knee] == [knee]
    assert all(len(record.trained) == config.space.layers for record in heard.records.values())
    files = heard.front.files
    assert set(files) == {"front.svg", "front.json", "front.html"} and files["front.html"] == "<p>40"
    assert heard.front.runs == len(records)


def test_the_description_has_a_row_for_each_layout_of_the_front(tmp_path):
    config, records = made_up(40)
    trials, heard = told(config, records, tmp_path / "run")
    rows = rows_of(heard.front.description)
    assert [int(row[0]) for row in rows] == [m.number for m in heard.front.members]
    by_number = {t.number: t for t in trials}
    for number, recall, *_, layout in rows:
        trial = by_number[int(number)]
        assert recall == f"{trial.value('recall'):.3f}" and f"`{trial.design}`" in layout
        assert ("**knee**" in layout) == heard.records[trial.number].knee
    assert f"{len(records)} runs" in heard.front.description.splitlines()[0]


def test_a_long_front_is_described_in_short(tmp_path):
    config, records = made_up(70)
    for trial in (trials := trials_of(records, config)):
        trial.on_front = trial.number < 60
    heard, folder = Heard(), Folder.create(tmp_path / "run", config.to_yaml())
    front.write(trials, config, folder)
    send(trials, records, config, folder, lambda *given: "", heard)
    rows = rows_of(heard.front.description)
    assert len(heard.front.members) == 60 and len(rows) == MOST_ROWS
    assert sum("**knee**" in row[-1] for row in rows) == 1
    assert len(heard.front.description) < TAG_CHARACTERS - 1000


@pytest.mark.parametrize("name", ["a | b", "<script>", "`x`", "[a](javascript:b)", "*bold*\n| 1 |"])
def test_a_name_changes_nothing_of_the_table(tmp_path, name):
    config, records = made_up(10)
    trials = trials_of(records, config)
    for trial in trials:
        trial.on_front = trial.number == 0
    trials[0].origin = type(trials[0].origin)(name, trials[0].origin.layout)
    heard, folder = Heard(), Folder.create(tmp_path / "run", config.to_yaml())
    front.write(trials, config, folder)
    send(trials, records, config, folder, lambda *given: "", heard)
    (row,) = rows_of(heard.front.description)
    assert len(row) == 7 and not set("<>[]") & set(heard.front.description)


def test_a_search_that_found_nothing_says_so(tmp_path):
    config, _ = made_up(4)
    _, heard = told(config, [], tmp_path / "run")
    assert heard.front.members == () and "0 of 0 layouts" in heard.front.description
