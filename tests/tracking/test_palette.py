from search_space.mixers import MIXERS
from tracking.picture.palette import FAINT, HUES, INK, NO_MIXER, mixer_colours, shade


def test_a_mixer_has_one_colour_whatever_stands_beside_it():
    everything = mixer_colours(MIXERS.names())
    assert len(set(everything.values())) == len(everything)
    assert not {INK, FAINT, NO_MIXER} & set(everything.values())
    for name in MIXERS.names():
        assert mixer_colours([name, "attention"])[name] == everything[name]


def test_a_family_has_one_hue():
    assert mixer_colours(["gla", "kda", "attention"])["attention"] == HUES["attention"]
    assert mixer_colours(["sliding_window"])["sliding_window"] == HUES["window"]


def test_layers_that_differ_in_options_alone_are_shades_in_natural_order():
    names = [f"sliding_window(window={n})" for n in (10, 2, 1)]
    found = mixer_colours(names)
    assert list(found) == names[::-1]
    assert found["sliding_window(window=1)"] == HUES["window"] and len(set(found.values())) == 3


def test_layers_without_a_mixer_are_grey_and_foreign_ones_have_a_colour():
    found = mixer_colours(["none/swiglu", "no_such_mixer", "gla/none"])
    assert found["none/swiglu"] == NO_MIXER and found["no_such_mixer"].startswith("#")


def test_shades():
    assert shade("#102030", 0) == "#102030" and shade("#102030", 1) == "#ffffff" and shade("#102030", -1) == "#000000"
