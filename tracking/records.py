"""What is recorded of a search, in plain types."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from search_space.cost.objectives import Objective


def axes_of(objectives: Mapping[str, Objective]) -> tuple[str, str]:
    """Names of the two objectives that a chart is drawn over: x, y.

    They are the first cost and the first measured objective; where there are not both, the first two.
    """
    costs = [name for name, objective in objectives.items() if not objective.measured]
    measured = [name for name, objective in objectives.items() if objective.measured]
    if costs and measured:
        return costs[0], measured[0]
    first, second, *_ = objectives
    return first, second


@dataclass(frozen=True, kw_only=True)
class SearchRecord:
    """A search as a whole.

    Args:
        id: the same whenever the search goes on, another for every other search.
        name: shown as the name of the run.
        config_yaml: the whole configuration.
        objectives: name -> what the search trades, two or three; keys of `TrialRecord.objectives`.
        colour: of its points where several searches share a chart; None for one alone, whose colours tell the front.
    """

    id: str
    name: str
    config_yaml: str
    objectives: Mapping[str, Objective]
    colour: str | None = None


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """All that is known of one trial; a later record of the same number replaces an earlier one.

    Args:
        number: of the trial; it identifies the trial within its search.
        label: the layout as a short line of text.
        layout_yaml: the layout as a config.
        layers: name of the block in each layer, at the target's depth.
        trained: the same at the depth that was trained, which is what a search decides.
        origin: "search", or the name of the published layout.
        state: "complete", or what became of the trial instead ("diverged", "failed", ...).
        seeds: that it was trained with.
        objectives: objective -> value in its unit; of measured ones the mean over seeds.
        spreads: measured objective -> standard deviation over seeds; empty for a single seed.
        scores: name -> score, mean over seeds; "recall/pairs" appears in the group "recall".
        curves: name -> [(step, value), ...]; curves may gain points but not change them.
        seconds: training time over all seeds.
        on_front: whether no other trial beats it.
        confidence: probability that it belongs on the front, in [0, 1].
        knee: whether it is the front's best trade.
    """

    number: int
    label: str
    layout_yaml: str
    layers: tuple[str, ...]
    trained: tuple[str, ...]
    origin: str
    state: str
    seeds: tuple[int, ...]
    objectives: Mapping[str, float]
    spreads: Mapping[str, float] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    curves: Mapping[str, Sequence[tuple[int, float]]] = field(default_factory=dict)
    seconds: float = 0.0
    on_front: bool = False
    confidence: float = 0.0
    knee: bool = False

    @property
    def hybrid(self) -> bool:
        """Whether its layers differ."""
        return len(set(self.layers)) > 1

    def digest(self) -> str:
        """Differs between records that differ; the confidence counts in whole percents."""
        fields = {**asdict(self), "confidence": round(self.confidence, 2)}
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class FrontRecord:
    """What a search has found when it ends or pauses.

    Args:
        members: the trials on the front.
        runs: how many have ended; with more of them the front may be another.
        description: of the search and what it found, in Markdown.
        files: name -> text of what shows the front: picture, table, page.
    """

    members: tuple[TrialRecord, ...]
    runs: int
    description: str
    files: Mapping[str, str]
