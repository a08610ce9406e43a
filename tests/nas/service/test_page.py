"""The page of the service in a browser: what it shows, what it does, and who can use it."""

import json
import time

import pytest

import nas
from nas.service.access import Who
from nas.service.house import House
from nas.service.settings import Settings
from nas.service.tokens import make_token
from tests.nas.report.examples import made_up
from tests.nas.service.conftest import QUICK, listening
from tests.tracking.browser import browser, installed

pytestmark = pytest.mark.skipif(not installed(), reason="needs chromium and chromedriver (Debian: chromium-driver)")

SPACE = ["space.layers=6"]
LABELLED = {"button", "textbox", "checkbox", "combobox", "spinbutton", "image", "Iframe", "link", "DisclosureTriangle"}


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A server that runs nothing; ann has two searches with runs on record, bob has one without."""
    folder = tmp_path_factory.mktemp("served") / "service"
    house = House(Settings.model_validate({"folder": str(folder), "cores": 2, "access": {"by": "tokens"}}))
    for number, (owner, name) in enumerate((("ann", "one"), ("ann", "two"), ("bob", "three"))):
        search, _ = house.submit(Who(owner, "submit"), "smoke", [*QUICK, *SPACE], name, 0, None)
        if owner == "ann":
            _, records = made_up(20, overrides=[*QUICK, *SPACE], seed=number)
            nas.open(house.folders.at(search.id).path).folder.append(records)
    return house


@pytest.fixture(scope="module")
def window(house):
    """Ann's window."""
    with listening(house, run=False) as url, browser() as found:
        found.resize(1200, 1000)
        found.open(url)
        until(found, "return !at('enter').hidden")
        assert found.run("return document.querySelector('main').hidden && at('said').textContent !== ''")
        found.run(
            "document.addEventListener('securitypolicyviolation', e => (window.broken ??= []).push(e.blockedURI))"
        )
        found.run(f"at('token').value = {make_token(house.database, 'ann')!r}; at('enter').requestSubmit()")
        until(found, "return !document.querySelector('main').hidden && at('searches').children.length")
        yield found
        assert found.run("return window.broken ?? []") == []
        loaded = found.run("return performance.getEntriesByType('resource').map(each => each.name)")
        assert all(name.startswith((url, "blob:")) for name in loaded), loaded


def until(window, script, seconds=60.0):
    end = time.monotonic() + seconds
    while not (found := window.run(script)):
        assert time.monotonic() < end, window.run("return document.body.innerText")
        time.sleep(0.1)
    return found


def texts(window, selector):
    return window.run(f"return [...document.querySelectorAll({selector!r})].map(e => e.textContent)")


def opened(house, name):
    (search,) = house.queue.searches(name=name)
    return search, nas.open(house.folders.at(search.id).path)


def show(window, search):
    window.run(f"at('show-{search.id}').click()")
    until(window, f"return at('title').textContent.includes('{search.id}') && at('front').children.length")


def test_one_sees_the_own_searches(window):
    assert texts(window, "#searches button") == ["two", "one"] and texts(window, "#me") == ["ann (submit)"]


def test_the_front_and_what_it_is_for_another_use(window, house):
    search, found = opened(house, "one")
    show(window, search)
    assert texts(window, "#front td:first-child") == [str(number) for number in found.front().index]
    assert "As searched" in texts(window, "#use")[0]
    use = ["target.batch=1", "target.context=4096"]
    window.run(f"at('set').value = {' '.join(use)!r}; at('priced').requestSubmit()")
    until(window, "return at('use').textContent.startsWith('Priced for')")
    cheap = nas.open(found.path, use).front()
    assert texts(window, "#front td:first-child") == [str(number) for number in cheap.index]
    shown = [float(text) for text in texts(window, "#front td:nth-child(3)")]
    assert shown == pytest.approx(cheap["decode_ms"], rel=1e-3)
    window.run("at('set').value = 'target.batch=x'; at('priced').requestSubmit()")
    until(window, "return at('said').textContent.includes('target.batch')")
    window.run("at('set').value = ''; at('priced').requestSubmit()")
    until(window, "return at('use').textContent.startsWith('As searched') && at('said').textContent === ''")


def test_the_report_works_in_its_frame(window, house):
    search, found = opened(house, "two")
    show(window, search)
    window.run("at('whole').open = true")
    until(window, "return at('report').src.startsWith('blob:')")
    with window.frame("#report"):
        points = until(window, "return document.querySelectorAll('#chart .point').length")
        assert points == len(found.trials)
        assert (
            window.run("return getComputedStyle(document.querySelector('.strip i')).backgroundColor")
            != "rgba(0, 0, 0, 0)"
        )
        window.run(
            "const batch = document.getElementById('batch'); batch.value = 0; batch.dispatchEvent(new Event('input'))"
        )
        assert "for this use" in until(window, "return document.getElementById('now').textContent")
        assert window.run("try { return parent.document.title } catch { return 'closed' }") == "closed"


def test_searches_are_compared(window, house):
    (one, first), (two, second) = opened(house, "one"), opened(house, "two")
    for search in (one, two):
        assert window.run("return at('compare').disabled")
        window.run(f"at('pick-{search.id}').click()")
    assert texts(window, "#picked") == ["one, two"]
    window.run("at('compare').click()")
    until(window, "return !at('both').hidden && at('picture').naturalWidth > 0")
    together = nas.compare(first.path, second.path)
    assert texts(window, "#shares td:first-child") == ["one", "two"]
    assert texts(window, "#all-front td:last-child") == [str(trial.design) for trial in together.members]
    assert window.run("return document.activeElement.id") == "both"
    for search in (one, two):
        window.run(f"at('pick-{search.id}').click()")


def test_the_keyboard_keeps_its_place(window, house):
    search, _ = opened(house, "one")
    window.run(f"at('show-{search.id}').focus()")
    house.change(Who("ann", "submit"), search.id, "pause")
    until(window, "return at('searches').textContent.includes('paused')")
    assert window.run("return document.activeElement.id") == f"show-{search.id}"
    for kind in ("keyDown", "keyUp"):
        window.devtools(
            "Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r"
        )
    until(window, f"return at('title').textContent.includes('{search.id}')")
    assert window.run("return document.activeElement.id") == "one"


def test_everything_has_a_name_for_those_who_do_not_see_it(window, house):
    show(window, opened(house, "one")[0])
    for node in window.devtools("Accessibility.getFullAXTree")["nodes"]:
        if not node["ignored"] and node["role"]["value"] in LABELLED:
            assert node.get("name", {}).get("value"), json.dumps(node)
    assert window.run("return [...document.querySelectorAll('th')].every(head => head.scope === 'col')")


@pytest.mark.parametrize("width", [360, 1200])
def test_nothing_is_cut(window, width):
    window.resize(width, 1000)
    assert window.run("return document.documentElement.scrollWidth") <= width
    window.resize(1200, 1000)


def test_the_page_stays_small(window):
    sizes = window.run("return performance.getEntriesByType('resource').map(e => [e.name, e.decodedBodySize])")
    assert sum(size for name, size in sizes if name.endswith((".js", ".css"))) < 32 * 1024
