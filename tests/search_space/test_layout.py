import pickle

import pytest

from search_space.errors import InputError
from search_space.layouts.block import Block
from search_space.layouts.layout import Layout
from search_space.parts.part import NONE, Part
from tests.search_space.stubs import ECHO

WINDOWS = Layout(
    (
        Block(Part("sliding_window", {"window": 16})),
        Block("gla"),
        Block(Part("sliding_window", {"window": 64})),
        Block("gla"),
    )
)


def layout(*names, **blocks):
    return Layout.from_dict({"blocks": blocks, "layers": list(names)})


def test_block_names_do_not_matter():
    one = layout("a", "b", a={"mixer": "gla"}, b={"mixer": "attention", "heads": 2})
    other = layout("x", "y", y={"heads": 2, "mixer": "attention"}, x={"mixer": "gla"})
    assert one == other and hash(one) == hash(other) and one.key == other.key


def test_a_mixer_is_a_block_of_its_own_name():
    assert layout("gla") == layout("g", g={"mixer": "gla"})


def test_a_block_shadows_the_mixer_of_its_name():
    assert layout("gla", gla={"mixer": "hgrn"}) == layout("hgrn")


def test_unused_blocks_are_dropped():
    one = layout("gla", spare={"mixer": "attention"})
    assert one == layout("gla")
    assert list(one.to_dict()["blocks"]) == ["gla"]


def test_order_of_options_does_not_matter():
    assert Part("gla", {"heads": 2, "conv": 4}) == Part("gla", [("conv", 4), ("heads", 2)])


@pytest.mark.parametrize(
    "one, other",
    [
        (layout("gla", "attention"), layout("attention", "gla")),
        (layout("gla"), layout("gla", "gla")),
        (layout("a", a={"mixer": "gla", "heads": 2}), layout("gla")),
    ],
    ids=["order", "depth", "options"],
)
def test_different_layouts_differ(one, other):
    assert one != other and one.key != other.key


def test_key_is_the_same_in_every_version():
    assert layout("gla", "attention").key == "4117cb17ade3"


def test_key_agrees_with_equality_of_numbers():
    one, other = (layout("a", a={"mixer": "gla", "conv": value}) for value in (4, 4.0))
    assert one == other and one.key == other.key


@pytest.mark.parametrize(
    "names, text",
    [
        ("g", "gla"),
        ("gggg", "gla*4"),
        ("ggagg", "gla*2 attention gla*2"),
        ("ggagga", "(gla*2 attention)*2"),
        ("gag", "gla attention gla"),
    ],
)
def test_shown_in_short(names, text):
    assert str(layout(*({"g": "gla", "a": "attention"}[n] for n in names))) == text


def test_options_are_shown():
    assert str(WINDOWS) == "sliding_window(window=16) gla sliding_window(window=64) gla"


def test_written_and_read():
    assert Layout.from_yaml(WINDOWS.to_yaml()) == WINDOWS
    assert WINDOWS.to_dict() == {
        "blocks": {
            "sliding_window": {"mixer": "sliding_window", "window": 16},
            "gla": {"mixer": "gla"},
            "sliding_window_2": {"mixer": "sliding_window", "window": 64},
        },
        "layers": ["sliding_window", "gla", "sliding_window_2", "gla"],
    }


def test_lists_survive_writing():
    one = layout("a", a={"mixer": "gla", "pair": [1, [2, 3]]})
    assert Layout.from_yaml(one.to_yaml()) == one


def test_a_user_mixer_by_its_path():
    one = layout(ECHO, "gla")
    assert one.layers[0] == Block(ECHO)
    assert one.to_dict()["layers"] == ["Echo", "gla"]
    assert Layout.from_yaml(one.to_yaml()) == one


def test_a_part_has_its_own_options_over_others():
    assert Part("gla", {"heads": 2}).over({"heads": 4, "conv": 3}) == Part("gla", {"heads": 2, "conv": 3})


PARTS = {
    "gla/none": Block("gla", NONE),
    "none/swiglu": Block(NONE),
    "gla/swiglu(ratio=2)": Block("gla", Part("swiglu", {"ratio": 2})),
    "attention(rope_theta=null, heads=4)": Block(Part("attention", {"rope_theta": None, "heads": 4})),
    "parallel(branches=[attention, sliding_window(window=8)], norm=false)": Block(
        Part("parallel", {"branches": ["attention", {"mixer": "sliding_window", "window": 8}], "norm": False})
    ),
}


@pytest.mark.parametrize(("text", "block"), PARTS.items(), ids=PARTS)
def test_blocks_in_short(text, block):
    assert Layout.parse(text) == Layout((block,))
    assert Layout.parse(str(Layout((block,)))) == Layout((block,))
    assert Layout.from_yaml(Layout((block, Block("gla"))).to_yaml()) == Layout((block, Block("gla")))


@pytest.mark.parametrize(
    ("text", "depth"),
    [
        ("gla", 1),
        (" gla * 3 ", 3),
        ("(gla*2 attention)*8", 24),
        ("((gla hgrn)*2 attention)*3 gla/none", 16),
        ("attention (gla hgrn)*2", 5),
        ("gla/none (attention)", 2),
        ("(gla/none none/swiglu)*12", 24),
        (f"{ECHO}(window=4)*2 gla", 3),
    ],
)
def test_layouts_in_short(text, depth):
    layout = Layout.parse(text)
    assert len(layout.layers) == depth
    assert Layout.parse(str(layout)) == layout


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "name of a mixer in place of its end"),
        ("gla*", "a count"),
        ("gla*0", "a count"),
        ("gla*99999", "a count"),
        ("(gla*2", "')'"),
        ("gla)", "a block, or the end"),
        ("gla(heads)", "'='"),
        ("gla(heads=)", "a value"),
        ("gla(heads=2", "','"),
        ("glaa", "did you mean 'gla'"),
        ("gla/swiglo", "did you mean 'swiglu'"),
        ("none/none", "a mixer, a channel mixer, or both"),
        ("gla ? attention", "name of a mixer in place of '?' at character 5"),
    ],
)
def test_mistakes_in_short_notation(text, hint):
    with pytest.raises(InputError) as error:
        Layout.parse(text)
    assert hint in error.value.expected


@pytest.mark.parametrize(
    "fields, key, hint",
    [
        ([], "layout", "a mapping"),
        ("gla", "layout", "a mapping"),
        (None, "layout", "a mapping"),
        ({}, "layers", "a list of block names"),
        ({"layers": []}, "layers", "a list of block names"),
        ({"layers": "gla"}, "layers", "a list of block names"),
        ({"layers": ["gla", "atention"]}, "layers[1]", "did you mean 'attention'?"),
        ({"layers": ["lokal"], "blocks": {"local": {"mixer": "gla"}}}, "layers[0]", "did you mean 'local'?"),
        ({"layers": [3]}, "layers[0]", "one of"),
        ({"layers": [["gla"]]}, "layers[0]", "one of"),
        ({"layers": ["nowhere:Mixer"]}, "layers[0]", "importable"),
        ({"layer": ["gla"]}, "layer", "did you mean 'layers'?"),
        ({"layers": ["a"], "blocks": ["a"]}, "blocks", "a mapping"),
        ({"layers": ["a"], "blocks": {"a": "gla"}}, "blocks.a", "a mapping with a mixer"),
        ({"layers": ["a"], "blocks": {"a": {"heads": 2}}}, "blocks.a", "a mapping with a mixer"),
        ({"layers": ["a"], "blocks": {"a": {"mixer": "glaa"}}}, "blocks.a.mixer", "did you mean 'gla'?"),
        ({"layers": ["a"], "blocks": {"a": {"mixer": "gla", "heads": {}}}}, "blocks.a.gla.heads", "a number"),
        ({"layers": ["a"], "blocks": {"a": {"mixer": "none", "mlp": "none"}}}, "blocks.a.block", "or both"),
        ({"layers": ["a"], "blocks": {"a": {"mixer": "none", "heads": 2}}}, "blocks.a.heads", "no options"),
        ({"layers": ["a"], "blocks": {"a": {"mixer": "gla", "mlp": "swiglo"}}}, "blocks.a.mlp", "did you mean"),
        ({"layers": ["a"], "blocks": {"a": {"mixer": "gla", "mlp": 3}}}, "blocks.a.mlp", "channel mixer"),
        ({"layers": ["gla/mlp"]}, "layers[0]", "one of geglu, glu"),
    ],
)
def test_mistakes_name_the_key(fields, key, hint):
    with pytest.raises(InputError) as error:
        Layout.from_dict(fields)
    assert error.value.key == key
    assert hint in error.value.expected


def test_text_that_is_not_yaml():
    with pytest.raises(InputError, match="expected YAML"):
        Layout.from_yaml("layers: [gla")


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00", b"layers: [glaa]"], ids=["missing", "binary", "wrong"])
def test_files_that_hold_no_layout(tmp_path, content):
    path = tmp_path / "layout.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"layout\.yaml") as error:
        Layout.load(path)
    assert "\n" not in str(error.value)


def test_a_folder_is_no_layout(tmp_path):
    with pytest.raises(InputError, match="a file, not a folder"):
        Layout.load(tmp_path)


def test_a_file(tmp_path):
    (tmp_path / "layout.yaml").write_text(WINDOWS.to_yaml())
    assert Layout.load(tmp_path / "layout.yaml") == WINDOWS


def test_a_hash_stays_in_its_process():
    """Texts have another hash in every process."""
    layout = Layout.parse("(gla attention)*2")
    assert hash(layout) == hash(Layout.parse("(gla attention)*2"))
    copy = pickle.loads(pickle.dumps(layout))
    assert copy == layout and "_hash" not in {*vars(copy), *vars(copy.layers[0])}
