"""Commands about the parts that there are: mixers, published, profile."""

import os
from pathlib import Path

import click

from nas.cli.group import config_option, main, overrides_argument, say
from search_space.errors import InputError, one_of


@main.command()
@click.argument("name", required=False)
@config_option
@overrides_argument
def mixers(name: str | None, source: str, overrides: tuple[str, ...]) -> None:
    """The catalogue of mixers at both scales, or one of them with its source and options."""
    import nas
    from nas.catalogue import table

    config = nas.load(source, overrides)
    rows = nas.mixers(config)
    if name is None:
        click.echo(table(rows, config.target.context, config.training.length), nl=False)
        return
    found = [row for row in rows if row.name == name]
    if not found:
        raise InputError("NAME", name, one_of(name, [row.name for row in rows]))
    click.echo(table(found, config.target.context, config.training.length), nl=False)
    click.echo(f"source:  {found[0].source}")
    click.echo("options: " + (", ".join(f"{key}={value}" for key, value in found[0].options.items()) or "none"))


@main.command()
def published() -> None:
    """Layouts from the literature, at their own depth."""
    import nas

    for each in nas.published():
        click.echo(f"{each.name} ({each.year}): {each.layout}\n  {each.source}" + f"\n  {each.note}" * bool(each.note))


@main.command()
@config_option
@click.option("-o", "--output", type=click.Path(path_type=Path), default="profile.json", show_default=True)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), help="A GPU where there is one, by default.")
@click.option("--batches", default="1,8,64", show_default=True, help="B, sequences of a decode step.")
@click.option("--contexts", help="n, tokens that each holds; 2k to 128k on a GPU, 512 to 8k on a CPU by default.")
@click.option("--prompts", help="T, tokens of a prompt; 2k to 32k on a GPU, 512 and 1k on a CPU by default.")
@click.option(
    "--check", default=10, show_default=True, type=click.IntRange(0, 1000), help="Whole models to compare with."
)
@overrides_argument
def profile(
    source: str, output: Path, device: str | None, batches: str, contexts: str | None, prompts: str | None, check: int,
    overrides: tuple[str, ...],
) -> None:  # fmt: skip
    """Measures each mixer at the target's size on this device, for target.profile=FILE."""
    import nas
    from nas.study import profiling

    if os.path.lexists(output):
        raise InputError("-o", output, "a new file; a profile takes long to measure again")
    config = nas.load(source, overrides)
    grid = profiling.Grid.parse(device, batches, contexts, prompts)
    found = profiling.measure(config, grid, check, lambda partial: partial.save(output))
    click.echo(profiling.table(found), nl=False)
    say(f"{output}: use it with target.profile={output}")
