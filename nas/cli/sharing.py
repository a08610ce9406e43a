"""Commands that make of finished searches what others look at: compare, report, export-study."""

import os
from pathlib import Path

import click

from nas.cli.group import folder_argument, main, overrides_argument, say, trust_option
from nas.cli.terminal import show
from nas.results.summary import FORMS
from search_space.errors import InputError


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
    if form == "table":
        show(*found.tables())
    else:
        click.echo(found.to_json() if form == "json" else found.to_csv(), nl=False)


@main.command()
@folder_argument
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File; report.html in the folder by default.")
@trust_option
@overrides_argument
def report(folder: Path, output: Path | None, trust: bool, overrides: tuple[str, ...]) -> None:
    """Writes one page that works offline: front, layouts, effects, curves; for another use with target.batch=1."""
    import nas

    opened = nas.open(folder, overrides, trust=trust)
    place = opened.folder.report if output is None else output
    if output is None and place.is_symlink():  # a folder that was handed on says not what is written over
        raise InputError("-o", place, "a file of the folder's own; name another with -o")
    opened.report(place)
    click.echo(str(place))


@main.command("export-study")
@folder_argument
@click.argument("url", metavar="URL")
@click.option("--name", help="Of the study; that of the folder by default.")
@trust_option
@overrides_argument
def export_study(folder: Path, url: str, name: str | None, trust: bool, overrides: tuple[str, ...]) -> None:
    """Writes the search as a study into a storage of Optuna, such as sqlite:///study.db, for Optuna's own tools."""
    import nas

    study = nas.open(folder, overrides, trust=trust).export_study(url, name)
    click.echo(study.study_name)
    say(f"optuna-dashboard {url.partition('?')[0]}" if "@" not in url else "optuna-dashboard opens it")
