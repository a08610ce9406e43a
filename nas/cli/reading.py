"""Commands that read what a search found: status, front, export."""

from dataclasses import replace
from pathlib import Path

import click

from nas.cli.group import folder_argument, main, overrides_argument, trust_option
from nas.cli.terminal import show
from nas.results.summary import FORMS, Summary
from search_space.errors import InputError


@main.command()
@folder_argument
@trust_option
def status(folder: Path, trust: bool) -> None:
    """Trials by state, what runs and since when, budget spent, and the front so far."""
    import nas
    from nas.results.running import is_running, read_running, running_table
    from nas.results.summary import read_summary

    now = read_summary(folder) or nas.open(folder, trust=trust).summary()
    budget = ((now.seconds, "s"), (now.most_trials, "trials"))
    limit = ", ".join(f"{most:g} {unit}" for most, unit in budget if most is not None)
    states = ", ".join(f"{count} {state}" for state, count in now.states.items())
    click.echo(f"{folder}: {'running' if is_running(folder) else 'not running'}")
    click.echo(f"{sum(now.states.values())} trials ({states}), {now.runs} runs")
    if now.lost:
        click.echo(f"{now.lost} runs were lost with the place where they ran, and tried again")
    click.echo(f"{now.elapsed:.0f} s spent; budget: {limit}")
    if jobs := read_running(folder):
        show(running_table(jobs, now.table.colours))
    show(now.table)


@main.command()
@folder_argument
@click.option("--format", "form", type=click.Choice(FORMS), default="table", show_default=True)
@trust_option
@overrides_argument
def front(folder: Path, form: str, trust: bool, overrides: tuple[str, ...]) -> None:
    """The front, with published layouts beside it; for another use with target.batch=1 target.context=4096."""
    import nas
    from nas.results.summary import AUDIT, read_summary

    summary = None if overrides else read_summary(folder)
    if summary is not None and not ((folder / AUDIT).exists() and form == "table"):
        _show(summary, form)
        return
    from nas.study.audit import line

    opened = nas.open(folder, overrides, trust=trust)
    found = opened.summary()
    audit = opened.audited() if form == "table" else None
    _show(found if audit is None else replace(found, table=found.table.noting(line(audit))), form)


def _show(found: Summary, form: str) -> None:
    if form == "table":
        show(found.table)
    else:
        click.echo(found.front[form], nl=False)


@main.command()
@folder_argument
@click.option(
    "--pick",
    default="knee",
    show_default=True,
    help="best, knee (the best trade), 'recall>=0.87', 'decode_ms<=1.2', a trial number, or all (the front).",
)
@click.option("--format", "form", default="yaml", show_default=True, help="Name in the catalogue of exporters.")
@click.option("--layers", type=int, help="Depth; that of the target by default.")
@click.option("--width", type=int, help="Width; that of the target by default.")
@click.option("--resize", help="How a layout comes to another depth: auto, pattern (repeat it) or stretch.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File, or folder for several; written over.")
@trust_option
@overrides_argument
def export(
    folder: Path, pick: str, form: str, layers: int | None, width: int | None, resize: str | None,
    output: Path | None, trust: bool, overrides: tuple[str, ...],
) -> None:  # fmt: skip
    """Layouts as configs; picked for another use with target.batch=1 target.context=4096."""
    import nas
    from nas.results.exporters import find_exporter

    if output is None and not find_exporter(form).suffix:
        raise InputError("-o", "nothing", f"a folder for the files of the format {form}")
    opened = nas.open(folder, overrides, trust=trust)
    texts = opened.export(pick, form, layers=layers, width=width, resize=resize, output=output)
    if output is None:
        click.echo("---\n".join(texts.values()), nl=False)


@main.command()
@folder_argument
@trust_option
def clean(folder: Path, trust: bool) -> None:
    """Removes the weights that a search kept (search.keep_weights); what was found stays."""
    import nas

    freed = nas.open(folder, trust=trust).clean()
    click.echo(f"{freed / 1e6:.3g} MB freed: weights in {folder}")
