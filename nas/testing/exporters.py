"""The contract of an exporter, for users' own as well.

from nas.testing import ExporterContract

class TestMine(ExporterContract):
    exporter = "my_package.formats:Mine"
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import PurePath

import pytest

from nas.results.exporters import SUFFIX, Exporter, find_exporter
from search_space.cost.target import Target
from search_space.errors import InputError
from search_space.layouts.block import Block
from search_space.layouts.layout import Layout
from search_space.parts.part import Part

TARGET = Target(layers=6, width=512, heads=8, kv_heads=8, mlp_width=1408)
LAYOUTS = {
    "attention": Layout((Block(Part("attention")),) * 6),
    "one other layer": Layout((*(Block(Part("gla")),) * 5, Block(Part("attention")))),
    "another order": Layout((Block(Part("attention")), *(Block(Part("gla")),) * 5)),
    "linear": Layout((Block(Part("gated_deltanet")),) * 6),
}


class ExporterContract:
    """Inherit it, and let `exporter` be a name in the catalogue or a dotted path.

    A layout that the format cannot hold may be refused with an InputError; what it takes has to stand in the text, or
    in the texts of a folder's files.
    """

    exporter: str
    layouts: Mapping[str, Layout] = {}
    """More layouts to try, for a format that holds none of `LAYOUTS`."""

    @pytest.fixture
    def export(self) -> Exporter:
        """The exporter, found as the command line finds it."""
        return find_exporter(self.exporter)

    def texts(self, export: Exporter, target: Target = TARGET) -> dict[str, str | Mapping[str, str]]:
        """Name of a layout -> text or texts, for the layouts that the format can hold."""
        found = {}
        for name, layout in {**LAYOUTS, **self.layouts}.items():
            try:
                found[name] = export(layout, target)
            except InputError:
                continue
        return found

    def test_its_suffix_ends_the_name_of_a_file(self, export: Exporter) -> None:
        """Letters, digits and single dots: no path, no dot in front. A folder has none, and its files stay within."""
        assert SUFFIX.fullmatch(export.suffix)
        for made in self.texts(export).values():
            assert isinstance(made, str) == bool(export.suffix)
            for name in [f"trial_0.{export.suffix}"] if isinstance(made, str) else made:
                assert not PurePath(name).is_absolute() and ".." not in PurePath(name).parts

    def test_it_holds_something(self, export: Exporter) -> None:
        """A format that takes no layout at all is none."""
        texts = self.texts(export).values()
        assert texts
        for made in texts:
            each = [made] if isinstance(made, str) else list(made.values())
            assert each and all(isinstance(text, str) and text.endswith("\n") for text in each)

    def test_the_same_layout_gives_the_same_text(self, export: Exporter) -> None:
        """No dates, no order by chance."""
        assert self.texts(export) == self.texts(export)

    def test_other_layouts_give_other_texts(self, export: Exporter) -> None:
        """In what a reader of the file sees: comments do not count."""
        texts = [content(text) for text in self.texts(export).values()]
        assert len(set(texts)) == len(texts)

    def test_a_layout_of_another_depth_is_resized(self, export: Exporter) -> None:
        """The depth is that of the target."""
        short, long = (Layout((Block(Part("attention")),) * depth) for depth in (2, 6))
        try:
            assert content(export(short, TARGET)) == content(export(long, TARGET))
        except InputError:
            pytest.skip("the format cannot hold attention alone")

    @pytest.mark.parametrize("size", ["layers", "width", "mlp_width"])
    def test_the_sizes_of_the_target_count(self, export: Exporter, size: str) -> None:
        """In what a reader of the file sees, as above."""
        larger = self.texts(export, replace(TARGET, **{size: 2 * getattr(TARGET, size)}))
        for name, text in self.texts(export).items():
            assert content(text) != content(larger.get(name, ""))


def content(made: str | Mapping[str, str]) -> str:
    """The text without comments: lines that are so in most formats, and the key `nas` of a JSON object.

    Of a folder it is that of all files but the README.
    """
    if not isinstance(made, str):
        return "\n".join(content(text) for name, text in sorted(made.items()) if name != "README.md")
    with suppress(ValueError):
        fields = json.loads(made)
        return json.dumps({k: v for k, v in fields.items() if k != "nas"}) if isinstance(fields, dict) else made
    return "\n".join(line for line in made.splitlines() if not line.lstrip().startswith(("#", "//")))
