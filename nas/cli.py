"""The command line."""

import json
import logging
import signal
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click

from search_space.errors import InputError, one_of

EPILOG = "Machine-readable output goes to standard output, progress to standard error. Bad input ends with code 2."


class Group(click.Group):
    """Commands that end with one plain line and code 2 on bad input, and with 130 when interrupted."""

    def main(self, args=None, prog_name="nas", **extra):  # type: ignore[override]  # noqa: D102
        try:
            code = super().main(args, prog_name, **{**extra, "standalone_mode": False})
        except InputError as error:
            _fail(str(error))
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message())
            sys.exit(2)
        except click.ClickException as error:
            _fail(" ".join(error.format_message().split()))
        except (KeyboardInterrupt, click.Abort):
            sys.exit(130)
        except BrokenPipeError:
            sys.exit(0)
        sys.exit(code if isinstance(code, int) else 0)

    def resolve_command(self, ctx, args):  # noqa: D102
        if self.get_command(ctx, args[0]) is None:
            raise InputError("command", args[0], one_of(args[0], self.list_commands(ctx)))
        return super().resolve_command(ctx, args)


def _fail(line: str) -> None:
    print(f"nas: {line}", file=sys.stderr)
    sys.exit(2)


@click.group(cls=Group, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="nas")
def main() -> None:
    """Searches for hybrid language models: which token mixer goes in which layer."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stderr)


folder_argument = click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
overrides_argument = click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")


@main.command()
@click.option("--config", "source", default="laptop", show_default=True, help="A preset, or a YAML file.")
@click.option("--out", type=click.Path(path_type=Path), help="New folder of the search; by default one under runs/.")
@overrides_argument
def search(source: str, out: Path | None, overrides: tuple[str, ...]) -> None:
    """Runs a search; presets: laptop, gpu, smoke, study, study_gpu. Every KEY is in docs/configuration.md."""
    from nas.config import load
    from nas.results.folder import Folder

    config = load(source, overrides)
    space = config.check()
    out = out or Path("runs") / f"{time.strftime('%Y%m%d-%H%M%S')}-{config.name}"
    folder = Folder.create(out, config.to_yaml())
    try:
        _run(config, folder, space)
    except InputError:  # from the cluster, which only then is asked for its resources
        folder.discard()
        raise


@main.command()
@folder_argument
@overrides_argument
def resume(folder: Path, overrides: tuple[str, ...]) -> None:
    """Goes on with a search after any stop; a larger budget (search.seconds=...) prolongs it."""
    from nas.config import load
    from nas.results.folder import Folder

    opened = Folder.open(folder)
    source = opened.checked_config()
    # Anything else would make what was found incomparable with what will be.
    _limited(overrides, ("search", "workers", "tracking"), "a key under search, workers or tracking")
    config = load(source, overrides)
    _run(config, opened, config.check())


def _limited(overrides: tuple[str, ...], allowed: tuple[str, ...], expected: str) -> None:
    """Refuses overrides of a finished search other than `allowed` keys and what lies under them."""
    for override in overrides:
        key, _, value = override.partition("=")
        if not f"{key}.".startswith(tuple(f"{name}." for name in allowed)):
            raise InputError(key, value, f"{expected}; others need a new search")


def _run(config, folder, space) -> None:
    from nas import report, service

    with folder.lock(), _terminable():
        folder.write_config(config.to_yaml())  # a search that is resumed may have another budget
        try:
            trials = service.run(config, folder, space)
        except KeyboardInterrupt:
            print(f"\nstopped; `nas resume {folder.path}` goes on", file=sys.stderr)
            raise
    click.echo(report.front_table(trials, config), nl=False)
    hint = f"front: {folder.front_figure}; layouts: {folder.layouts}; pages: nas ui {folder.path}"
    print(hint, file=sys.stderr)


@contextmanager
def _terminable():
    """Makes a request to terminate end the search as Ctrl-C does."""

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@main.command()
@folder_argument
def status(folder: Path) -> None:
    """Trials by state, budget spent, and the front so far."""
    from nas import report

    config, opened, trials = _opened(folder)
    records = opened.read()
    elapsed = records[-1].elapsed if records else 0.0
    states = {s: sum(t.state == s for t in trials) for s in ("complete", "diverged", "failed")}
    budget = ((config.search.seconds, "s"), (config.search.trials, "trials"))
    limit = ", ".join(f"{most:g} {unit}" for most, unit in budget if most is not None)
    click.echo(f"{opened.path}: {'running' if opened.running() else 'not running'}")
    click.echo(f"{len(trials)} trials ({', '.join(f'{n} {s}' for s, n in states.items())}), {len(records)} runs")
    click.echo(f"{elapsed:.0f} s spent; budget: {limit}")
    click.echo(report.front_table(trials, config), nl=False)


@main.command()
@folder_argument
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
@overrides_argument
def front(folder: Path, form: str, overrides: tuple[str, ...]) -> None:
    """The front, with published layouts beside it; for another use with target.batch=1 target.context=4096."""
    from nas import report

    config, opened, trials = _opened(folder, overrides)
    write = {"table": report.front_table, "json": report.front_json, "csv": report.front_csv}[form]
    click.echo(write(trials, config), nl=False)
    if form == "table" and opened.audit.exists():
        from nas import audit

        found = audit.read(config, opened, trials)
        if found:
            click.echo(audit.line(found))


@main.command()
@folder_argument
@click.option("--layouts", default=24, show_default=True, type=click.IntRange(4), help="Layouts to train again.")
@click.option("--seeds", default=2, show_default=True, type=click.IntRange(1), help="Fresh seeds of each.")
@click.option(
    "--longer", default=2.0, show_default=True, type=click.FloatRange(0.1), help="Length of a run, in the search's."
)
def audit(folder: Path, layouts: int, seeds: int, longer: float) -> None:
    """Trains some of a search's layouts longer, with fresh seeds: do they rank as the search said?"""
    from nas import audit as auditing

    config, opened, trials = _opened(folder)
    opened.checked_config()
    with opened.lock(), _terminable():
        opened.mend()
        auditing.run(config, opened, trials, layouts, seeds, longer)
    found = auditing.read(config, opened, trials)
    if found is None:
        raise InputError("DIR", folder, "layouts that can be trained; every run of the audit failed (see audit.jsonl)")
    click.echo(auditing.table(found), nl=False)


@main.command()
@folder_argument
@click.option("--against", type=click.Path(path_type=Path), help="Folder of another study, to compare the ranks with.")
@click.option("--figure", type=click.Path(path_type=Path), help="File for a picture (SVG).")
def study(folder: Path, against: Path | None, figure: Path | None) -> None:
    """What a search with preset `study` says of the paper that it redraws, as Markdown."""
    from nas.study.cells import collect
    from nas.study.figure import draw
    from nas.study.report import report

    config, _, trials = _opened(folder)
    text = report(trials, config, _opened(against)[2] if against else ())
    if figure:
        try:
            draw(collect(trials, lambda r: r.recall), figure)
        except OSError as error:
            raise InputError("--figure", figure, f"a place that can be written ({error.strerror})") from error
    click.echo(text, nl=False)


def _opened(folder: Path, overrides: tuple[str, ...] = ()):
    """Configuration, folder and trials of a search; overrides price its layouts anew, which takes no training."""
    from nas.config import load
    from nas.results.folder import Folder
    from nas.search.service import read_trials

    opened = Folder.open(folder)
    _limited(overrides, ("target", "search.efficiency"), "a key under target, or search.efficiency")
    try:
        config = load(opened.config, overrides)
    except InputError:
        opened.checked_config()  # an older version's keys say less than its number
        raise
    return config, opened, read_trials(opened, config)


@main.command()
@folder_argument
@click.option(
    "--pick", default="knee", show_default=True, help="knee (best trade), all (the front), or a trial number."
)
@click.option("--format", "form", default="yaml", show_default=True, help="Name in the catalogue of exporters.")
@click.option("--layers", type=int, help="Depth; that of the target by default.")
@click.option("--width", type=int, help="Width; that of the target by default.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File, or folder for several; else stdout.")
@overrides_argument
def export(
    folder: Path, pick: str, form: str, layers: int | None, width: int | None, output: Path | None,
    overrides: tuple[str, ...],
) -> None:  # fmt: skip
    """Layouts as configs; picked for another use with target.batch=1 target.context=4096."""
    from nas.results.exporters import EXPORTERS

    config, _, trials = _opened(folder, overrides)
    exporter = EXPORTERS.get(form, key="--format")
    changes = {"layers": layers, "width": width}
    target = replace(config.target, **{k: v for k, v in changes.items() if v is not None})
    texts = {f"trial_{t.number}": exporter(t.layout, target) for t in _picked(trials, pick, config)}
    try:
        if output is None:
            click.echo("---\n".join(texts.values()), nl=False)
        elif pick == "all":
            output.mkdir(parents=True, exist_ok=True)
            for name, text in texts.items():
                (output / f"{name}.{form}").write_text(text)
        else:
            output.write_text(next(iter(texts.values())))
    except OSError as error:
        raise InputError("-o", output, f"a place that can be written ({error.strerror})") from error


def _picked(trials, pick: str, config) -> list:
    from nas.results.pareto import knee
    from nas.results.trials import front_of

    members = front_of(trials, config.search.efficiency)
    if not members:
        raise InputError("DIR", "this search", "at least one layout that was trained to its end")
    if pick == "all":
        return members
    if pick == "knee":
        import numpy as np

        cost = np.array([t.efficiency[config.search.efficiency] for t in members])
        return [members[knee(cost, np.array([t.recall for t in members]))]]
    found = [t for t in trials if str(t.number) == pick]
    if not found:
        raise InputError("--pick", pick, f"knee, all, or a trial number (the front: {[t.number for t in members]})")
    return found


@main.command()
@click.argument("layout", metavar="LAYOUT.yaml", type=click.Path(path_type=Path))
@click.option("--config", "source", default="laptop", show_default=True, help="A preset, or a YAML file.")
@click.option("--seeds", default=1, show_default=True, type=click.IntRange(1), help="Seeds to train with.")
@overrides_argument
def evaluate(layout: Path, source: str, seeds: int, overrides: tuple[str, ...]) -> None:
    """Trains and scores one layout, in this process and without Ray; prints JSON."""
    from dataclasses import asdict

    from nas.config import load
    from nas.search.service import make_job
    from search_space.cost.cost import cost
    from search_space.layouts.layout import Layout
    from workers.jobs import run_job
    from workers.model import ProxyModel
    from workers.training import Result

    config = load(source, overrides)
    chosen = Layout.load(layout)
    suite = config.suite()
    ProxyModel(chosen, config.proxy, suite.vocabulary, seed=0)
    price = cost(chosen, config.target)
    results: list[Result] = []
    for seed in range(config.search.seed, config.search.seed + seeds):
        print(f"training {chosen} with seed {seed} ...", file=sys.stderr, flush=True)
        outcome = run_job(make_job(config, 0, chosen, (seed,)))
        if outcome.error is not None:
            raise RuntimeError(outcome.error)
        results += outcome.results
    found = {
        "layout": chosen.to_dict(),
        "recall": sum(r.recall for r in results) / len(results),
        "cost": {**asdict(price), "cache_bytes": price.cache_bytes},
        "runs": [asdict(r) for r in results],
    }
    click.echo(json.dumps(found, indent=2))


@main.command()
@click.option("--config", "source", default="laptop", show_default=True, help="A preset, or a YAML file.")
@click.option("-o", "--output", type=click.Path(path_type=Path), default="profile.json", show_default=True)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), help="A GPU where there is one, by default.")
@click.option("--batches", default="1,8,64", show_default=True, help="B, sequences of a decode step.")
@click.option("--contexts", help="n, tokens that each holds; 2k to 128k on a GPU, 512 to 8k on a CPU by default.")
@click.option("--prompts", help="T, tokens of a prompt; 2k to 32k on a GPU, 512 and 1k on a CPU by default.")
@click.option("--check", default=10, show_default=True, type=click.IntRange(0), help="Whole models to compare with.")
@overrides_argument
def profile(
    source: str, output: Path, device: str | None, batches: str, contexts: str | None, prompts: str | None, check: int,
    overrides: tuple[str, ...],
) -> None:  # fmt: skip
    """Measures each mixer at the target's size on this device, for target.profile=FILE."""
    from nas import profile as profiling
    from nas.config import load

    if output.exists():
        raise InputError("-o", output, "a new file; a profile takes long to measure again")
    config = load(source, overrides)
    grid = profiling.Grid.parse(device, batches, contexts, prompts)
    found = profiling.measure(config, grid, check, lambda partial: partial.save(output))
    click.echo(profiling.table(found), nl=False)
    print(f"{output}: use it with target.profile={output}", file=sys.stderr)


@main.command()
def mixers() -> None:
    """The catalogue of mixers: name, source, state and cost formulas."""
    from search_space.mixers import MIXERS, option_names

    for name in MIXERS.names():
        kind = MIXERS.get(name)
        click.echo(
            f"{name}\n  source:  {kind.source}\n  state:   {kind.state_formula}\n  FLOPs:   {kind.flops_formula}"
        )
        click.echo(f"  options: {', '.join(option_names(kind)) or 'none'}")


@main.command()
def published() -> None:
    """Layouts from the literature, at their own depth."""
    from search_space.layouts.published import published_layouts

    for each in published_layouts():
        click.echo(f"{each.name} ({each.year}): {each.layout}\n  {each.source}" + f"\n  {each.note}" * bool(each.note))


@main.command()
@folder_argument
@click.option("--port", type=click.IntRange(1, 65535), help="A free one by default.")
@click.option("--browser/--no-browser", default=True, show_default=True, help="Whether to open the page.")
def ui(folder: Path, port: int | None, browser: bool) -> None:
    """MLflow's pages, opened on the chart of the front."""
    from nas.config import load
    from nas.results.folder import Folder
    from tracking.ui import launch_ui

    opened = Folder.open(folder)
    tracking = load(opened.config).tracking
    with _terminable():
        launch_ui(opened.path, tracking.uri, tracking.experiment, port, browser)
