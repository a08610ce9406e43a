"""The record of a search: one line of JSON for every run that ended. `nas.results.reading` reads it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from search_space.cost.objectives import OBJECTIVES, Objective
from search_space.errors import InputError
from search_space.layouts.layout import Layout
from search_space.layouts.published import Origin
from workers.jobs import Outcome
from workers.training import Result


@dataclass(frozen=True)
class Failure:
    """Why a run ended without a result.

    Args:
        of: what failed: the layout (it would fail again anywhere), or the place where it ran (a worker that was lost).
        error: what went wrong.
    """

    of: Literal["layout", "place"]
    error: str


@dataclass(frozen=True)
class Proposal:
    """What a proposed layout followed from, beside the search's seed and the number of its trial.

    Args:
        known: how many runs were on record when it was asked for.
        noted: what the sampler noted about it.
    """

    known: int
    noted: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """A run that ended: one layout, one seed. It holds a result or a failure.

    Args:
        trial: number of its trial; runs of one layout with several seeds share it.
        origin: the published layout that it came from; None where the search proposed it.
        layout: that was trained.
        seed: that it was trained with.
        rung: budget of the run, counted from 0.
        elapsed: seconds of search, over all its sessions, when the run ended; runs that were one job share it.
        result: of a run that was trained.
        failure: of a run that was not.
        proposal: of a layout's first run, if the search proposed it.
        objectives: measured objective of the search -> value, for readers of the file; the program works them out
            from the result.
    """

    trial: int
    origin: Origin | None
    layout: Layout
    seed: int
    rung: int = 0
    elapsed: float
    result: Result | None = None
    failure: Failure | None = None
    proposal: Proposal | None = None
    objectives: Mapping[str, float] = field(default_factory=dict)

    @property
    def lost(self) -> bool:
        """Whether it failed with the place where it ran: such a run uses up no seed and is tried again."""
        return self.failure is not None and self.failure.of == "place"

    @staticmethod
    def of(outcome: Outcome, origin: Origin | None, elapsed: float, objectives: Sequence[str]) -> "list[RunRecord]":
        """The runs of a job, in the order of its seeds.

        Args:
            outcome: what became of the job.
            origin: as in the record.
            elapsed: as in the record.
            objectives: names of the search's objectives; the measured ones are written into the record.
        """
        failure = None if outcome.error is None else Failure("place" if outcome.lost else "layout", outcome.error)
        known = {name: OBJECTIVES.get(name) for name in objectives}
        results = outcome.results or (None,) * len(outcome.job.seeds)
        return [
            RunRecord(
                trial=outcome.job.trial,
                origin=origin,
                layout=outcome.job.layout,
                seed=seed,
                elapsed=elapsed,
                result=result,
                failure=failure,
                objectives={name: value_of(name, o, result) for name, o in known.items() if o.measured and result},
            )
            for seed, result in zip(outcome.job.seeds, results, strict=True)
        ]

    def to_line(self) -> str:
        """As a line of JSON, in the present format."""
        names = ("origin", "result", "failure", "proposal")
        parts = {name: getattr(self, name) for name in names}
        fields = {**vars(self), **{name: part and asdict(part) for name, part in parts.items()}}
        if self.origin is not None:
            fields["origin"] = {"name": self.origin.name, "layout": self.origin.layout.to_dict()}
        return json.dumps({**fields, "layout": self.layout.to_dict()}, default=dict)


def value_of(name: str, objective: Objective, result: Result) -> float:
    """A measured objective's value of one run; of a run that diverged, what the objective says of those.

    Raises:
        InputError: the run lacks it, as one without text lacks the loss on text.
    """
    if result.status == "diverged":
        return objective.diverged
    try:
        return float(objective.of_run(result))  # type: ignore[misc]
    except (KeyError, AttributeError) as error:
        raise InputError("search.objectives", name, f"an objective that the runs have (they lack {error})") from error
