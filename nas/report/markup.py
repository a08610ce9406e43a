"""HTML that several sections of the page share."""

from collections.abc import Mapping, Sequence
from html import escape


def strip(layers: Sequence[str], colours: Mapping[str, str]) -> str:
    """A layout as a row of cells, first layer first."""
    cells = "".join(
        f'<i style="background:{colours[layer]}" title="layer {place}: {escape(layer)}"></i>'
        for place, layer in enumerate(layers)
    )
    return f'<div class="strip" role="img" aria-label="{escape(" ".join(layers))}">{cells}</div>'


def legend(colours: Mapping[str, str]) -> str:
    """The colours and what they mean."""
    items = "".join(f'<li><i style="background:{colour}"></i>{escape(label)}</li>' for label, colour in colours.items())
    return f'<ul class="legend">{items}</ul>'


def table(head: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]], caption: str, kind: str = "") -> str:
    """A table that scrolls in its own frame where the page is narrow.

    Args:
        head: of the columns, as HTML; the first is of the column that names the rows.
        rows: name and cells (`<td ...>`) of each, as HTML.
        caption: what it shows, as HTML.
        kind: class of the table.
    """
    columns = "".join(f'<th scope="col">{each}</th>' for each in head)
    lines = "".join(f'<tr><th scope="row">{name}</th>{"".join(cells)}</tr>' for name, cells in rows)
    return (
        f'<div class="scroll" tabindex="0"><table class="{kind}"><caption>{caption}</caption>'
        f"<thead><tr>{columns}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def definitions(pairs: Mapping[str, str]) -> str:
    """Names and what they are, as HTML."""
    return "<dl>" + "".join(f"<div><dt>{name}</dt><dd>{text}</dd></div>" for name, text in pairs.items()) + "</dl>"
