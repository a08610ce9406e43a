import subprocess
import sys
from pathlib import Path

import pytest

from nas.config import load
from nas.results import folder as folders
from nas.results.folder import Folder
from nas.results.reading import READERS, LineReader
from nas.results.records import Failure, RunRecord
from nas.results.running import is_running
from search_space.errors import InputError
from tests.nas.examples import layout, result

CONFIG = "format: 1\nname: mine\n"
FORMATS = Path(__file__).with_name("formats")


def run(seed=0, **changes):
    fields = {"trial": 0, "origin": None, "layout": layout(1), "seed": seed, "elapsed": 1.0, "result": result(seed)}
    return RunRecord(**(fields | changes))


def everything(path):
    return sorted(str(p.relative_to(path)) for p in path.rglob("*"))


def test_what_is_appended_is_read(tmp_path):
    folder = Folder.create(tmp_path / "run", CONFIG)
    records = [run(0), run(1), run(2, result=None, failure=Failure("layout", "no"))]
    folder.append(records[:2])
    folder.append(records[2:])
    folder.append_audit(records[:1])
    opened = Folder.open(tmp_path / "run")
    assert (opened.read(), opened.read_audit()) == (records, records[:1])
    assert opened.checked_config() == tmp_path / "run" / "config.yaml"


def test_what_did_not_change_is_read_once(tmp_path, monkeypatch):
    folder = Folder.create(tmp_path / "run", CONFIG)
    folder.append([run(0)])
    lines, record = [], LineReader.record
    monkeypatch.setattr(LineReader, "record", lambda *a: lines.append(a) or record(*a))
    folder.read().clear()
    assert folder.read() == [run(0)] and len(lines) == 1
    Folder(folder.path).append([run(1)])
    assert folder.read() == [run(0), run(1)] and len(lines) == 3


def test_a_line_that_was_cut_off_is_left_out_and_mended(tmp_path):
    folder = Folder.create(tmp_path / "run", CONFIG)
    folder.append([run(0)])
    whole = folder.runs.read_bytes()
    folder.runs.write_bytes(whole + whole[:20])
    assert folder.read() == [run(0)]
    folder.mend()
    assert folder.runs.read_bytes() == whole


@pytest.mark.parametrize("number", READERS)
def test_a_folder_of_every_format_is_read(number):
    """Folders of released formats never change; what reads them may."""
    folder = Folder.open(FORMATS / str(number))
    config = load(folder.config)
    records = folder.read()
    assert config.name == f"format {number}" and config.search.objectives == ["recall", "decode_ms"]
    assert [(r.trial, r.seed, r.origin and r.origin.name) for r in records] == [
        (0, 0, "Transformer"),
        (1, 0, None),
        (1, 1, None),
        (2, 0, None),
    ]
    assert [str(r.layout) for r in records] == ["attention*2", "gla attention", "gla attention", "gla*2"]
    assert str(records[0].origin.layout) == "attention*24"
    assert [r.result and r.result.status for r in records] == ["complete", "complete", "diverged", None]
    assert records[1].result.curves == {"recall": [(4, 0.25), (8, 0.5)]} and records[1].objectives == {"recall": 0.375}
    assert records[3].failure == Failure("place", "the worker was lost")


@pytest.mark.parametrize(
    "config, said",
    [
        ("version: 0.2.0\nname: old\n", "nas 0.2.0"),
        ("version: 0.2.0\nsearch: {a_key_of_old: 1}\n", "nas 0.2.0"),
        ("format: 99\n", "format 99"),
        ("name: mine\n", "format None"),
        ("- a\n", "readable config.yaml"),
        ("a: [b\n", "readable config.yaml"),
    ],
    ids=["0.2", "0.2 with an old key", "the future", "none", "a list", "no YAML"],
)
def test_a_folder_of_another_format_is_refused_in_a_line(tmp_path, config, said):
    (tmp_path / "config.yaml").write_text(config)
    with pytest.raises(InputError) as refused:
        Folder.open(tmp_path)
    assert said in str(refused.value) and "\n" not in str(refused.value)
    assert everything(tmp_path) == ["config.yaml"]


def test_an_older_format_can_be_read_but_not_gone_on_with(tmp_path, monkeypatch):
    folder = Folder.create(tmp_path / "run", CONFIG)
    folder.append([run()])
    monkeypatch.setattr(folders, "FORMAT", 2)
    assert Folder.open(folder.path).read() == [run()]
    with pytest.raises(InputError, match="can only be read"):
        folder.checked_config()


def test_looking_whether_a_search_runs_writes_nothing(tmp_path):
    folder = Folder.create(tmp_path / "run", CONFIG)
    assert not is_running(folder.path)
    assert everything(folder.path) == ["config.yaml"]


HOLD = """
import sys
from nas.results.folder import Folder
with Folder(sys.argv[1]).lock():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_search_in_another_process_is_seen(tmp_path):
    folder = Folder.create(tmp_path / "run", CONFIG)
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout.readline() == "held\n"
        assert is_running(folder.path)
        with pytest.raises(InputError, match="another process"), folder.lock():
            pass
    finally:
        other.communicate()
    assert not is_running(folder.path)


def test_discarding_leaves_what_was_there(tmp_path):
    made, mine = tmp_path / "made", tmp_path / "mine"
    mine.mkdir()
    for path in (made, mine):
        folder = Folder.create(path, CONFIG)
        with folder.lock():
            (path / "artifacts").mkdir()
        folder.discard()
    assert everything(tmp_path) == ["mine"]


def test_a_search_with_runs_is_not_discarded(tmp_path):
    folder = Folder.create(tmp_path / "run", CONFIG)
    folder.append([run()])
    folder.discard()
    assert folder.read() == [run()]
