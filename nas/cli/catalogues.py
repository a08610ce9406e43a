"""Commands about the parts that there are: mixers, published, profile."""

import sys
from pathlib import Path

import click

from nas.cli.group import config_option, main, overrides_argument
from search_space.errors import InputError


@main.command()
def mixers() -> None:
    """The catalogue of mixers: name, source, state and cost formulas."""
    import nas

    for mixer in nas.mixers():
        click.echo(f"{mixer.name}\n  source:  {mixer.source}\n  state:   {mixer.state}\n  FLOPs:   {mixer.flops}")
        click.echo(f"  options: {', '.join(mixer.options) or 'none'}")


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
@click.option("--check", default=10, show_default=True, type=click.IntRange(0), help="Whole models to compare with.")
@overrides_argument
def profile(
    source: str, output: Path, device: str | None, batches: str, contexts: str | None, prompts: str | None, check: int,
    overrides: tuple[str, ...],
) -> None:  # fmt: skip
    """Measures each mixer at the target's size on this device, for target.profile=FILE."""
    import nas
    from nas.study import profiling

    if output.exists():
        raise InputError("-o", output, "a new file; a profile takes long to measure again")
    config = nas.load(source, overrides)
    grid = profiling.Grid.parse(device, batches, contexts, prompts)
    found = profiling.measure(config, grid, check, lambda partial: partial.save(output))
    click.echo(profiling.table(found), nl=False)
    print(f"{output}: use it with target.profile={output}", file=sys.stderr)
