"""Commands that make of finished searches what others look at: compare."""

import os
from pathlib import Path

import click

from nas.cli.group import main, say, trust_option
from nas.results.summary import FORMS


@main.command()
@click.argument("arguments", nargs=-1, metavar="DIR DIR ... [KEY=VALUE]...")
@click.option("--format", "form", type=click.Choice(FORMS), default="table", show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Also a picture (SVG); written over.")
@trust_option
def compare(arguments: tuple[str, ...], form: str, output: Path | None, trust: bool) -> None:
    """Several searches on one front: what each adds, who found which layout, and whether they may be compared."""
    import nas

    folders = [each for each in arguments if "=" not in each or os.path.lexists(each)]
    overrides = [each for each in arguments if each not in folders]
    found = nas.compare(*folders, overrides=overrides, trust=trust)
    if output is not None:
        found.draw(output)
        say(str(output))
    click.echo({"table": found.to_table, "json": found.to_json, "csv": found.to_csv}[form](), nl=False)
