import json

import pytest

from nas.results.exporters import EXPORTERS, find_exporter
from search_space.cost.cost import cost
from search_space.cost.target import Target
from search_space.errors import InputError
from search_space.layouts.block import Block
from search_space.layouts.layout import Layout
from search_space.parts.part import Part
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


def test_layers_that_read_of_others(tmp_path, tiny):
    """Priced, trained by themselves and in a search, and refused where there is nothing to read."""
    layout = "attention(keys_from=embedding) shared_attention sliding_window(window=8) shared_window(window=8)"
    file = tmp_path / "layout.yaml"
    file.write_text(Layout.parse(layout).to_yaml())
    assert json.loads(nas("cost", file, "--format", "json").stdout)["cost"]["kv_bytes"]
    for seeds in (1, 2):
        found = json.loads(nas("evaluate", file, "--config", "smoke", *tiny, f"search.seeds_per_job={seeds}").stdout)
        assert found["layout"] == Layout.parse(layout).to_dict() and 0 <= found["recall"] <= 1
    for command in (["cost"], ["evaluate", "--config", "smoke", *tiny]):
        refused = nas(command[0], "shared_attention attention", *command[1:])
        assert refused.exit_code == 2 and not refused.stdout and refused.stderr.count("\n") == 1
        assert refused.stderr.startswith("nas: layers[0]=shared_attention")
        assert "a layer of softmax attention below it, with heads=" in refused.stderr
    choices = "space.choices=[attention, shared_attention]"
    more = ["search.trials=4", "search.published=false", "tracking.enabled=false", "search.seeds_per_job=2"]
    searched = nas("search", "--config", "smoke", "--out", tmp_path / "run", *tiny, choices, *more)
    assert searched.exit_code == 0, searched.output
    refused = nas("search", "--config", "smoke", "--out", tmp_path / "none", *tiny, "space.choices=[shared_attention]")
    assert refused.exit_code == 2 and "space.choices=shared_attention" in refused.stderr


@pytest.mark.parametrize("name", [name for name in EXPORTERS.names() if name not in ("yaml", "hf")])
@pytest.mark.parametrize("text", ["attention(keys_from=embedding)", "shared_attention"])
def test_formats_refuse_layers_that_read_of_others(name, text):
    block, mlp = Layout.parse(text).layers[0], getattr(find_exporter(name), "channel_mixers", ["swiglu"])[0]
    with pytest.raises(InputError) as error:
        find_exporter(name)(Layout((Layout.parse(f"attention/{mlp}").layers[0], Block(block.mixer, Part(mlp)))), TARGET)
    assert error.value.key.startswith("layers[")


def test_formats_lists_all():
    out = nas("formats").stdout
    assert [line.split()[0] for line in out.splitlines()] == ["format", *EXPORTERS.names()]
    assert "format checked, tool not run" in out
