"""The service over HTTP, in this process."""

import json
import os

import pytest
import yaml

import nas
from nas.results.records import RunRecord
from nas.service.kept import REPORT, TRIALS
from tests.nas.examples import layout, result
from tests.nas.service.conftest import LONG, SUBMIT, bearer, served
from tests.nas.test_hostile import made


def submitted(client, **changes):
    response = client.post("/v1/searches", json={**SUBMIT, **changes})
    assert response.status_code in (200, 201), response.text
    return response.json()


def ready(client, house, tmp_path, **changes):
    """A search with six runs on record, that nobody ran."""
    search = submitted(client, **changes)
    tmp_path.mkdir(exist_ok=True)
    folder = made(tmp_path / "made")
    (house.folders.at(search["id"]).path / "runs.jsonl").write_bytes((folder / "runs.jsonl").read_bytes())
    return f"/v1/searches/{search['id']}"


@pytest.mark.timeout(400)  # three processes start, on a busy machine one after the other
def test_from_submission_to_layout(tmp_path):
    with served(tmp_path, run=True) as (client, _):
        search = submitted(client)
        url = f"/v1/searches/{search['id']}"
        names, last = [], None
        with client.stream("GET", f"{url}/events") as stream:
            for text in stream.iter_lines():
                if text.startswith("event: "):
                    names.append(text.removeprefix("event: "))
                elif text.startswith("data: ") and names[-1] == "search":
                    last = json.loads(text.removeprefix("data: "))
        assert names[0] == "search" and names[-1] == "end" and "log" in names
        assert last["state"] == "complete" and last["progress"]["trials"] == 2 and last["progress"]["best"]["recall"]
        assert [event["what"] for event in client.get(url).json()["events"]] == ["submitted", "taken", "complete"]
        front = client.get(f"{url}/front").json()
        assert front["points"] and {o["name"] for o in front["objectives"]} == {"recall", "decode_ms"}
        assert len(client.get(f"{url}/trials").json()["trials"]) == 2
        text = client.get(f"{url}/layouts/knee").text
        assert nas.Layout.from_yaml(text)
        assert client.get(f"{url}/front.svg").text.lstrip().startswith("<?xml")
        assert "starting workers" in client.get(f"{url}/log").text
        assert 'nas_searches{state="complete"} 1' in client.get("/metrics").text
        assert client.get("/readyz").status_code == 200
        assert client.post(f"{url}/prolong", json={"trials": 3}).json()["state"] == "queued"
        with client.stream("GET", f"{url}/events", params={"log": False}) as stream:
            assert "event: end" in list(stream.iter_lines())
        assert len(client.get(f"{url}/trials").json()["trials"]) == 3


def test_a_whole_configuration_is_submitted(local):
    config = yaml.safe_load(nas.load("smoke", SUBMIT["overrides"]).to_yaml())
    assert submitted(local, preset=None, config=config)["state"] == "queued"


def test_the_same_key_is_the_same_search(local):
    first = local.post("/v1/searches", json={**SUBMIT, "key": "k"})
    again = local.post("/v1/searches", json={**SUBMIT, "key": "k"})
    assert (first.status_code, again.status_code) == (201, 200) and first.json()["id"] == again.json()["id"]
    assert first.headers["location"] == f"/v1/searches/{first.json()['id']}"
    other = local.post("/v1/searches", json={**SUBMIT, "name": "second", "key": "k"})
    assert other.status_code == 409 and other.json()["key"] == "key"
    assert submitted(local)["id"] != submitted(local)["id"]


def test_problems_say_what_the_command_line_says(local):
    with pytest.raises(nas.InputError) as said:
        nas.load("smoke", ["search.trails=3"])
    response = local.post("/v1/searches", json={**SUBMIT, "overrides": ["search.trails=3"]})
    assert response.status_code == 422 and response.headers["content-type"] == "application/problem+json"
    found = response.json()
    assert (found["key"], found["value"]) == (said.value.key, str(said.value.value))
    assert found["expected"] == said.value.expected and found["detail"] == str(said.value)
    response = local.post("/v1/searches", json={**SUBMIT, "priority": "high"})
    assert response.status_code == 422 and response.json()["key"] == "priority" and response.json()["value"] == "high"
    assert local.get("/v1/nothing").json()["status"] == 404
    assert local.post("/v1/searches", json={**SUBMIT, "config": {}}).json()["key"] == "preset"


def test_gpus_are_counted(tmp_path):
    with served(tmp_path, gpus=1, gpu_quota=1) as (client, house):
        taken = lambda *more: submitted(client, overrides=[*SUBMIT["overrides"], *more])["gpus"]  # noqa: E731
        assert taken() == 1 and taken("training.device=cpu") == 0
        assert taken("workers={pool: ray, count: 3, gpus: 0.25}") == 1 and taken("workers={pool: ray}") == 0
        large = {**SUBMIT, "overrides": [*SUBMIT["overrides"], "workers={pool: ray, count: 2, gpus: 1}"]}
        said = client.post("/v1/searches", json=large)
        assert said.status_code == 422 and said.json()["key"] == "workers.gpus"
        house.keeper.name = "a"
        assert house.leases.claim("a", 9, 1).gpus == 1 and house.leases.claim("a", 9, 1) is not None
        assert "nas_server_gpus_used 1" in client.get("/metrics").text


def test_lists_and_pages(local):
    ids = [submitted(local, name=f"s{number}", priority=-number)["id"] for number in range(3)]
    page = local.get("/v1/searches", params={"limit": 2}).json()
    assert [search["id"] for search in page["searches"]] == ids[:0:-1] and page["next"] == ids[1]
    page = local.get("/v1/searches", params={"limit": 2, "before": page["next"]}).json()
    assert [search["id"] for search in page["searches"]] == ids[:1] and page["next"] is None
    assert len(local.get("/v1/searches", params={"state": "queued", "name": "s2"}).json()["searches"]) == 1
    assert local.get("/v1/searches", params={"state": ["running", "paused"]}).json()["searches"] == []


def test_stop_pause_resume_prolong_delete(local):
    url = f"/v1/searches/{submitted(local)['id']}"
    for what, state in (("pause", "paused"), ("resume", "queued"), ("stop", "stopped"), ("resume", "queued")):
        response = local.post(f"{url}/{what}")
        assert response.status_code == 202 and response.json()["state"] == state
    assert local.post(f"{url}/resume").status_code == 409
    assert local.post(f"{url}/prolong", json={}).status_code == 422
    assert local.post(f"{url}/prolong", json={"seconds": 3600}).json()["state"] == "queued"
    assert local.delete(url).json()["wanted"] == "delete" and local.delete(url).status_code == 202
    assert local.post(f"{url}/stop").status_code == 409


def test_what_was_found_is_read_and_priced_anew(tmp_path):
    with served(tmp_path) as (client, house):
        url = ready(client, house, tmp_path)
        front = client.get(f"{url}/front").json()
        cheap = client.get(f"{url}/front", params={"set": ["target.batch=1", "target.context=4096"]}).json()
        assert cheap["points"][0]["objectives"]["decode_ms"] < front["points"][0]["objectives"]["decode_ms"]
        assert client.get(f"{url}/front", params={"format": "csv"}).text.startswith("trial,origin,on_front")
        assert "recall" in client.get(f"{url}/front", params={"format": "table"}).text
        first = client.get(f"{url}/trials", params={"limit": 4}).json()
        rest = client.get(f"{url}/trials", params={"after": first["next"]}).json()
        assert [t["trial"] for t in first["trials"] + rest["trials"]] == list(range(6)) and rest["next"] is None
        every = client.get(f"{url}/layouts/all").json()
        assert set(every) == {f"trial_{point['trial']}.yaml" for point in front["points"]}
        resized = client.get(f"{url}/layouts/knee", params={"layers": 8}).text
        assert len(nas.Layout.from_yaml(resized).layers) == 8
        assert client.get(f"{url}/layouts/99").json()["value"] == "99"
        assert client.get(f"{url}/front.svg").status_code == 404
        assert client.get(f"{url}/front", params={"set": "search.seconds=3"}).status_code == 422


def test_the_report_is_the_page_of_the_command_line(tmp_path):
    with served(tmp_path) as (client, house):
        url = ready(client, house, tmp_path)
        folder = house.folders.at(url.rpartition("/")[2]).path
        for overrides in ([], ["target.batch=1", "target.context=4096"]):
            page = client.get(f"{url}/report", params={"set": overrides})
            assert page.headers["content-type"].startswith("text/html")
            assert page.text == nas.open(folder, overrides).report()
            allowed = page.headers["content-security-policy"]
            assert allowed.startswith("sandbox allow-scripts;") and "default-src 'none'" in allowed
        assert client.get(f"{url}/report", params={"set": "search.seconds=3"}).status_code == 422


def test_what_was_made_of_a_record_is_kept_until_it_grows(tmp_path):
    with served(tmp_path) as (client, house):
        url = ready(client, house, tmp_path)
        place = house.folders.at(url.rpartition("/")[2])
        counted = lambda: len(client.get(f"{url}/trials").json()["trials"])  # noqa: E731
        assert counted() == 6 and client.get(f"{url}/report").status_code == 200
        for name, text in ((TRIALS, "[]"), (REPORT, "kept")):
            kept = place.own / f"{nas.__version__}-{name}"
            time = kept.stat().st_mtime_ns
            kept.write_text(text)
            os.utime(kept, ns=(time, time))
        assert counted() == 0 and client.get(f"{url}/report").text == "kept"
        assert len(client.get(f"{url}/trials", params={"set": "target.batch=1"}).json()["trials"]) == 6
        record = RunRecord(trial=6, origin=None, layout=layout(6), seed=0, elapsed=1.0, result=result())
        nas.open(place.path).folder.append([record])
        assert counted() == 7 and "7 layouts" in client.get(f"{url}/report").text


def test_searches_are_compared(tmp_path):
    with served(tmp_path) as (client, house):
        urls = [ready(client, house, tmp_path / str(n), name=name) for n, name in enumerate(("one", "two", "two"))]
        ids = [url.rpartition("/")[2] for url in urls]
        found = client.get("/v1/compare", params={"search": ids}).json()
        names = ["one", f"two {ids[1]}", f"two {ids[2]}"]
        assert [part["name"] for part in found["searches"]] == names and found["comparable"]
        local = nas.compare(*(nas.open(house.folders.at(identity).path) for identity in ids))
        assert found["hypervolume"] == local.to_dict()["hypervolume"]
        assert [point["design"] for point in found["points"]] == [t.design.to_dict() for t in local.members]
        asked = {"search": ids[:2], "set": ["target.batch=1"]}
        cheap = client.get("/v1/compare", params=asked).json()
        assert cheap["points"][0]["decode_ms"] < found["points"][0]["decode_ms"]
        assert client.get("/v1/compare", params={**asked, "format": "csv"}).text.startswith("origin,recall,decode_ms")
        assert "2 searches" in client.get("/v1/compare", params={**asked, "format": "table"}).text
        picture = client.get("/v1/compare", params={**asked, "format": "svg"})
        assert picture.headers["content-type"] == "image/svg+xml" and "one" in picture.text
        other = ready(client, house, tmp_path / "x", overrides=[*SUBMIT["overrides"], "target.batch=2"])
        said = client.get("/v1/compare", params={"search": [ids[0], other.rpartition("/")[2]]})
        assert said.status_code == 422 and said.json()["key"] == "target.batch"
        for wrong in (ids[:1], [ids[0], ids[0]], [ids[0], "../x"], ids * 7):
            assert client.get("/v1/compare", params={"search": wrong}).status_code == 422, wrong
        assert client.get("/v1/compare", params={"search": [ids[0], "0" * 16]}).status_code == 404


def test_layouts_are_priced_and_scored(local):
    found = local.post("/v1/layouts/cost", json={"layout": "(gla*3 attention)*6", "target": {"batch": 1}}).json()
    price = nas.cost("(gla*3 attention)*6", nas.Target(batch=1))
    assert found["decode_ms"] == price.decode_ms and found["cache_bytes"] == price.cache_bytes
    asked = {"layout": "gla*3 attention", "preset": "smoke", "overrides": SUBMIT["overrides"]}
    assert 0 <= local.post("/v1/layouts/evaluate", json=asked).json()["recall"] <= 1
    wrong = local.post("/v1/layouts/evaluate", json={**asked, "layout": "gla*3 attentoin"})
    assert wrong.status_code == 422 and "did you mean 'attention'" in wrong.json()["expected"]


def test_scoring_has_a_limit(tmp_path):
    with served(tmp_path, limits={"evaluate_seconds": 0.5}) as (client, _):
        asked = {"layout": "gla*3 attention", "preset": "smoke", "overrides": [*SUBMIT["overrides"], *LONG]}
        assert client.post("/v1/layouts/evaluate", json=asked).status_code == 409


def test_health_and_what_there_is(tmp_path):
    with served(tmp_path, access={"by": "tokens"}) as (client, house):
        assert client.get("/healthz").text == client.get("/readyz").text == "ok\n"
        assert client.get("/metrics").status_code == 401
        headers = bearer(house, "ann", "read")
        assert "nas_server_cores 2" in client.get("/metrics", headers=headers).text
        assert client.get("/v1/me", headers=headers).json() == {"name": "ann", "scope": "read"}
        known = client.get("/v1/known", headers=headers).json()
        assert known["presets"] == nas.presets() and "yaml" in known["formats"]
    assert client.get("/healthz").status_code  # the application is closed, and its connections with it


def test_the_description_reads_well(local):
    found = local.get("/openapi.json").json()
    assert found["info"]["version"] == nas.__version__
    for path, methods in found["paths"].items():
        for method, described in methods.items():
            assert described["summary"] and described["description"], (method, path)
            if path.startswith("/v1/"):
                assert "Problem" in json.dumps(described["responses"]["422"]), path


def test_the_page_is_served_whole(local):
    page = local.get("/")
    assert page.status_code == 200 and "default-src 'self'" in page.headers["content-security-policy"]
    assert "//" not in page.text.replace("<!doctype", "").replace("http://www.w3.org", "")
    for name in ("page.js", "chart.js", "page.css"):
        assert name in page.text and local.get(f"/{name}").status_code == 200
