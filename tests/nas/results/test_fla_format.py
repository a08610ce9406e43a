"""flash-linear-attention's config.json: loaded and built by its own classes."""

import json
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec

import pytest

from nas.results.exporters import find_exporter
from nas.results.exporters.fla import FAMILIES
from nas.results.exporters.parts import simplified
from nas.testing import ExporterContract
from search_space.cost.cost import cost
from search_space.cost.target import Target
from search_space.errors import InputError
from search_space.layouts.block import Block
from search_space.layouts.layout import Layout

TINY = Target(layers=6, width=64, heads=4, kv_heads=2, mlp_width=96, vocabulary=64, context=128)
SIZES = {"deltanet": "(heads=2)", "gated_deltanet": "(heads=2, value_size=16)", "kda": "(heads=2, value_size=64)"}
CLASSES = {
    "gla": "GatedLinearAttention",
    "retnet": "MultiScaleRetention",
    "deltanet": "DeltaNet",
    "gated_deltanet": "GatedDeltaNet",
    "kda": "KimiDeltaAttention",
    "hgrn": "HGRNAttention",
    "hgrn2": "HGRN2Attention",
}


def pure(kind):
    return Layout.parse(f"{kind}{SIZES.get(kind, '')}*6")


def hybrid(kind):
    own = f"{kind}{SIZES.get(kind, '')}"
    windows = "sliding_window(window=8) sliding_window(heads=2, window=16)"
    return Layout.parse(f"{own}*2 attention {own} {windows}")


class TestFla(ExporterContract):
    exporter = "fla"


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    if find_spec("fla") is None or find_spec("fla.models") is None:
        pytest.skip("flash-linear-attention is not installed (pip install -e '.[test]')")
    folder = tmp_path_factory.mktemp("configs")
    for kind in FAMILIES:
        for name, layout in (("pure", pure(kind)), ("hybrid", hybrid(kind))):
            (folder / f"{kind}-{name}.json").write_text(find_exporter("fla")(layout, TINY))
    command = [sys.executable, "-m", "tests.nas.results.fla_loading", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("kind", FAMILIES)
def test_fla_builds_what_the_file_says(loaded, kind):
    folder, seen = loaded
    for name in ("pure", "hybrid"):
        fields, found = json.loads((folder / f"{kind}-{name}.json").read_text()), seen[f"{kind}-{name}"]
        assert [found["class"]] == fields["architectures"]
        assert found["parameters"] == fields["nas"]["parameters_here"]
        assert found["attn"] == fields["attn"]
    linear = CLASSES[kind]
    assert seen[f"{kind}-pure"]["layers"] == [linear] * 6
    assert seen[f"{kind}-hybrid"]["layers"] == [linear, linear, "Attention", linear, "Attention", "Attention"]
    assert seen[f"{kind}-hybrid"]["windows"][2:] == [None, None, 8, 16]


@pytest.mark.parametrize("make", [pure, hybrid])
@pytest.mark.parametrize("kind", FAMILIES)
def test_it_reads_what_it_writes(kind, make):
    target = TINY if make is hybrid else replace(TINY, heads=1, kv_heads=1)
    exporter = find_exporter("fla")
    found, sizes = exporter.read(json.loads(exporter(make(kind), target)))
    plain = [Block(simplified(b.mixer, target.sizes.dims()), b.mlp) for b in make(kind).layers]
    assert list(found.layers) == plain
    assert cost(found, replace(target, **sizes)) == cost(make(kind), target)


def test_attention_alone_is_held():
    fields = json.loads(find_exporter("fla")(Layout.parse("sliding_window(window=8) attention"), TINY))
    assert [(spec["layers"], spec["window_size"]) for spec in fields["attn"]] == [([0, 1, 2], 8), ([3, 4, 5], None)]
    assert find_exporter("fla").read(fields)[0] == Layout.parse("sliding_window(window=8)*3 attention*3")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gla hgrn attention", r"layers\[2\]=hgrn: expected gla as in layers\[0\]: one linear mixer"),
        ("gla(heads=2) gla attention", r"expected gla\(heads=2\) as in layers\[0\]"),
        ("gla/none attention", "swiglu as the channel mixer"),
        ("mamba2 attention", r"layers\[0\]=mamba2: expected one of gla"),
        ("gla attention(key_size=8, value_size=8)", "width=64"),
        ("hgrn2(key_size=8, value_size=64, heads=1)", "width=64"),
    ],
)
def test_what_it_cannot_hold_is_refused(text, said):
    with pytest.raises(InputError, match=said):
        find_exporter("fla")(Layout.parse(text), TINY)
