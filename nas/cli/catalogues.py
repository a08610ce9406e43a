"""Commands about the parts that there are: mixers, published, profile."""

import os
from pathlib import Path

import click

from nas.cli.group import config_option, main, overrides_argument, say
from nas.cli.terminal import show
from search_space.errors import InputError


@main.command()
@click.argument("name", required=False)
@config_option
@overrides_argument
def mixers(name: str | None, source: str, overrides: tuple[str, ...]) -> None:
    """The catalogue of mixers by family, at both scales, or all about one of them."""
    import nas
    from nas.catalogue import describe, mixer_rows, table
    from search_space.parts.families import expanded

    if name is not None and "=" in name:
        overrides, name = (name, *overrides), None
    config = nas.load(source, overrides)
    rows = mixer_rows(config, None if name is None else expanded([name], "NAME"))
    if name is not None and name == rows[0].name:
        click.echo(describe(rows[0]), nl=False)
    show(table(rows, config.target.context, config.training.length))


@main.command()
@click.argument("name", required=False)
@click.option("--layout", metavar="NAME", help="The same as NAME.")
@click.option("--mixer", help="Those that have it.")
@click.option("--family", help="Those that have a mixer of it; `nas mixers` lists the families.")
@click.option("--year", help="A comparison, such as '>=2024'.")
@click.option("--attention", help="Share of full attention among the token mixers: a comparison, such as '<=0.25'.")
def published(
    name: str | None, layout: str | None, mixer: str | None, family: str | None, year: str | None,
    attention: str | None,
) -> None:  # fmt: skip
    """Layouts from the literature, at their own depth; one of them, by its name, as YAML."""
    from nas.catalogue import find_published, published_table, select_published

    one = name or layout
    if one is not None:
        click.echo(find_published(one, "NAME" if name else "--layout").to_yaml(), nl=False)
        return
    show(published_table(select_published(mixer, family, year, attention)))


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
