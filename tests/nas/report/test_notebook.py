import xml.etree.ElementTree as ElementTree

from nas import open as open_search
from nas.report.notebook import notebook_html
from nas.search.setup import trials_of
from tests.nas.report.examples import made_up


def test_the_figure_is_that_of_the_folder(finished):
    """Matplotlib's own, so that it can be changed; a notebook shows it as it was drawn into the folder."""
    figure = open_search(finished).figure()
    assert figure._repr_svg_() == (finished / "front.svg").read_text()
    assert figure.axes[0].get_xlabel().startswith("decode step")


def test_a_notebook_shows_the_front(finished):
    found = open_search(finished)
    shown = ElementTree.fromstring(f"<div>{found._repr_html_()}</div>")
    rows = shown.findall("table/tbody/tr")
    assert [int(row.find("th").text) for row in rows] == list(found.front().index)
    assert {len(row.findall("td/div/span")) for row in rows} == {found.config.target.layers}
    assert str(found.front()["layout"].iloc[0]) in ElementTree.tostring(rows[0], "unicode", "text")


def test_one_without_a_front_and_names_that_are_markup():
    config, records = made_up(6)
    trials = trials_of(records, config)
    for t in trials:
        t.on_front = t.number == 0
    html = notebook_html(trials, config, "<b>")
    assert "GLA &lt;i&gt;&amp;amp;" in html and "<code>&lt;b&gt;</code>" in html
    assert "0 layouts" in notebook_html([], config, "x")
