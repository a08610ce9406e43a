"""What the pages say is so: commands parse, links lead somewhere, code runs, generated pages are those of today."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import nas
from nas.cli import main, reference
from nas.config.loading import as_overrides
from tests.docs.notebook import executed
from tests.docs.transcript import BLOCK, commands, remade

ROOT = Path(__file__).parents[2]
PAGES = {str(page.relative_to(ROOT)): page.read_text() for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]}
FENCE = re.compile(r"^```(?:console)?\n(.*?)^```$", re.M | re.S)
SEARCHING = ("search", "submit")


def commands_of(text):
    """The `nas` commands in the fenced blocks of a page."""
    lines = [line.removeprefix("$ ") for block in FENCE.findall(text) for line in block.splitlines()]
    parts = [part.strip() for line in lines if re.match(r"nas \w", line) for part in re.split(r"\s+#\s|;\s+", line)]
    return [part for part in parts if part.startswith("nas ")]


GENERATED = "docs/commands.md"
ALL = sorted({command for page, text in PAGES.items() if page != GENERATED for command in commands_of(text)})


def test_there_are_commands():
    assert len(ALL) > 50


@pytest.mark.parametrize("command", ALL)
def test_a_command_parses(command):
    _, name, *arguments = shlex.split(command)
    assert name in main.commands, command
    context = main.commands[name].make_context(name, arguments)
    overrides = context.params.get("overrides", ())
    if name in SEARCHING and not any("my_" in each or "profile.json" in each for each in overrides):
        source = context.params.get("source") or "laptop"
        nas.load("laptop" if "DIR" in str(source) else source, overrides)
    else:
        as_overrides(overrides)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", PAGES[page]):
        if not target.startswith("http"):
            assert ((ROOT / page).parent / target).exists(), target
    for record in re.findall(r"`(tests/benchmarks/[\w./]+)`", PAGES[page]):
        assert (ROOT / record).exists(), record


def test_the_reference_of_commands_is_that_of_today():
    assert (ROOT / "docs" / "commands.md").read_text() == reference.reference()


def test_the_catalogue_is_that_of_today():
    page = PAGES["docs/catalogue.md"]
    assert remade(page) == page


def test_the_python_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", PAGES["docs/python.md"], re.S):
        exec(block, names)
    assert names["more"].status().states["complete"] == 8
    assert set(re.findall(r"`nas\.(\w+)", PAGES["docs/python.md"])) <= set(nas.__all__)


def test_the_notebook_runs():
    notebook = executed(ROOT / "docs" / "notebook.ipynb")
    assert any("image/png" in output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", ()))


def test_the_tutorial_is_a_transcript():
    blocks = BLOCK.findall(PAGES["docs/tutorial.md"])
    assert sum(len(commands(block)) for block in blocks) >= 8
    assert all(len(block.splitlines()) > len(commands(block)) for block in blocks)  # each printed something


@pytest.mark.skipif("WHOLE" not in os.environ, reason="takes minutes; WHOLE=1 runs it")
def test_the_tutorial_runs():
    page = PAGES["docs/tutorial.md"]
    again = remade(page)
    assert [*map(commands, BLOCK.findall(again))] == [*map(commands, BLOCK.findall(page))]
    assert "step 2: loss" in again


def test_transcripts_keep_commands_and_renew_outputs():
    page = "text\n\n```console\n$ echo one\nold\n$ cat <<END\n> two\n> END\nold\n```\n\nmore\n"
    expected = "text\n\n```console\n$ echo one\none\n$ cat <<END\n> two\n> END\ntwo\n```\n\nmore\n"
    assert remade(page) == expected
    with pytest.raises(RuntimeError, match="false"):
        remade("```console\n$ false\n```\n")


def test_the_site_builds(tmp_path):
    nav = re.findall(r'"([\w-]+\.md)"', (ROOT / "zensical.toml").read_text())
    assert sorted(nav) == sorted(page.name for page in (ROOT / "docs").glob("*.md"))
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "zensical.toml", tmp_path)
    built = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict"], cwd=tmp_path, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stdout + built.stderr
    front = (tmp_path / "site" / "index.html").read_text()
    assert "tutorial.html" in front and not re.search(
        r'(?:src|href)="https?://', front.replace("https://zensical.org", "")
    )
