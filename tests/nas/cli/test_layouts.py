import json

from nas.results.exporters import EXPORTERS, find_exporter
from search_space.cost.cost import cost
from search_space.cost.target import Target
from search_space.layouts.layout import Layout
from tests.nas.conftest import nas
from tests.nas.examples import TARGET


def test_cost_of_a_layout_in_short():
    found = json.loads(nas("cost", "gla*2 attention", "--format", "json", "target.batch=1").stdout)
    assert found["cost"]["parameters"] == cost(Layout.parse("gla*2 attention"), Target(batch=1)).parameters
    assert found["layout"] == "gla*16 attention*8"
    table = nas("cost", "gla*2 attention").stdout
    assert table.startswith("cost: 24 layers, width 2048, B 8") and "\ngla*16 attention*8\nparameters" in table


def test_cost_of_a_model_that_somebody_has(tmp_path):
    file = tmp_path / "config.json"
    file.write_text(find_exporter("fla")(Layout.parse("gla*2 attention"), TARGET))
    found = json.loads(nas("cost", file, "--format", "json").stdout)
    assert found["cost"]["parameters"] == cost(Layout.parse("gla*2 attention"), TARGET).parameters
    longer = json.loads(nas("cost", file, "--format", "json", "target.layers=12").stdout)
    assert longer["layout"] == "gla*8 attention*4"


def test_what_is_no_layout_is_refused(tmp_path):
    for wrong, key in (("nothing at all", "layers[0]"), (tmp_path / "none.json", "layout"), ("gla*0", "layout")):
        refused = nas("cost", wrong)
        assert refused.exit_code == 2 and refused.stderr.startswith(f"nas: {key}=") and not refused.stdout


def test_formats_lists_all():
    out = nas("formats").stdout
    assert [line.split()[0] for line in out.splitlines()] == ["format", *EXPORTERS.names()]
    assert "format checked, tool not run" in out
