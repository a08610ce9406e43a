"""The code of docs/adding-a-mixer.md: its mixer passes its contract, and is used as the page says."""

import re
import shlex
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from click.testing import CliRunner

import nas
from nas.cli import main
from nas.search.setup import check
from search_space.parts.base import Scaling
from search_space.parts.families import FAMILIES
from search_space.parts.part import Part
from tests.conftest import TINY

PAGE = (Path(__file__).parents[2] / "docs" / "adding-a-mixer.md").read_text()
MIXER, CONTRACT = re.findall(r"```python\n(.*?)```", PAGE, re.S)
COMMANDS = [shlex.split(line) for line in re.findall(r"^nas .*", PAGE, re.M)]

FOLDER = TemporaryDirectory()  # on the path until the tests end: workers of their own look there too
(Path(FOLDER.name) / "my_mixers.py").write_text(MIXER)
sys.path.append(FOLDER.name)

found: dict = {"__name__": __name__}
exec(CONTRACT, found)
TestMinGRU = found["TestMinGRU"]


def test_its_size_in_the_proxy_follows_from_the_rule():
    config = nas.load("laptop")
    scaled = config.scale.scaled(Part("my_mixers:MinGRU", {"state_size": 4096}))
    assert (scaled.target.state_elements, scaled.proxy.state_elements) == (4096, 64)


def test_it_trains(tmp_path):
    config = nas.load("smoke", TINY)
    scored = nas.evaluate("my_mixers:MinGRU*3 attention", config)
    assert scored.runs[0].status == "complete" and scored.cost.state_bytes > 0


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_of_the_page(command):
    if command[1] == "search":
        space = check(nas.load("laptop", command[2:]))
        assert any(block.mixer.kind == "my_mixers:MinGRU" for block in space.blocks.values())
    else:
        text = CliRunner().invoke(main, command[1:]).stdout
        assert "2410.01201" in text and "triton" in text and "family:  vector" in text


def test_the_page_names_all_families_and_rules():
    assert all(f"`{family}`" in PAGE for family in FAMILIES)
    of_channel_mixers = {"MLP_RATIO", "EXPERTS", "EXPERTS_USED", "EXPERT_RATIO"}
    assert {name for name in Scaling.__members__ if f"`{name}`" not in PAGE} == of_channel_mixers
