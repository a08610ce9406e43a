"""Commands that open pages of MLflow: ui."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nas.cli.group import main, say, terminable, trust_option
from nas.results.summary import CONFIG
from search_space.errors import InputError, line

if TYPE_CHECKING:
    import nas


@main.command()
@click.argument("folders", nargs=-1, required=True, metavar="DIR...", type=click.Path(path_type=Path))
@click.option("--port", type=click.IntRange(1, 65535), help="A free one by default.")
@click.option("--browser/--no-browser", default=True, show_default=True, help="Whether to open the page.")
@trust_option
def ui(folders: tuple[Path, ...], port: int | None, browser: bool, trust: bool) -> None:
    """MLflow's pages, opened on the charts of a search; of several searches, or of all in a folder, on one chart."""
    from tracking.store import Store
    from tracking.ui import Shown, launch_ui

    searches = _searches(folders, trust)
    tracking = searches[0].config.tracking
    alone = len(searches) == 1 and tracking.enabled and Store.locate(searches[0].path, tracking.uri).exists
    with terminable():
        if alone:
            launch_ui(Shown.search(searches[0].path, tracking.uri, tracking.experiment), port, browser)
        else:
            from nas.report.gathered import gathered
            from nas.results.folder import short_names

            names = short_names([each.path.resolve() for each in searches])
            found = {
                name: (each.trials, each.folder.read(), each.config) for name, each in zip(names, searches, strict=True)
            }
            with gathered(found, on_search=lambda name: say(f"sending {line(name)} to MLflow ...")) as shown:
                launch_ui(shown, port, browser)


def _searches(folders: Sequence[Path], trust: bool) -> list["nas.Search"]:
    """Those in the folders, or in the folders of them; of the latter those that cannot be read are left out."""
    import nas

    found: dict[Path, nas.Search] = {}
    for folder in folders:
        many = os.path.isdir(folder) and not os.path.lexists(folder / CONFIG)
        inside = sorted(each.parent for each in folder.glob(f"*/{CONFIG}")) if many else []
        for each in inside:
            try:
                found[each.resolve()] = nas.open(each, trust=trust)
            except InputError as error:
                say(f"{line(each)} is left out: {error}")
        if not inside:
            found[folder.resolve()] = nas.open(folder, trust=trust)
    if not found:
        raise InputError("DIR", ", ".join(map(str, folders)), "a folder with searches that can be read")
    return list(found.values())
