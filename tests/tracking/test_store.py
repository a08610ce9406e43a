import shutil

import pytest

from search_space.errors import InputError
from tracking.store import Store, search_id


@pytest.mark.parametrize(
    "uri",
    ["foo://bar", "./mlruns", "http://", "http://host:port", "sqlite:///no/such/folder/mlflow.db", "sqlite:///", "", 5],
)
def test_a_uri_that_is_none_is_refused(uri, tmp_path):
    with pytest.raises(InputError, match=r"tracking\.uri"):
        Store.locate(tmp_path, uri)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("uri", ["http://host:5000", "https://host/mlflow"])
def test_a_server_keeps_its_own_artifacts(uri, tmp_path):
    store = Store.locate(tmp_path, uri + "/")
    assert (store.uri, store.database, store.artifacts) == (uri, None, None)


def test_a_database_elsewhere_has_its_artifacts_beside_it(tmp_path):
    store = Store.locate("anywhere", f"sqlite:///{tmp_path}/shared%20one.db")
    assert store.database == tmp_path / "shared one.db"
    assert store.artifacts == tmp_path / "artifacts"


def test_a_database_that_is_no_file_yet_is_made_whole(tmp_path):
    (tmp_path / "mlflow.db").touch()
    client = Store.locate(tmp_path).connect()
    assert client.search_runs(["0"]) == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mlflow.db"]


def test_artifacts_are_found_after_the_folder_moved(folder):
    store = Store.locate(folder)
    client = store.connect()
    run = client.create_run(store.experiment(client, "nas")).info.run_id
    client.log_text(run, "before", "note.txt")
    moved = folder.parent / "elsewhere"
    shutil.copytree(folder, moved)
    shutil.rmtree(folder)

    client = Store.locate(moved).connect()
    assert client.get_run(run).info.artifact_uri == (moved / "artifacts" / run / "artifacts").as_uri()
    later = client.create_run(store.experiment(client, "nas")).info.run_id
    client.log_text(later, "after", "note.txt")
    notes = {p.parent.parent.name: p.read_text() for p in moved.glob("artifacts/*/artifacts/note.txt")}
    assert notes == {run: "before", later: "after"}
    assert not folder.exists()


def test_a_search_keeps_its_id(tmp_path):
    assert search_id(tmp_path) == search_id(tmp_path)
    (tmp_path / "other").mkdir()
    assert search_id(tmp_path / "other") != search_id(tmp_path)
