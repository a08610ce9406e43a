"""Commands that train: search, resume, evaluate, audit."""

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path

import click

from nas.cli.group import config_option, fail, folder_argument, main, overrides_argument, say, terminable, trust_option
from nas.cli.terminal import show
from nas.results.table import Row, Table
from search_space.errors import InputError


@main.command()
@config_option
@click.option("--out", type=click.Path(path_type=Path), help="New folder of the search; by default one under runs/.")
@click.option("--dry-run", is_flag=True, help="Only say what it would take, by a few steps of training.")
@overrides_argument
def search(source: str, out: Path | None, dry_run: bool, overrides: tuple[str, ...]) -> None:
    """Runs a search; presets: laptop, gpu, smoke. Every KEY is in docs/configuration.md."""
    import nas
    from nas.cli.bar import search_bar

    config = nas.load(source, overrides)
    if dry_run:
        _tell(config)
        return
    with terminable(), redirect_stdout(sys.stderr), search_bar(config) as bar:  # Ray and mixers may print
        found = nas.search(config, out=out, on_progress=bar)
    _show(found)


def _tell(config) -> None:
    import nas

    try:
        found = nas.dry_run(config)
    except RuntimeError as error:
        fail(str(error).strip().splitlines()[-1], code=1)
    slots = "as many at once as the cluster has room for" if found.slots is None else f"{found.slots} at once"
    runs = "no limit" if found.runs is None else f"about {found.runs} fit the budget"
    total = "" if found.runs is None else f", {found.runs * found.disk_bytes / 1e6:.3g} MB in all"
    size = f"{found.layouts:,}" if found.layouts < 10**12 else f"{found.layouts:.2e}"
    rows = {
        "space": f"{size} layouts, {found.blocks} blocks; {found.published} published layouts are tried first",
        "a run": f"{found.seconds_a_run:.3g} s, {slots}",
        "runs": f"{runs} (a seed of a layout each)",
        "memory": f"{found.memory_bytes / 2**20:,.0f} MiB a worker",
        "disk": f"{found.disk_bytes / 1e3:.3g} kB a run{total}; MLflow takes more",
    }
    show(Table(rows=tuple(Row(cells=(name,), text=text) for name, text in rows.items()), words=(0,)))


@main.command()
@folder_argument
@trust_option
@overrides_argument
def resume(folder: Path, trust: bool, overrides: tuple[str, ...]) -> None:
    """Goes on with a search after any stop; a larger budget (search.seconds=...) prolongs it."""
    import nas
    from nas.cli.bar import search_bar

    opened = nas.open(folder, trust=trust)
    with terminable(), redirect_stdout(sys.stderr), search_bar(opened.config) as bar:
        found = opened.resume(overrides, on_progress=bar)
    _show(found)


def _show(found) -> None:
    from nas.results.front_table import front_table

    trials, folder = found.trials, found.folder
    show(front_table(trials, found.config))
    if not any(t.state == "complete" for t in trials):
        failures = [f for t in trials for f in t.failures] or [r.failure for r in folder.read() if r.failure]
        errors = [failure.error.strip().splitlines()[-1] for failure in failures]
        diverged = sum(t.state == "diverged" for t in trials)
        why = f"the first error: {errors[0]}" if errors else f"{diverged} of {len(trials)} layouts diverged"
        fail(f"nothing was found in {folder.path}; {why}", code=1)
    hint = f"front: {folder.front_figure}; layouts: {folder.layouts}; pages: nas ui {folder.path}"
    say(hint)


@main.command()
@click.argument("layout")
@config_option
@click.option("--seeds", default=1, show_default=True, type=click.IntRange(1), help="Seeds to train with.")
@overrides_argument
def evaluate(layout: str, source: str, seeds: int, overrides: tuple[str, ...]) -> None:
    """Trains and scores a layout (given as to `nas cost`), in this process and without Ray; prints JSON."""
    import nas
    from nas.cli.layouts import load_with

    read, config = load_with(layout, source, overrides)
    try:
        found = nas.evaluate(read, config, seeds)
    except RuntimeError as error:
        fail(f"{layout}: {str(error).strip().splitlines()[-1]}", code=1)
    click.echo(json.dumps(found.to_dict(), indent=2))


@main.command()
@folder_argument
@click.option("--layouts", default=24, show_default=True, type=click.IntRange(4), help="Layouts to train again.")
@click.option("--seeds", default=2, show_default=True, type=click.IntRange(1), help="Fresh seeds of each.")
@click.option("--longer", type=click.FloatRange(0.1), help="Length of a run, in the search's; 2 without --config.")
@click.option("--config", "source", help="A preset, or a YAML file: train its proxies instead, as it says.")
@trust_option
@overrides_argument
def audit(
    folder: Path, layouts: int, seeds: int, longer: float | None, source: str | None, trust: bool,
    overrides: tuple[str, ...],
) -> None:  # fmt: skip
    """Trains some of a search's layouts again with fresh seeds: do they rank as the search said?

    Longer by themselves, or by the proxies of another configuration, wider or deeper: its KEY=VALUE may follow.
    """
    import nas
    from nas.cli.bar import run_bar
    from nas.study.audit import table

    opened = nas.open(folder, trust=trust)
    if overrides and source is None:
        raise InputError("--config", "", f"a preset or file that {overrides[0]} is a change of")
    other = None if source is None else nas.load(source, overrides)
    with terminable(), redirect_stdout(sys.stderr), run_bar("audit") as bar:
        found = opened.audit(layouts, seeds, longer, bar, other=other)
    show(table(found))
