"""Commands about a layout that somebody has: cost, formats."""

import json
from dataclasses import asdict
from typing import Any

import click

from nas.cli.group import config_option, main, overrides_argument
from nas.cli.terminal import show
from nas.results.table import Row, Table


def load_with(layout: str, source: str, overrides: tuple[str, ...]) -> tuple[Any, Any]:
    """The layout, and the configuration with the sizes that the layout's file states; overrides come last."""
    import nas
    from nas.results.bringing import read_layout

    found, sizes = read_layout(layout)
    stated = [f"target.{name}={json.dumps(value)}" for name, value in sizes.items()]
    return found, nas.load(source, [*stated, *overrides])


@main.command()
@click.argument("layout")
@config_option
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@overrides_argument
def cost(layout: str, source: str, form: str, overrides: tuple[str, ...]) -> None:
    """What a layout costs at the target: YAML, a Hugging Face or fla config.json, or short: '(gla*2 attention)*8'."""
    import nas
    from tracking.picture.palette import mixer_colours

    found, config = load_with(layout, source, overrides)
    price = nas.cost(found, config.target)
    if form == "json":
        figures = {**asdict(price), "cache_bytes": price.cache_bytes}
        shown = {"layout": str(config.target.layout(found)), "target": config.target.description, "cost": figures}
        click.echo(json.dumps(shown, indent=2))
        return
    rows = {
        "parameters": f"{price.parameters:,}",
        "cache and state": f"{price.cache_bytes / 2**20:,.1f} MiB a sequence",
        "decode step": f"{price.decode_ms:.4g} ms for {config.target.batch} sequences",
        "prompt": f"{price.prefill_ms:.4g} ms for {config.target.context:,} tokens",
        "training": f"{price.train_ms:.4g} ms for {config.target.context:,} tokens, forth and back",
        "memory": f"{price.memory_bytes / 2**30:,.1f} GiB{'' if price.fits else ': more than the device has'}",
        "largest batch": f"{price.largest_batch} sequences",
    }
    sized = config.target.layout(found)
    layers = tuple(map(str, sized.layers))
    show(
        Table(
            above=(f"cost: {config.target.description}",),
            rows=(
                Row(text=str(sized), layers=layers),
                *(Row(cells=(name,), text=text) for name, text in rows.items()),
            ),
            words=(0,),
            colours=mixer_colours(layers),
        )
    )


@main.command()
def formats() -> None:
    """What each export format can hold, what loads it, and how far that was checked."""
    from nas.results.exporters import EXPORTERS, find_exporter

    rows = []
    for name in EXPORTERS.names():
        exporter = find_exporter(name)
        tool = f"; {exporter.tool}: {getattr(exporter, 'checked', 'not checked')}" if hasattr(exporter, "tool") else ""
        kind = f".{exporter.suffix}" if exporter.suffix else "folder"
        rows.append(Row(cells=(name, kind), text=f"{getattr(exporter, 'holds', 'not stated')}{tool}"))
    show(Table(heads=("format", "file", "holds; what loads it"), rows=tuple(rows), words=(0, 1)))
