"""A search as a cell of a notebook shows it."""

from collections.abc import Sequence
from html import escape

from nas.config import Config
from nas.results.front import knee_number, record
from nas.results.trials import Trial, find_objectives, front_of
from tracking.picture.palette import mixer_colours


def notebook_html(trials: Sequence[Trial], config: Config, path: str) -> str:
    """How far the search is, and its front: each layout as a strip at the target's depth, with its values.

    Styles are within the elements, as a notebook has none of its own for them.

    Args:
        trials: all of the search, with the front marked.
        config: of the search.
        path: of its folder.
    """
    names = config.search.objectives
    front, objectives = front_of(trials, names), find_objectives(names)
    complete = sum(t.state == "complete" for t in trials)
    head = f"<b>{escape(config.name)}</b> in <code>{escape(path)}</code>: {len(trials)} layouts, {complete} complete"
    if not front:
        return f"<p>{head}</p>"
    shown = [record(t, config) for t in front]
    colours, knee = mixer_colours(layer for each in shown for layer in each.layers), knee_number(trials, config)
    titles = "".join(f"<th>{escape(name)}{f' ({o.unit})' if o.unit else ''}</th>" for name, o in objectives.items())
    rows = []
    for trial, each in zip(front, shown, strict=True):
        values = "".join(f"<td>{o.show(trial.value(name))}</td>" for name, o in objectives.items())
        cells = "".join(
            f'<span title="layer {i}: {escape(layer)}" style="background:{colours[layer]};flex:1;margin-right:1px">'
            "</span>"
            for i, layer in enumerate(each.layers)
        )
        marks = [escape(trial.name)] * (trial.origin is not None) + ["knee"] * (trial.number == knee)
        text = " · ".join([f"<code>{escape(str(trial.design))}</code>", *marks])
        rows.append(
            f'<tr><th>{trial.number}</th><td><div style="display:flex;width:16em;height:1em">{cells}</div></td>'
            f'{values}<td>{trial.confidence:.0%}</td><td style="text-align:left">{text}</td></tr>'
        )
    return (
        f"<p>{head}; {escape(config.target.description)}</p><table><thead><tr><th>trial</th><th>layers</th>{titles}"
        f"<th>confidence</th><th>layout</th></tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )
