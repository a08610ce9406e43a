"""The service and its clients: serve, token, submit, ls, watch, fetch."""

import sys
import time
from pathlib import Path

import click

from nas.cli.group import config_option, fail, main, overrides_argument

settings_option = click.option(
    "--settings", type=click.Path(path_type=Path), help="YAML file of the service; see docs/service.md."
)
server_option = click.option(
    "--server", envvar="NAS_SERVER", help="URL of the service; by default NAS_SERVER, or else this machine's."
)


@main.command()
@settings_option
@overrides_argument
def serve(settings: Path | None, overrides: tuple[str, ...]) -> None:
    """Serves searches to a team; KEYs are those of docs/service.md, such as port=8642."""
    from nas.service.app import serve as run
    from nas.service.house import House
    from nas.service.settings import load_settings

    house = House(load_settings(settings, overrides))
    url = f"http://{house.settings.host}:{house.settings.port}"
    print(f"{url}: searches in {house.folders.root}; Ctrl-C ends the server, not the searches", file=sys.stderr)
    run(house)


@main.command()
@click.argument("words", nargs=-1, metavar="[OWNER] [KEY=VALUE]...")
@click.option("--scope", default="submit", show_default=True, help="read, submit or admin.")
@click.option("--days", type=float, help="After which it ends; never by default.")
@click.option("--list", "listed", is_flag=True, help="Shows the tokens that there are.")
@click.option("--revoke", metavar="ID", help="Ends a token.")
@settings_option
def token(
    words: tuple[str, ...], scope: str, days: float | None, listed: bool, revoke: str | None, settings: Path | None
) -> None:
    """Makes a token for OWNER, and prints it this once. Run it where the service runs."""
    from nas.service.database import Database
    from nas.service.settings import load_settings
    from nas.service.tokens import make_token, revoke_token, tokens
    from search_space.errors import InputError

    owners = [word for word in words if "=" not in word]
    found = load_settings(settings, [word for word in words if "=" in word])
    if len(owners) + listed + bool(revoke) != 1:
        raise InputError("OWNER", " ".join(owners) or "nothing", "the name of a user, --list, or --revoke ID")
    database = Database(found.database_url, found.root).open()
    if revoke:
        revoke_token(database, revoke)
    elif listed:
        for each in tokens(database):
            ends = "never" if each.expires is None else time.strftime("%Y-%m-%d", time.gmtime(each.expires))
            click.echo(f"{each.id}  {each.owner}  {each.scope}  ends {ends}")
    else:
        click.echo(make_token(database, owners[0], scope, days))


@main.command()
@config_option
@server_option
@click.option("--name", help="Of the search.")
@click.option("--priority", default=0, show_default=True, type=click.IntRange(-10, 10), help="Higher is earlier.")
@click.option("--key", help="Of your own making: asked twice with the same, there is one search.")
@overrides_argument
def submit(
    source: str, server: str | None, name: str | None, priority: int, key: str | None, overrides: tuple[str, ...]
) -> None:
    """Puts a search into the queue of the service; prints its identity."""
    import nas

    found = nas.Client(server).submit(source, overrides, name=name, priority=priority, key=key)
    click.echo(found.identity)


@main.command()
@server_option
@click.option("--state", "states", multiple=True, help="queued, running, paused, stopped, complete or failed.")
@click.option("--name", help="Part of the name.")
def ls(server: str | None, states: tuple[str, ...], name: str | None) -> None:
    """Lists your searches, the newest first."""
    import nas

    for each in nas.Client(server).searches(states, name):
        now = each["progress"] or {"trials": 0, "on_front": 0}
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(each["created"]))
        counts = f"{now['trials']} trials, front {now['on_front']}"
        click.echo(f"{each['id']}  {each['state']:8}  {since}  {each['owner']}  {each['name']}  {counts}")


@main.command()
@click.argument("identity", metavar="ID")
@server_option
def watch(identity: str, server: str | None) -> None:
    """Follows a search to its end."""
    import nas
    from nas.cli.bar import search_bar

    found = nas.Client(server).open(identity)
    with search_bar() as bar:
        state = found.wait(bar)
    click.echo(state)
    if state == "failed":
        fail(f"{identity}: {found.status()['error']}", code=1)


@main.command()
@click.argument("identity", metavar="ID")
@server_option
@click.option("--front", "form", type=click.Choice(["table", "json", "csv"]), help="The front in place of a layout.")
@click.option(
    "--pick", default="knee", show_default=True, help="knee (best trade), all (the front), or a trial number."
)
@click.option("--format", "format", default="yaml", show_default=True, help="Name in the catalogue of exporters.")
@click.option("--report", is_flag=True, help="The page of nas report in place of a layout.")
@click.option("--layers", type=int, help="Depth; that of the target by default.")
@click.option("--width", type=int, help="Width; that of the target by default.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File, or folder for several; written over.")
@overrides_argument
def fetch(
    identity: str, server: str | None, form: str | None, pick: str, format: str, report: bool, layers: int | None,
    width: int | None, output: Path | None, overrides: tuple[str, ...],
) -> None:  # fmt: skip
    """What a search of the service found: layouts as `nas export` gives them, its front, or its report."""
    import nas
    from nas.results.export import write_one
    from search_space.errors import InputError

    found = nas.Client(server).open(identity, overrides)
    if form is not None and report:
        raise InputError("--report", form, "either --front or --report")
    if form is not None or report:
        text = found.report() if form is None else found.written(form)
        if output is not None:
            write_one(text, output)
    else:
        texts = found.export(pick, format, layers=layers, width=width, output=output)
        text = "---\n".join(texts.values())
    if output is None:
        click.echo(text, nl=False)
