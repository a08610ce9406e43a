"""The command that compares proxies with published models: fidelity."""

import os
import sys
from contextlib import redirect_stdout
from pathlib import Path

import click

from nas.cli.group import config_option, main, terminable, trust_option
from nas.cli.terminal import show


@main.command()
@click.argument("arguments", nargs=-1, metavar="[STATEMENTS.csv] [KEY=VALUE]...")
@config_option
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the runs; runs/fidelity-NAME by default.")
@click.option("--group", default="all", show_default=True, help="Sources: choose, report or all.")
@click.option("--seeds", default=1, show_default=True, type=click.IntRange(1), help="Seeds of each layout.")
@click.option("--refine", is_flag=True, help="Further seeds only where a statement is within two standard errors.")
@click.option("--report", is_flag=True, help="Train nothing; report what the folder holds.")
@trust_option
def fidelity(
    arguments: tuple[str, ...],
    source: str,
    out: Path | None,
    group: str,
    seeds: int,
    refine: bool,
    report: bool,
    trust: bool,
) -> None:
    """Trains the layouts of published statements: how many are ordered alike, beside baselines that train nothing?

    Statements are those of the package, or of a CSV file. The same command goes on after any stop.
    """
    import nas
    from nas.cli.bar import run_bar
    from nas.study.fidelity.text import to_tables

    statements, overrides = None, list(arguments)
    if overrides and ("=" not in overrides[0] or os.path.lexists(overrides[0])):
        statements = overrides.pop(0)
    config = nas.load(source, overrides)
    with terminable(), redirect_stdout(sys.stderr), run_bar("fidelity") as bar:
        found = nas.fidelity(
            statements, config, out=out, group=group, seeds=seeds, refine=refine, train=not report, trust=trust,
            on_progress=bar,
        )  # fmt: skip
    show(*to_tables(found))
    folder = out or Path("runs") / f"fidelity-{config.name}"
    print(f"{folder / 'report.md'}, report.json, fidelity.svg", file=sys.stderr)
