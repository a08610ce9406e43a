"""Attacks on the service, each refused."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

import nas
from nas.service.access import Rate
from nas.service.errors import TooMany
from nas.service.settings import load_settings
from nas.service.tables import Token
from nas.service.tokens import find_token, make_token, revoke_token, tokens
from search_space.errors import InputError
from tests.nas.service.conftest import SUBMIT, bearer, served
from tests.nas.test_hostile import OVERRIDES


@pytest.fixture
def guarded(tmp_path):
    with served(tmp_path, access={"by": "tokens"}) as found:
        yield found


def refused(client, status=422, **asked):
    response = client.post("/v1/searches", json={**SUBMIT, **asked})
    assert response.status_code == status, response.text
    assert client.get("/v1/searches").json()["searches"] == []
    return response.json()


def test_beyond_loopback_there_is_no_service_without_tokens(tmp_path):
    for host in ("0.0.0.0", "192.168.1.5", "::"):
        with pytest.raises(InputError, match="host"):
            load_settings(None, [f"host='{host}'"])
        assert load_settings(None, [f"host='{host}'", "access.by=tokens"]).host == host
    assert load_settings().host == "127.0.0.1"


@pytest.mark.parametrize("override", ["port=high", "prot=1", "limits.body=0", "access.by=nobody", "port.x=1", "port"])
def test_settings_are_checked(override):
    with pytest.raises(InputError):
        load_settings(None, [override])


A_SEARCH = "/v1/searches/0123456789abcdef"
PATHS = ["/v1/searches", A_SEARCH, f"{A_SEARCH}/front", f"{A_SEARCH}/report", "/v1/compare", "/v1/me", "/v1/known"]


@pytest.mark.parametrize("path", PATHS)
def test_nobody_gets_in_without_a_token(guarded, path):
    client, house = guarded
    make_token(house.database, "ann")
    for headers in (
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer nas_guess"},
        {"Authorization": "Basic YW5uOmFubg=="},
        {"Authorization": f"Bearer {tokens(house.database)[0].hash}"},
        {"Authorization": "Bearer é' OR 1=1 --".encode()},
        {"X-Forwarded-User": "ann"},
    ):
        response = client.get(path, headers=headers)
        assert response.status_code == 401 and response.headers["www-authenticate"] == "Bearer"
    assert client.post("/v1/searches", json=SUBMIT).status_code == 401


def test_only_hashes_of_tokens_are_kept(guarded):
    _, house = guarded
    secret = make_token(house.database, "ann", "submit", days=1)
    (row,) = tokens(house.database)
    assert secret not in str(vars(row)) and find_token(house.database, secret).owner == "ann"
    with house.database.write() as session:
        session.get_one(Token, row.id).expires = 1.0
    assert find_token(house.database, secret) is None
    other = make_token(house.database, "ann")
    revoke_token(house.database, tokens(house.database)[1].id)
    assert find_token(house.database, other) is None
    for wrong in ({"owner": "a b"}, {"owner": ""}, {"owner": "../x"}, {"scope": "root"}, {"days": -1}):
        with pytest.raises(InputError):
            make_token(house.database, **{"owner": "ann", **wrong})


def test_scopes(guarded):
    client, house = guarded
    read, submit, admin = (bearer(house, "ann", scope) for scope in ("read", "submit", "admin"))
    assert client.post("/v1/searches", json=SUBMIT, headers=read).status_code == 403
    assert client.post("/v1/layouts/evaluate", json={"layout": "gla"}, headers=read).status_code == 403
    url = f"/v1/searches/{client.post('/v1/searches', json=SUBMIT, headers=submit).json()['id']}"
    assert client.get(url, headers=read).status_code == 200
    for what in ("stop", "pause", "resume"):
        assert client.post(f"{url}/{what}", headers=read).status_code == 403
    assert client.delete(url, headers=read).status_code == 403
    urgent = {**SUBMIT, "priority": 1}
    assert client.post("/v1/searches", json=urgent, headers=submit).status_code == 403
    assert client.post("/v1/searches", json=urgent, headers=admin).status_code == 201


def test_owners_see_and_change_their_own(guarded):
    client, house = guarded
    ann, bob, admin = bearer(house, "ann"), bearer(house, "bob"), bearer(house, "root", "admin")
    mine = client.post("/v1/searches", json={**SUBMIT, "key": "k"}, headers=ann).json()["id"]
    theirs = client.post("/v1/searches", json={**SUBMIT, "key": "k"}, headers=bob).json()["id"]
    assert mine != theirs
    url = f"/v1/searches/{mine}"
    for path in ("", "/front", "/trials", "/layouts/knee", "/log", "/events", "/front.svg", "/report"):
        assert client.get(f"{url}{path}", headers=bob).status_code == 404
    both = {"search": [mine, theirs]}
    assert client.get("/v1/compare", params=both, headers=bob).status_code == 404
    assert client.get("/v1/compare", params=both, headers=admin).status_code == 422  # nothing was trained yet
    for what in ("stop", "pause", "resume"):
        assert client.post(f"{url}/{what}", headers=bob).status_code == 404
    assert client.post(f"{url}/prolong", json={"trials": 9}, headers=bob).status_code == 404
    assert client.delete(url, headers=bob).status_code == 404
    listed = client.get("/v1/searches", params={"owner": "ann"}, headers=bob).json()["searches"]
    assert [search["id"] for search in listed] == [theirs]
    assert client.get("/v1/searches", params={"before": mine}, headers=bob).status_code == 404
    assert len(client.get("/v1/searches", headers=admin).json()["searches"]) == 2
    assert client.get(url, headers=ann).json()["state"] == "queued"


def test_a_header_is_believed_from_the_proxy_alone(tmp_path):
    access = {"by": "proxy", "proxies": ["testclient"], "admins": ["root"]}
    with served(tmp_path, access=access) as (client, _):
        me = lambda name: client.get("/v1/me", headers={"X-Forwarded-User": name})  # noqa: E731
        assert me("ann").json() == {"name": "ann", "scope": "submit"} and me("root").json()["scope"] == "admin"
        twice = [("X-Forwarded-User", "root"), ("X-Forwarded-User", "ann")]
        assert client.get("/v1/me", headers=twice).status_code == 401
        assert me("a/../b").status_code == me("").status_code == 401
    with served(tmp_path, access={**access, "proxies": ["10.0.0.1"]}) as (client, _):
        assert client.get("/v1/me", headers={"X-Forwarded-User": "root"}).status_code == 401
        headers = {"X-Forwarded-User": "root", "X-Forwarded-For": "10.0.0.1", "Forwarded": "for=10.0.0.1"}
        assert client.get("/v1/me", headers=headers).status_code == 401


CODE = [
    "search.sampler='evil:Sampler'",
    'space.choices=[gla, attention, "evil:Mixer"]',
    'space.choices=[gla, attention, "gla/evil:Mlp"]',
    "space.blocks={a: {mixer: 'evil:Mixer'}}",
    "space.blocks={paths: {mixer: 'evil:Mixer'}}",
    "space.blocks={a: {mixer: parallel, branches: [gla, 'evil:Mixer']}}",
    "tasks.mine={task: 'evil:Task'}",
    "tasks={'evil:Task': {}}",
    "search.objectives=[recall, 'evil:Cost']",
    "target.options={'evil:Mixer': {heads: 2}}",
    "proxy.options={'evil:Mixer': {heads: 2}}",
    "search.sampler=evil.deep.er:Sampler",
]


@pytest.fixture
def evil(tmp_path, monkeypatch):
    """A module that says when it is imported."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "evil.py").write_text(f"open({str(tmp_path / 'was here')!r}, 'w')\n")
    monkeypatch.syspath_prepend(tmp_path / "code")
    yield tmp_path / "was here"


@pytest.mark.parametrize("override", CODE)
def test_no_code_is_imported(local, evil, override):
    key = override.partition("=")[0]
    assert refused(local, overrides=[*SUBMIT["overrides"], override])["key"].startswith(key.partition(".")[0])
    name, value = nas.config.loading._parse(override)[1].popitem()
    refused(local, preset=None, config={name: value})
    assert not evil.exists()


@pytest.mark.parametrize("layout", ["evil:Mixer*4", "gla/evil:Mlp", "parallel(branches=[gla, evil:Mixer])"])
def test_no_code_is_imported_by_layouts(local, evil, layout):
    for path in ("cost", "evaluate"):
        assert local.post(f"/v1/layouts/{path}", json={"layout": layout}).status_code == 422
    blocks = {"blocks": {"a": {"mixer": "evil:Mixer"}}, "layers": ["a"]}
    assert local.post("/v1/layouts/cost", json={"layout": blocks}).status_code == 422
    assert local.post("/v1/layouts/cost", json={"layout": "gla", "target": {"profile": "/x"}}).status_code == 422
    assert not evil.exists()


def test_no_code_is_imported_by_readers(local, evil):
    url = f"/v1/searches/{local.post('/v1/searches', json=SUBMIT).json()['id']}"
    for name in ("evil:Exporter", "../../x", "os:system"):
        assert local.get(f"{url}/layouts/knee", params={"format": name}).status_code == 422
    for override in ("search.objectives=[recall, 'evil:Cost']", "target.options={'evil:Mixer': {a: 1}}"):
        assert local.get(f"{url}/front", params={"set": override}).status_code == 422
    assert not evil.exists()


def test_an_administrator_allows_code_by_name(tmp_path, evil):
    with served(tmp_path, allow={"imports": ["tests.nas.examples:Some", "evil"]}) as (client, _):
        said = client.post("/v1/searches", json={**SUBMIT, "overrides": ["search.sampler='evil:Sampler'"]})
        assert said.status_code == 422 and evil.exists()  # it was imported, and has no such sampler
        said = client.post("/v1/searches", json={**SUBMIT, "overrides": ["search.sampler='tests.nas.examples:Other'"]})
        assert "allows no import" in said.json()["expected"]


OUTSIDE = [
    "workers.address=auto",
    "workers.address='ray://10.0.0.1:10001'",
    "tracking.uri='http://10.0.0.1:5000'",
    "tracking.uri='sqlite:////tmp/x.db'",
    "target.profile=/etc/passwd",
    "target.profile=../../etc/passwd",
    "text.paths=[/etc]",
    "text.paths=[../..]",
    "tasks.text={paths: [/etc/passwd]}",
    "tasks.mine={task: text, paths: [/etc/passwd]}",
    "name='${oc.env:HOME}'",
    "search.seed='${training.steps}'",
    "tracking.experiment='${oc.env:HOME}'",
    "name=../../elsewhere",
]


@pytest.mark.parametrize("override", OUTSIDE)
def test_nothing_outside_is_named(local, override):
    said = refused(local, overrides=[*SUBMIT["overrides"], override])
    assert os.environ["HOME"] not in said["detail"]
    name, value = nas.config.loading._parse(override)[1].popitem()
    refused(local, preset=None, config={name: value})


def test_an_administrator_allows_files_and_addresses(tmp_path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("some text. " * 1000)
    (tmp_path / "secret.txt").write_text("secret " * 1000)
    (tmp_path / "texts" / "link.txt").symlink_to(tmp_path / "secret.txt")
    allow = {"files": [str(tmp_path / "texts")], "tracking": ["http://mlflow:5000"], "addresses": ["auto"]}
    with served(tmp_path, allow=allow) as (client, _):
        for override, status in (
            (f"text.paths=['{tmp_path}/texts/a.txt']", 201),
            (f"text.paths=['{tmp_path}/texts/../secret.txt']", 422),
            (f"text.paths=['{tmp_path}/texts/link.txt']", 422),
            (f"text.paths=['{tmp_path}']", 422),
            ("tracking={enabled: true, uri: 'http://mlflow:5000'}", 201),
            ("tracking.uri='http://mlflow:5000/'", 422),
            ("workers.address=auto", 201),
        ):
            asked = {**SUBMIT, "overrides": [*SUBMIT["overrides"], override]}
            assert client.post("/v1/searches", json=asked).status_code == status, override


@pytest.mark.parametrize("override", OVERRIDES, ids=lambda override: override[:40])
def test_what_the_command_line_refuses(hostile, override):
    refused(hostile, overrides=[*SUBMIT["overrides"], override])


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    with served(tmp_path_factory.mktemp("hostile"), limits={"requests": 10_000}) as (client, _):
        yield client


IDENTITIES = [
    "../../../etc/passwd",
    "..%2f..%2fetc",
    "%2e%2e",
    "0123456789abcdeg",
    "0" * 17,
    "0" * 15,
    "a%00b",
    "é",
]


@pytest.mark.parametrize("identity", IDENTITIES)
def test_no_path_leaves_the_folder(local, identity):
    for path in (f"/v1/searches/{identity}", f"/v1/searches/{identity}/log", f"/{identity}"):
        response = local.get(path)
        assert response.status_code in (200, 404, 422) and "root:" not in response.text
        assert response.status_code != 200 or response.json().keys() == {"searches", "next"}
    with served_folders(local) as folders, pytest.raises(LookupError):
        folders.at(identity)


def served_folders(client):
    from contextlib import nullcontext

    return nullcontext(client.app.state.house.folders)


def test_limits_of_size(tmp_path):
    limits = {"trials": 10, "layers": 8, "seconds": 60, "steps": 100, "cores": 2, "gpus": 1}
    with served(tmp_path, limits=limits) as (client, _):
        for override in (
            *("search.trials=11", "search.seconds=61", "space.layers=9", "target.layers=9", "training.steps=101"),
            "workers={pool: ray, count: 3}",
            "workers={pool: ray, count: 2, cpus: 1, gpus: 0.75}",  # two in all
        ):
            refused(client, overrides=["target.layers=8", *SUBMIT["overrides"], override])
        assert client.post("/v1/layouts/cost", json={"layout": "gla*9", "target": {"layers": 8}}).status_code == 422
        assert client.post("/v1/layouts/cost", json={"layout": "gla"}).status_code == 422
        asked = {**SUBMIT, "overrides": ["target.layers=8", *SUBMIT["overrides"]]}
        url = f"/v1/searches/{client.post('/v1/searches', json=asked).json()['id']}"
        assert client.post(f"{url}/prolong", json={"trials": 11}).status_code == 422
        assert client.get(f"{url}/layouts/knee", params={"layers": 9}).status_code == 422


def test_most_open_searches(tmp_path):
    with served(tmp_path, limits={"open": 1}) as (client, house):
        first = client.post("/v1/searches", json={**SUBMIT, "key": "k"})
        with ThreadPoolExecutor(4) as threads:
            asked = [{**SUBMIT, "key": str(number)} for number in range(4)]
            found = list(threads.map(lambda json: client.post("/v1/searches", json=json).status_code, asked))
        assert first.status_code == 201 and found == [409] * 4
        assert house.folders.identities() == {first.json()["id"]}


def test_large_bodies(tmp_path):
    with served(tmp_path, limits={"body": 1000}) as (client, _):
        large = b"[" + b" " * 2000 + b"]"
        for content in (large, iter([large[:900], large[900:]])):
            response = client.post("/v1/searches", content=content, headers={"Content-Type": "application/json"})
            assert response.status_code == 413 and response.headers["content-type"] == "application/problem+json"


BODIES = {
    "deep": b"[" * 100_000,
    "deep and whole": b'{"config": ' + b'{"a":' * 5000 + b"1" + b"}" * 5001,
    "no JSON": b"{",
    "no text": b"\xff\xfe",
    "NaN": b'{"config": {"search": {"seconds": NaN}}}',
    "a long number": b'{"config": {"search": {"trials": ' + b"9" * 5000 + b"}}}",
    "half a character": b'{"name": "\\ud800"}',
    "half a character in a key": b'{"config": {"\\ud800": 1}}',
    "half a character in a preset": b'{"preset": "\\ud800"}',
    "a zero": b'{"name": "a\\u0000b"}',
    "a key of the client with a zero": b'{"key": "a\\u0000b"}',
    "a list": b"[]",
    "nothing": b"",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_odd_bodies(hostile, body):
    for path in ("searches", "layouts/cost", "layouts/evaluate"):
        response = hostile.post(f"/v1/{path}", content=body, headers={"Content-Type": "application/json"})
        assert response.status_code in (400, 422), response.text
        assert response.headers["content-type"] == "application/problem+json"


def test_requests_are_counted(tmp_path):
    with served(tmp_path, access={"by": "tokens"}, limits={"requests": 3}) as (client, house):
        ann, bob = bearer(house, "ann"), bearer(house, "bob")
        assert [client.get("/v1/me", headers=ann).status_code for _ in range(4)] == [200, 200, 200, 429]
        assert client.get("/v1/me", headers=bob).status_code == 200
        guesses = [client.get("/v1/me", headers={"Authorization": f"Bearer {n}"}).status_code for n in range(5)]
        assert guesses == [401, 401, 401, 429, 429]


def test_counting_forgets_the_oldest(monkeypatch):
    monkeypatch.setattr("nas.service.access.KNOWN", 2)
    rate = Rate(1)
    for name in "abc":
        rate.count(name)
    assert len(rate._left) == 2
    with pytest.raises(TooMany):
        rate.count("c")


def test_streams_are_counted(tmp_path):
    with served(tmp_path, limits={"streams": 1}) as (client, house):
        url = f"/v1/searches/{client.post('/v1/searches', json=SUBMIT).json()['id']}"
        client.post(f"{url}/stop")
        for _ in range(3):  # each gives its place back
            assert client.get(f"{url}/events").text.rstrip().endswith('data: "stopped"')
        from nas.service.access import LOCAL, Who

        with house.door.stream(Who(LOCAL, "admin")):
            assert client.get(f"{url}/events").status_code == 429


def test_pages_of_other_sites_reach_nothing(local):
    for host in ("evil.example", "evil.example:8642", "127.0.0.1.evil.example", "", "["):
        assert local.get("/v1/searches", headers={"Host": host}).status_code == 403  # a name that points here
    assert local.get("/v1/searches", headers={"Host": "localhost:8642"}).status_code == 200
    for origin in ("http://evil.example", "null", "http://127.0.0.1:9999"):
        assert local.post("/v1/searches", json=SUBMIT, headers={"Origin": origin}).status_code == 403
    plain = {"Content-Type": "text/plain"}
    assert local.post("/v1/searches", content="{}", headers=plain).status_code == 415
    assert local.post("/v1/searches", json=SUBMIT, headers={"Origin": "http://127.0.0.1:8642"}).status_code == 201
    assert "access-control-allow-origin" not in local.get("/v1/searches").headers


def test_errors_show_no_folder(tmp_path):
    with served(tmp_path) as (client, house):
        search = client.post("/v1/searches", json=SUBMIT).json()["id"]
        (house.folders.at(search).path / "runs.jsonl").write_bytes(b"\xff\n")
        said = client.get(f"/v1/searches/{search}/front")
        assert said.status_code == 422 and str(tmp_path) not in said.text
