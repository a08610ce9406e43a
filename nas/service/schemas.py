"""What goes over HTTP, as the description of the API shows it."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from nas.config import presets
from nas.service.queue import Queue
from nas.service.tables import Search

Text = Annotated[str, Field(max_length=4096)]
Override = Annotated[str, Field(max_length=4096, examples=["search.trials=40"])]
Overrides = Annotated[list[Override], Field(max_length=200, description="`key=value` of configuration keys.")]
Preset = Annotated[str, Field(max_length=100, json_schema_extra={"enum": presets()})]
Name = Annotated[str, Field(pattern="^[0-9a-f]{16}$", examples=["0123456789abcdef"])]
"""The identity of a search."""
State = Literal["queued", "running", "paused", "stopped", "complete", "failed"]


class Body(BaseModel):
    """A request's body: known keys alone."""

    model_config = ConfigDict(extra="forbid")


class Asked(Body):
    """A configuration: a preset or a whole one, with overrides."""

    preset: Preset | None = Field(None, description="Name of a preset; laptop where no `config` is given.")
    config: dict[str, Any] | None = Field(None, description="The whole configuration, in place of a preset.")
    overrides: Overrides = []

    @property
    def content(self) -> Any:
        """The whole configuration, or the name of a preset."""
        return self.config if self.config is not None else self.preset or "laptop"


class Submit(Asked):
    """A search to be run."""

    name: Annotated[str, Field(min_length=1, max_length=100)] | None = Field(None, description="Of the search.")
    priority: int = Field(0, ge=-10, le=10, description="Higher is earlier; above 0 for administrators.")
    key: str | None = Field(
        None,
        pattern=r"^[\x21-\x7e]{1,200}$",
        description="Of your own making. The same request with the same key is one search, however often it comes.",
    )

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"preset": "smoke", "overrides": ["search.trials=6", "workers.pool=local"], "key": "my-first"}]
        },
    )


class Prolong(Body):
    """A larger budget of a search, counted from its very beginning."""

    trials: int | None = Field(None, ge=1, le=10**9, description="Layouts to try in all.")
    seconds: float | None = Field(None, gt=0, le=1e9, description="Seconds of search in all.")


class LayoutText(Body):
    """A layout and its target."""

    layout: Text | dict[str, Any] = Field(description="In short, or as named blocks and a list of layers.")

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"layout": "(gla*3 attention)*6"}]})


class CostOf(LayoutText):
    """A layout to price."""

    target: dict[str, Any] = Field({}, description="Keys of `target`; a 1.3B model on an H100 by default.")


class Evaluate(Asked, LayoutText):
    """A layout to train and score, as a search with the configuration would."""

    seeds: int = Field(1, ge=1, le=10, description="How many seeds to train with.")

    model_config = ConfigDict(extra="forbid")


class Happened(BaseModel):
    """An event of a search."""

    at: float = Field(description="Seconds since 1970.")
    by: str = Field(description="A user, or a server.")
    what: str


class SearchShown(BaseModel):
    """A search."""

    id: str = Field(examples=["0123456789abcdef"])
    name: str
    owner: str
    state: State
    wanted: str = Field(description="What its owner wants of it: run, again, pause, stop or delete.")
    priority: int
    cores: int = Field(description="Cores that it takes.")
    gpus: int = Field(description="GPUs that it takes.")
    created: float = Field(description="Seconds since 1970.")
    changed: float = Field(description="Seconds since 1970.")
    version: int = Field(description="Grows with every change.")
    progress: dict[str, Any] | None = Field(description="Trials, layouts on the front, best values, seconds, budget.")
    error: str | None = Field(description="Why it failed.")

    @staticmethod
    def of(search: Search) -> "SearchShown":
        """What is shown of a search."""
        return SearchShown(**{name: getattr(search, name) for name in SearchShown.model_fields})


class SearchDetail(SearchShown):
    """A search, and what happened to it."""

    events: list[Happened]

    @staticmethod
    def of_queue(search: Search, queue: Queue) -> "SearchDetail":
        """What is shown of a search that is asked for."""
        events = [Happened(at=event.at, by=event.by, what=event.what) for event in queue.events(search.id)]
        return SearchDetail(**SearchShown.of(search).model_dump(), events=events)


class Page(BaseModel):
    """Searches, the newest first."""

    searches: list[SearchShown]
    next: str | None = Field(description="`before` of the next page; null on the last one.")


class TrialShown(BaseModel):
    """A layout that was trained."""

    trial: int
    origin: str = Field(description='"search", or the published layout that it is.')
    state: str
    layout: str
    objectives: dict[str, float | None]
    seeds: list[int]
    on_front: bool
    confidence: float = Field(description="Probability that it belongs on the front.")


class Trials(BaseModel):
    """Trials of a search, by their numbers."""

    trials: list[TrialShown]
    next: int | None = Field(description="`after` of the next page; null on the last one.")


class CostShown(BaseModel):
    """What a layout costs at its target; docs/efficiency.md explains the numbers."""

    parameters: int
    kv_bytes: int
    state_bytes: int
    cache_bytes: int
    decode_flops: float
    decode_ms: float
    prefill_flops: float
    prefill_ms: float
    train_flops: float
    train_ms: float
    memory_bytes: int
    fits: bool
    largest_batch: int


class Me(BaseModel):
    """Who the client is."""

    name: str
    scope: str


class Known(BaseModel):
    """What there is to choose from."""

    presets: list[str]
    formats: list[str]
