import pytest

from search_space.errors import InputError
from search_space.layouts.layout import Block, Layout
from tests.search_space.stubs import ECHO

WINDOWS = Layout(
    (
        Block("sliding_window", {"window": 16}),
        Block("gla"),
        Block("sliding_window", {"window": 64}),
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
    assert Block("gla", {"heads": 2, "conv": 4}) == Block("gla", [("conv", 4), ("heads", 2)])


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
    assert layout("gla", "attention").key == "ed1a46d1cedb"


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


def test_options_given_for_a_mixer_or_for_one_of_its_blocks():
    options = {"sliding_window": {"window": 1, "heads": 2}, "sliding_window(window=64)": {"window": 4096}}
    assert WINDOWS.layers[0].updated(options) == Block("sliding_window", {"window": 1, "heads": 2})
    assert WINDOWS.layers[2].updated(options) == Block("sliding_window", {"window": 4096, "heads": 2})
    assert WINDOWS.layers[1].updated(options) == Block("gla")


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
        ({"layers": ["a"], "blocks": {"a": {"mixer": "gla", "heads": {}}}}, "gla.heads", "a number"),
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
    with pytest.raises(InputError, match="a file that can be read"):
        Layout.load(tmp_path)


def test_a_file(tmp_path):
    (tmp_path / "layout.yaml").write_text(WINDOWS.to_yaml())
    assert Layout.load(tmp_path / "layout.yaml") == WINDOWS
