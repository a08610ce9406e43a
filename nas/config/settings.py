"""The configuration of a search: every key that a user can set."""

from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from search_space import limits
from search_space.checks import count, not_negative, number, or_none, positive, positive_number, share
from search_space.cost.objectives import OBJECTIVES
from search_space.cost.target import Target
from search_space.errors import InputError
from search_space.scale import Proxy, Scale
from search_space.space.choices import SpaceConfig
from workers.pool import Workers
from workers.suite.suite import Suite, build_suite
from workers.training import Training

FORMAT = 1
"""Number of the record format: of config.yaml, runs.jsonl and audit.jsonl. Folders of 0.2 and before have none."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """How a search is run.

    Args:
        sampler: thompson, tpe, nsga2, random, or a dotted path to your own.
        trials: most layouts to try; null means no limit.
        seconds: time after which no run is begun that is not expected to end in time; null means no limit.
        seeds: most seeds that a layout is trained with. Every layout starts with `seeds_per_job` of them; further
            seeds go to those that may be on the front.
        seeds_per_job: seeds of a layout that a job trains as one stack of models; worth it on GPUs, where small models
            are bound by kernel launches.
        objectives: what is traded, two or three: recall, text_loss, decode_ms, cache_bytes, prefill_ms, train_ms,
            decode_flops, parameters, largest_batch, or a dotted path to your own.
        reseed_above: layouts that belong on the front with at least this probability get further seeds; 0 means all.
        published: whether layouts from the literature are tried before anything is proposed.
        keep_weights: whether the trained weights of the layouts on the front are kept; `nas.open(DIR).model("knee")` is
            one of them as a torch module, and `nas clean DIR` removes them.
        seed: of the sampler and of the runs.
    """

    sampler: str = "thompson"
    trials: int | None = None
    seconds: float | None = 480.0
    seeds: int = 3
    seeds_per_job: int = 1
    objectives: list[str] = field(default_factory=lambda: ["recall", "decode_ms"])
    reseed_above: float = 0.1
    published: bool = True
    keep_weights: bool = False
    seed: int = 0

    def __post_init__(self):
        if self.trials is None and self.seconds is None:
            raise InputError("search.trials", None, "a number, unless search.seconds is one")
        or_none(partial(positive, most=limits.COUNT), "search.trials", self.trials)
        or_none(positive_number, "search.seconds", self.seconds)
        positive("search.seeds", self.seeds, limits.SEEDS)
        positive("search.seeds_per_job", self.seeds_per_job, limits.SEEDS)
        count("search.seed", self.seed, limits.SEED - 1)
        if not 0 <= number("search.reseed_above", self.reseed_above, "a probability") <= 1:
            raise InputError("search.reseed_above", self.reseed_above, "a probability")
        if not all(isinstance(name, str) for name in self.objectives):
            raise InputError("search.objectives", self.objectives, "names of objectives")
        if not 2 <= len(set(self.objectives)) == len(self.objectives) <= 3:
            raise InputError("search.objectives", self.objectives, "two or three different objectives")
        found = [OBJECTIVES.get(name, key="search.objectives") for name in self.objectives]
        if not any(objective.measured for objective in found):
            raise InputError("search.objectives", self.objectives, "at least one that training tells, such as recall")


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """Your own text, as one more task of the suite.

    Args:
        paths: files and folders; empty leaves the task out, unless `tasks` has it.
        tokens: size of the byte-pair vocabulary; null leaves it to `tasks.text`, where it is 512 by default.
        weight: share of the training batch, relative to the other tasks; null leaves it to `tasks.text`, where it is 1
            by default.
    """

    paths: list[str] = field(default_factory=list)
    tokens: int | None = None
    weight: float | None = None

    def __post_init__(self):
        or_none(positive, "text.tokens", self.tokens)
        or_none(not_negative, "text.weight", self.weight)


@dataclass(frozen=True, kw_only=True)
class Loss:
    """How proxies are trained on text alone, where published statements by loss are judged (`nas fidelity`).

    All else is as in `training`. Mixed with tasks of recall, text would learn too little, and they as well.

    Args:
        length: tokens in a sequence. In short ones a recurrent state holds all that is worth recalling, so that
            attention brings nothing.
        steps: optimiser steps.
        batch: sequences a step.
        logit_std: as in `proxy`. Larger logits drown what the n-grams say: the first steps do no more than take them
            back.
        ngram: as in `tasks.text`. Without it a run of some hundred steps ends above the loss of a trigram model: it
            learns what the last tokens tell and little of what recall tells.
        left_out: as in `tasks.text`. With all tokens learnt, a run so short has not begun to use what attention far up
            a stack retrieves, and what lies early seems best.
    """

    length: int = 256
    steps: int = 600
    batch: int = 12
    logit_std: float = 0.25
    ngram: int = 2
    left_out: float = 0.9

    def __post_init__(self):
        positive_number("loss.logit_std", self.logit_std)
        share("loss.left_out", self.left_out)
        positive("loss.steps", self.steps, limits.COUNT)
        for key in ("length", "batch"):
            positive(f"loss.{key}", getattr(self, key))


@dataclass(frozen=True, kw_only=True)
class Tracking:
    """Where MLflow keeps its records.

    Args:
        enabled: whether anything is recorded in MLflow.
        uri: of a tracking server or an SQLite file; null means a database in the run's folder.
        experiment: name of the MLflow experiment.
    """

    enabled: bool = True
    uri: str | None = None
    experiment: str = "nas"

    def __post_init__(self):
        _check_name("tracking.experiment", self.experiment)


@dataclass(frozen=True, kw_only=True)
class Config:
    """The whole configuration of a search.

    Args:
        format: number of the record format.
        name: of the search, in MLflow.
        space: what may be searched.
        target: what efficiency is stated for.
        proxy: the numbers of the rule that scales it down to what is trained.
        training: how the proxy is trained.
        tasks: label -> options of a recall task; `task` names it where the label does not.
        text: your own text.
        loss: how proxies are trained on text alone.
        search: how the search is run.
        workers: where runs are spread.
        tracking: where MLflow keeps its records.
    """

    format: int = FORMAT
    name: str = "search"
    space: SpaceConfig = field(default_factory=SpaceConfig)
    target: Target = field(default_factory=Target)
    proxy: Proxy = field(default_factory=Proxy)
    training: Training = field(default_factory=Training)
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)
    text: TextConfig = field(default_factory=TextConfig)
    loss: Loss = field(default_factory=Loss)
    search: Search = field(default_factory=Search)
    workers: Workers = field(default_factory=Workers)
    tracking: Tracking = field(default_factory=Tracking)

    def __post_init__(self):
        _check_name("name", self.name)

    @cached_property
    def scale(self) -> Scale:
        """The rule that takes layouts from the target to the proxy."""
        return Scale(self.target, self.proxy, self.training.length)

    @property
    def all_tasks(self) -> dict[str, dict[str, Any]]:
        """The tasks, the user's text among them."""
        if not self.text.paths:
            return self.tasks
        paths = [str(Path(p).absolute()) for p in self.text.paths]
        sizes = {"tokens": self.text.tokens, "weight": self.text.weight}
        options = {"paths": paths, **{name: value for name, value in sizes.items() if value is not None}}
        return {**self.tasks, "text": {**self.tasks.get("text", {}), **options}}

    @property
    def on_text(self) -> "Config":
        """The same with proxies that are trained on text alone, as `loss` says."""
        own = self.loss
        options = {**self.all_tasks.get("text", {}), "weight": 1.0, "counts": True}
        options |= {"ngram": own.ngram, "left_out": own.left_out}
        training = replace(self.training, length=own.length, steps=own.steps, batch=own.batch, evaluations=1)
        proxy = replace(self.proxy, logit_std=own.logit_std)
        return replace(self, proxy=proxy, training=training, tasks={"text": options}, text=TextConfig())

    def suite(self) -> Suite:
        """The recall suite.

        Raises:
            InputError: a task or option cannot be used; the key begins with "tasks".
        """
        try:
            return build_suite(self.all_tasks, self.training.length)
        except InputError as error:
            if self.text.paths and error.key.startswith("tasks.text"):
                raise InputError(error.key.removeprefix("tasks."), error.value, error.expected) from error
            raise

    def to_yaml(self) -> str:
        """As a file that `load` reads back."""
        return OmegaConf.to_yaml(OmegaConf.structured(self))


def _check_name(key: str, name: str) -> None:
    """Raises InputError for a name that a folder or a page could not show."""
    if not name.strip() or len(name) > limits.NAME or "/" in name or not name.isprintable():
        raise InputError(key, name, f"a name of at most {limits.NAME} characters that can be printed, none of them a /")
