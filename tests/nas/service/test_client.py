"""The client and its commands, against a server that listens."""

import time

import pytest
from click.testing import CliRunner

import nas
from nas.cli import main
from nas.service.house import House
from nas.service.settings import Settings
from tests.nas.service.conftest import QUICK, listening
from tests.nas.test_hostile import made, refused

WAITING = [*QUICK, "workers.pool=ray", "workers.count=3"]
"""Of a search that takes more cores than the server has, and so waits for a larger one."""
TINY_SEARCH = ["--config", "smoke", *QUICK]


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    return House(Settings(folder=str(folder / "service"), cores=2, port=0))


@pytest.fixture(scope="module")
def server(house):
    with listening(house) as url:
        yield url


@pytest.fixture
def client(server, monkeypatch):
    monkeypatch.setenv("NAS_SERVER", server)
    return nas.Client()


def say(*arguments):
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


@pytest.fixture(scope="module")
def found(house, tmp_path_factory, server):
    """A search that was stopped before it began, with six runs on record."""
    search = nas.Client(server).submit("smoke", WAITING, priority=-10, key="found")
    search.pause()
    runs = made(tmp_path_factory.mktemp("made") / "run") / "runs.jsonl"
    (house.folders.at(search.identity).path / "runs.jsonl").write_bytes(runs.read_bytes())
    return search


@pytest.mark.timeout(400)
def test_a_search_through_the_client(client):
    seen = []
    search = client.search("smoke", [*QUICK], on_progress=seen.append)
    assert search.status()["state"] == "complete" and seen[-1].trials == 2
    assert "starting workers" in search.log()
    assert search.wait() == "complete"


def test_the_calls_of_the_front_door(client, found, house, tmp_path):
    local = nas.open(house.folders.at(found.identity).path)
    assert list(found.front().columns) == list(local.front().columns)
    assert found.front().equals(local.front())
    assert found.export("knee") == local.export("knee") and found.export("all") == local.export("all")
    found.export("all", output=tmp_path / "all")
    assert {path.name for path in (tmp_path / "all").iterdir()} == set(local.export("all"))
    assert [trial["trial"] for trial in found.trials] == [trial.number for trial in local.trials]
    cheap = client.open(found.identity, ["target.batch=1"])
    assert cheap.front().equals(nas.open(local.path, ["target.batch=1"]).front())
    assert found.report() == local.report() and cheap.report(tmp_path / "x.html") == (tmp_path / "x.html").read_text()
    assert client.cost("gla*3 attention", {"batch": 1}) == nas.cost("gla*3 attention", nas.Target(batch=1))
    with pytest.raises(nas.InputError, match="objectives"):
        client.open(found.identity, ["search.objectives=[recall]"]).front()


def test_searches_are_compared(client, found, house, tmp_path):
    other = client.submit("smoke", WAITING, name="other", priority=-10, key="other")
    other.pause()
    runs = made(tmp_path / "made", runs=3) / "runs.jsonl"
    (house.folders.at(other.identity).path / "runs.jsonl").write_bytes(runs.read_bytes())
    both = client.compare(found, other.identity, overrides=["target.batch=1"])
    local = nas.compare(
        *(house.folders.at(each.identity).path for each in (found, other)), overrides=["target.batch=1"]
    )
    assert both.to_dict()["hypervolume"] == local.hypervolume and "other" in both.to_table()
    assert both.front().drop(columns="found_by").equals(local.front().drop(columns="found_by"))
    assert both.to_json().startswith("{") and both.to_csv().startswith("origin,")
    both.draw(tmp_path / "both.svg")
    assert "2 searches" in (tmp_path / "both.svg").read_text()
    with pytest.raises(nas.InputError, match="search"):
        client.compare(found)


def test_stop_resume_delete(client):
    search = client.submit("smoke", WAITING, priority=-10, key="x")
    search.pause()
    assert client.submit("smoke", WAITING, priority=-10, key="x").identity == search.identity
    search.delete()
    deadline = time.monotonic() + 60
    with pytest.raises(nas.InputError, match="identity of a search of yours"):
        while time.monotonic() < deadline:
            search.status()
            time.sleep(0.3)


@pytest.mark.timeout(400)
def test_commands(client, found, tmp_path):
    identity = say("submit", *TINY_SEARCH, "--name", "mine").strip()
    assert f"{identity}  " in say("ls", "--name", "mine") and "mine" not in say("ls", "--state", "failed")
    assert say("watch", identity) == "complete\n"
    assert "recall" in say("fetch", identity, "--front", "table")
    assert nas.Layout.from_yaml(say("fetch", found.identity))
    assert say("fetch", found.identity, "--report").startswith("<!doctype html>")
    say("fetch", found.identity, "--pick", "all", "-o", tmp_path / "all")
    assert len(list((tmp_path / "all").iterdir())) == len(found.front())


def test_what_the_service_refuses(client, found, tmp_path):
    assert "search.trails" in refused("submit", "--config", "smoke", "search.trails=3")
    assert "format=os:system" in refused("fetch", found.identity, "--format", "os:system")
    assert "ID=../x" in refused("fetch", "../x") and "identity" in refused("watch", "0" * 16)
    assert "NAS_SERVER" in refused("ls", "--server", "ftp://x")
    assert "cannot be reached" in refused("ls", "--server", "http://127.0.0.1:9", code=1)


def test_tokens(tmp_path, monkeypatch):
    folder = f"folder={tmp_path / 'service'}"
    secret = say("token", "ann", "--scope", "read", "--days", "2", folder).strip()
    assert secret.startswith("nas_")
    listed = say("token", "--list", folder)
    assert "ann  read" in listed and secret not in listed
    say("token", "--revoke", listed.split()[0], folder)
    assert say("token", "--list", folder) == ""
    assert "OWNER" in refused("token", folder) and "--scope" in refused("token", "ann", "--scope", "all", folder)
    assert "host" in refused("serve", folder, "host='0.0.0.0'")
    assert "folder that belongs" in refused(
        "serve", f"folder={tmp_path / 'b'}", f"database='sqlite:///{tmp_path}/service/service.db'"
    )
    monkeypatch.setenv("NAS_TOKEN", "a\nb")
    assert "NAS_TOKEN" in refused("ls")
