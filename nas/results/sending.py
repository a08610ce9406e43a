"""What MLflow is told of a search: its trials, and what it found."""

from collections.abc import Callable, Mapping, Sequence

from nas.config import Config
from nas.results import front
from nas.results.folder import Folder
from nas.results.records import RunRecord
from nas.results.trials import Trial, find_objectives, front_of, seed_spreads
from search_space.cost.objectives import Objective
from tracking.picture.figure import spread_out
from tracking.records import FrontRecord, TrialRecord
from tracking.runs import Tracker

Page = Callable[[Sequence[Trial], Sequence[RunRecord], Config], str]
"""Makes the page of a search, with its trials, runs and configuration."""
MOST_ROWS = 20
"""Layouts in the description, as a run's description is short; of a longer front, evenly spread ones."""
LONGEST_LAYOUT = 90


def send(
    trials: Sequence[Trial], runs: Sequence[RunRecord], config: Config, folder: Folder, page: Page, to: Tracker
) -> None:
    """Hands in all trials of a search, and what it found.

    Args:
        trials: of the search, with the front marked.
        runs: of the search.
        config: of the search.
        folder: with picture and table of the front.
        page: makes the interactive page.
        to: has been started.
    """
    knee = front.knee_number(trials, config)
    records = {t.number: front.record(t, config, t.number == knee) for t in trials}
    to.log(records.values())
    members = tuple(records[t.number] for t in front_of(trials, config.search.objectives))
    files = {path.name: path.read_text(encoding="utf-8") for path in (folder.front_figure, folder.front_json)}
    files["front.html"] = page(trials, runs, config)
    to.log_front(
        FrontRecord(members=members, runs=len(runs), description=_described(trials, runs, members, config), files=files)
    )


def _described(
    trials: Sequence[Trial], runs: Sequence[RunRecord], members: Sequence[TrialRecord], config: Config
) -> str:
    """The search in Markdown: what it cost, what it found, and how to read that."""
    objectives = find_objectives(config.search.objectives)
    trained = sum(run.result.seconds for run in runs if run.result is not None)
    elapsed = runs[-1].elapsed if runs else 0.0
    states = [f"{n} {state}" for state in ("diverged", "failed") if (n := sum(t.state == state for t in trials))]
    best = next((t for t in members if t.knee), None)
    knee = f"The best trade, its knee, is {best.number}: {_code(best.label)}. " if best else ""
    lines = [
        f"**{len(members)} of {len(trials)} layouts are on the front**"
        f"{''.join(f', {state}' for state in states)}. {knee}"
        f"{len(runs)} runs took {elapsed:.0f} s, and {trained:.0f} s of training."
    ]
    if best is None:
        return lines[0]
    shown = spread_out(members, MOST_ROWS, best.number)
    some = f", {len(shown)} of {len(members)}" if len(members) > len(shown) else ""
    lines += [f"The front{some}, priced for {config.target.description}:", _table(shown, objectives)]
    noise = seed_spreads(trials, config.search.objectives)
    less = f" ({', '.join(noise)}; less is a tie)" if noise else ""
    lines.append(
        "**How to read it.** No layout beats one of the front in every objective; the *knee* is the best trade. "
        "*spread* is the standard deviation between seeds, *confidence* the chance to belong on the front, as seeds "
        f"differ{less}. What training tells is that of small proxies: how layouts may rank, and not what a full model "
        "scores."
    )
    return "\n\n".join(lines) + "\n"


def _table(members: Sequence[TrialRecord], objectives: Mapping[str, Objective]) -> str:
    head = ["trial"]
    for name, objective in objectives.items():
        head += [f"{name} ({objective.unit})" if objective.unit else name] + ["spread"] * objective.measured
    rows = [[*head, "seeds", "confidence", "layout"], ["---"] * (len(head) + 3)]
    for t in members:
        row = [str(t.number)]
        for name, objective in objectives.items():
            row.append(objective.show(t.objectives[name]))
            if objective.measured:
                row.append(objective.show(t.spreads[name]) if name in t.spreads else "")
        layout = [_code(t.label)] + [_plain(t.origin)] * (t.origin != "search") + ["**knee**"] * t.knee
        rows.append([*row, str(len(t.seeds)), f"{t.confidence:.0%}", " ".join(layout)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _code(layout: str) -> str:
    """A layout in a cell of a table, where stars and bars would mean something."""
    text = layout if len(layout) <= LONGEST_LAYOUT else layout[: LONGEST_LAYOUT - 1] + "…"
    return f"`{text.replace('`', ' ').replace('|', ' ')}`"


def _plain(name: str) -> str:
    """A name likewise, which may be anybody's."""
    return "".join(c if c.isalnum() or c in " .,:()+-/" else " " for c in name)
