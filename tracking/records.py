"""What is recorded of a search, in plain types."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field


@dataclass(frozen=True, kw_only=True)
class SearchRecord:
    """A search as a whole.

    Args:
        id: the same whenever the search goes on, another for every other search.
        name: shown as the name of the run.
        config_yaml: the whole configuration.
        efficiency: the efficiency objective that the front is drawn over, a key of `TrialRecord.efficiency`.
    """

    id: str
    name: str
    config_yaml: str
    efficiency: str


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """All that is known of one trial; a later record of the same number replaces an earlier one.

    Args:
        number: of the trial; it identifies the trial within its search.
        label: the layout as a short line of text.
        layout_yaml: the layout as a config.
        layers: name of the mixer in each layer.
        origin: "search", or the name of the published layout.
        state: "complete", or what became of the trial instead ("diverged", "failed", ...).
        recall: mean over seeds, in [0, 1].
        recall_spread: standard deviation over seeds; None for a single seed.
        seeds: that it was trained with.
        efficiency: objective -> value at the target, in the objective's unit.
        scores: name -> score, mean over seeds; "recall/pairs" appears in the group "recall".
        curves: name -> [(step, value), ...]; curves may gain points but not change them.
        seconds: training time over all seeds.
        on_front: whether no other trial beats it.
        confidence: probability that it belongs on the front, in [0, 1].
    """

    number: int
    label: str
    layout_yaml: str
    layers: tuple[str, ...]
    origin: str
    state: str
    recall: float
    recall_spread: float | None
    seeds: tuple[int, ...]
    efficiency: Mapping[str, float]
    scores: Mapping[str, float] = field(default_factory=dict)
    curves: Mapping[str, Sequence[tuple[int, float]]] = field(default_factory=dict)
    seconds: float = 0.0
    on_front: bool = False
    confidence: float = 0.0

    @property
    def hybrid(self) -> bool:
        """Whether its layers differ in their mixers."""
        return len(set(self.layers)) > 1

    def digest(self) -> str:
        """Differs between records that differ; the confidence counts in whole percents."""
        fields = {**asdict(self), "confidence": round(self.confidence, 2)}
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]
