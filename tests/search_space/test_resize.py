import random
from collections import Counter

import pytest

from search_space.layouts.block import Block
from search_space.layouts.layout import Layout
from search_space.layouts.resize import RULES, keeps_shares, pattern, resize, resize_note, scaled_counts

MIXERS = {"A": "attention", "G": "gla", "H": "hgrn", "R": "retnet"}


def layout(letters):
    return Layout(tuple(Block(MIXERS[letter]) for letter in letters))


def letters(layout):
    return "".join({mixer: letter for letter, mixer in MIXERS.items()}[b.mixer.kind] for b in layout.layers)


RANDOM = [
    "".join(random.Random(seed).choices("AGHR", [1, 3, 2, 1], k=length))
    for seed, length in enumerate([1, 2, 3, 5, 6, 6, 7, 8, 11, 12, 24, 24])
]

STRETCHED = [original for original in RANDOM if pattern(layout(original), len(original)) is None]


@pytest.mark.parametrize("original", RANDOM)
def test_same_depth_is_the_same_layout(original):
    assert resize(layout(original), len(original)) == layout(original)


@pytest.mark.parametrize("factor", [2, 4, 5])
@pytest.mark.parametrize("original", STRETCHED)
def test_a_multiple_repeats_every_layer_and_back(original, factor):
    stretched = resize(layout(original), factor * len(original))
    assert letters(stretched) == "".join(letter * factor for letter in original)
    assert letters(resize(stretched, len(original))) == original


@pytest.mark.parametrize("original", RANDOM)
def test_any_depth_has_so_many_layers_and_keeps_the_shares(original):
    counts = Counter(original)
    for depth in range(1, 50):
        resized = letters(resize(layout(original), depth))
        assert len(resized) == depth
        if depth < len(counts):
            continue
        assert set(resized) == set(original)
        if all(count * depth >= len(original) for count in counts.values()):
            for letter, count in counts.items():
                assert abs(resized.count(letter) - count * depth / len(original)) < 1


@pytest.mark.parametrize("original", STRETCHED)
def test_stretching_keeps_the_first_and_the_last_layer(original):
    for depth in range(len(original), 50):
        resized = letters(resize(layout(original), depth))
        assert (resized[0], resized[-1]) == (original[0], original[-1])


@pytest.mark.parametrize(
    "original, depth, expected",
    [
        ("G" * 23 + "A", 6, "GGGGGA"),
        ("A" + "G" * 23, 6, "AGGGGG"),
        ("G" * 11 + "A" + "G" * 12, 6, "GGAGGG"),
        ("GGGGGA" * 4, 4, "GGAG"),
        ("AGGGGG", 8, "AGGGGGGG"),
        ("GA", 3, "GAA"),
        ("AG", 3, "AAG"),
        ("GGHHA", 2, "GH"),
    ],
)
def test_examples(original, depth, expected):
    assert letters(resize(layout(original), depth)) == expected


@pytest.mark.parametrize("place", range(24))
def test_a_single_layer_stays_single_and_near_its_depth(place):
    original = "G" * place + "A" + "G" * (23 - place)
    for depth in (4, 6, 8, 12, 30):
        resized = letters(resize(layout(original), depth))
        assert resized.count("A") == 1
        assert abs((resized.index("A") + 0.5) / depth - (place + 0.5) / 24) <= 1 / depth


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("original", [*RANDOM, "GGA" * 4, "GGGA" * 3 + "GG", "GAHGAHGA"])
def test_counts_are_those_of_the_resized_layout(original, rule):
    for depth in range(1, 50):
        assert scaled_counts(layout(original), depth, rule) == Counter(resize(layout(original), depth, rule).layers)


@pytest.mark.parametrize(
    ("original", "depth", "rule", "expected", "said"),
    [
        ("GGGA" * 6, 48, "auto", "GGGA" * 12, "48 layers from 24: a pattern of 4 layers, repeated"),
        ("GGGA" * 6, 48, "stretch", "GGGGGGAA" * 6, "48 layers from 24: stretched"),
        ("GGGA", 12, "auto", "GGGGGGGGGAAA", "12 layers from 4: stretched"),
        ("GGGA", 12, "pattern", "GGGA" * 3, "12 layers from 4: a pattern of 4 layers, repeated"),
        ("GGGA", 6, "pattern", "GGGAGG", "6 layers from 4: a pattern of 4 layers, repeated and cut"),
        ("GAGA", 6, "pattern", "GAGAGA", "a pattern of 2 layers, repeated"),
        ("GHRA", 2, "pattern", "GH", "repeated and cut"),
        ("GHRA", 4, "stretch", "GHRA", "4 layers, as it was found"),
    ],
)
def test_the_rule_can_be_asked_for_and_says_what_it_did(original, depth, rule, expected, said):
    assert letters(resize(layout(original), depth, rule)) == expected
    assert said in resize_note(layout(original), depth, rule)


@pytest.mark.parametrize(
    ("original", "depth", "expected"),
    [
        ("GGGA" * 12, 24, "GGGA" * 6),
        ("GGGA" * 6, 48, "GGGA" * 12),
        ("GGGA" * 12, 8, "GGGA" * 2),
        ("GGGA" * 12, 11, "GGGAGGGAGGG"),
        ("GGGGGA" * 4, 6, "GGGAGG"),  # once is no pattern: mid-stack
        ("GGGA" * 6 + "GG", 13, "GGGAGGGAGGGAG"),
        ("GA", 6, "GGGAAA"),  # once is no pattern
        ("GAGA", 5, "GAGAG"),
    ],
)
def test_a_pattern_is_repeated(original, depth, expected):
    assert letters(resize(layout(original), depth)) == expected


def test_rare_kinds_keep_one_layer_at_the_cost_of_the_frequent_one():
    counts = scaled_counts(layout("G" * 7 + "A" + "G" * 7 + "H" + "G" * 7 + "R"), 6)
    assert list(counts.values()).count(1) == 3
    assert counts[Block("gla")] == 3


@pytest.mark.parametrize(
    ("original", "layers", "kept"),
    [
        ("GGGA" * 6, 6, True),  # 1.5 layers become 2
        ("GGGGGA" * 4, 6, True),
        ("GGGGGGGGGGGA" * 2, 6, False),  # half a layer becomes one
        ("G" * 23 + "A", 6, False),
        ("G" * 23 + "A", 24, True),
        ("AGHR", 2, False),
        ("A" * 24, 1, True),
    ],
)
def test_a_layout_is_itself_while_its_shares_are_about_the_same(original, layers, kept):
    assert keeps_shares(layout(original), layers) == kept
