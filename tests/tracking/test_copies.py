"""A search is known in a store by its folder: a copy is another search, a folder that was moved is the same."""

import shutil

from tests.tracking.examples import trial
from tracking.runs import Tracker
from tracking.store import Store, own_search_id, search_id


def test_a_copy_gets_an_id_of_its_own_once_it_is_written(tmp_path):
    (tmp_path / "first").mkdir()
    first = own_search_id(tmp_path / "first")
    shutil.copytree(tmp_path / "first", tmp_path / "copy")
    assert search_id(tmp_path / "copy") == first, "it reads as what it was copied from"
    copy = own_search_id(tmp_path / "copy")
    assert copy != first
    assert own_search_id(tmp_path / "copy") == search_id(tmp_path / "copy") == copy
    assert own_search_id(tmp_path / "first") == search_id(tmp_path / "first") == first


def test_a_folder_that_was_moved_keeps_its_id(tmp_path):
    (tmp_path / "first").mkdir()
    first = own_search_id(tmp_path / "first")
    (tmp_path / "first").rename(tmp_path / "moved")
    assert own_search_id(tmp_path / "moved") == first
    (tmp_path / "moved").rename(tmp_path / "again")
    (tmp_path / "moved").mkdir()
    assert own_search_id(tmp_path / "moved") != first
    assert own_search_id(tmp_path / "again") == first


def test_an_id_without_a_path_is_taken_over(tmp_path):
    (tmp_path / ".tracking_id").write_text("0123456789abcdef")
    assert own_search_id(tmp_path) == search_id(tmp_path) == "0123456789abcdef"


def test_copies_do_not_write_into_each_others_runs(tmp_path):
    uri = f"sqlite:///{tmp_path}/shared.db"

    def record(folder, *numbers):
        tracker = Tracker(folder, uri)
        tracker.start("a search", "name: here\n", ["recall", "decode_ms"])
        tracker.log(trial(number) for number in numbers)
        assert tracker.finish("complete")

    def trials(folder):
        client = Store.locate(folder, uri).connect()
        experiment = client.get_experiment_by_name("nas").experiment_id
        found = client.search_runs([experiment], f"tags.search_id = '{search_id(folder)}'")
        return sorted(int(run.data.tags["trial"]) for run in found if "trial" in run.data.tags)

    (tmp_path / "first").mkdir()
    record(tmp_path / "first", 0)
    shutil.copytree(tmp_path / "first", tmp_path / "copy")
    record(tmp_path / "first", 0, 1)
    record(tmp_path / "copy", 0, 2)
    assert trials(tmp_path / "first") == [0, 1] and trials(tmp_path / "copy") == [0, 2]
