"""Sets up a search: everything that follows from its configuration before anything runs."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from nas.config import Config
from nas.results.exporters import find_exporter
from nas.results.records import RunRecord
from nas.results.standing import mark_front
from nas.results.trials import Trial, TrialBook
from nas.search.problem import Problem
from nas.search.samplers import check_sampler
from search_space import limits
from search_space.cost.cost import cost
from search_space.cost.objectives import OBJECTIVES, cost_objectives
from search_space.cost.target import Target
from search_space.errors import InputError
from search_space.layouts.block import Block
from search_space.layouts.layout import Layout
from search_space.model import build_model
from search_space.parts.shapes import shapes_only
from search_space.space.choices import SpaceConfig, find_choice, parse_choices
from search_space.space.space import Space
from tracking.store import Store
from workers.jobs import Job
from workers.suite.suite import SCORED_AT_ONCE, Suite
from workers.training import Result


def check(config: Config) -> Space:
    """Builds what can be built without training, so that mistakes show before anything is begun.

    Returns:
        The search space.

    Raises:
        InputError: something in the configuration cannot be used.
    """
    Store.locate(".", config.tracking.uri)
    space = Space(trainable(config.space, config.target), config.target)
    check_sampler(config.search.sampler, Problem(space, config.search.objectives, costs_of(config)))
    suite = config.suite()
    _check_objectives(config, suite)
    config.scale.check(space.blocks)
    for block in space.blocks.values():
        layers = *space.read_by(block), block
        check_layout(config, suite, Layout(layers), -(-config.space.layers // len(layers)))
    return space


def trainable(space: SpaceConfig, target: Target) -> SpaceConfig:
    """The space without the choices that the format `space.trainable_with` cannot hold.

    Raises:
        InputError: there is no such format, it does not say what it holds, or it holds no choice of some layer.
    """
    if space.trainable_with is None:
        return space
    key, name = "space.trainable_with", space.trainable_with
    exporter = find_exporter(name, key)
    refusal = getattr(exporter, "refusal", None)
    if refusal is None:
        raise InputError(key, name, "a format that says which layers it can hold")
    named = parse_choices(space.blocks)

    def held(names: list[str]) -> list[str]:
        kept = []
        for choice in names:
            blocks = find_choice(choice, named, "space.choices").blocks.values()
            if all(refusal(Block(target.part(b.mixer), b.mlp), target) is None for b in blocks):
                kept.append(choice)
        if not kept:
            raise InputError(key, name, f"a format that holds one of {', '.join(names)} (nas formats)")
        return kept

    per_layer = {layer: held(names) for layer, names in space.per_layer.items()}
    return replace(space, choices=held(space.choices), per_layer=per_layer)


def check_layout(config: Config, suite: Suite, layout: Layout, repeats: int = 1) -> None:
    """Builds a layout at both scales, without memory for it.

    Args:
        config: of the search.
        suite: of the configuration.
        layout: to be built.
        repeats: how many times as many layers will be trained.

    Raises:
        InputError: it cannot be built, or training it would take more memory than any machine has.
    """
    with shapes_only():
        model = build_model(config.scale.layout(layout), config.scale.sizes(suite.vocabulary))
    parameters = sum(p.numel() for p in model.parameters()) * repeats * config.search.seeds_per_job
    if parameters > limits.PROXY_PARAMETERS:
        expected = f"a proxy of at most {limits.PROXY_PARAMETERS} parameters, all seeds of a job together"
        raise InputError("proxy.width", f"{config.proxy.width} ({parameters} parameters)", expected)
    training = config.training
    for key, sequences in (("batch", training.batch), ("test_sequences", training.test_sequences)):
        at_once = min(sequences, SCORED_AT_ONCE) if key == "test_sequences" else sequences
        logits = at_once * training.length * suite.vocabulary
        if sequences * training.length > limits.STEP_TOKENS:
            raise InputError(f"training.{key}", sequences, f"sequences of at most {limits.STEP_TOKENS} tokens in all")
        if max(logits, sequences * suite.vocabulary) > limits.LOGITS:
            expected = f"at most {limits.LOGITS} numbers from the head: fewer sequences, tokens or words"
            raise InputError(f"training.{key}", sequences, expected)
    cost(layout, config.target)


def _check_objectives(config: Config, suite: Suite) -> None:
    """Asks the objectives for their values of a made-up run, which has all scores that a real one will have."""
    scores = dict.fromkeys([f"{label}/{g}" for label, task in suite.tasks.items() for g in task.groups], 0.0)
    scores |= dict.fromkeys(suite.tasks, 0.0)
    run = Result(seed=0, steps=1, status="complete", recall=0.0, accuracy=scores, loss=scores)
    for name in config.search.objectives:
        objective = OBJECTIVES.get(name)
        try:
            if objective.of_run is not None:
                objective.of_run(run)
        except KeyError as error:
            raise InputError("search.objectives", name, f"a task that is in the suite (there is no {error})") from error


def costs_of(config: Config) -> Callable[[Layout], dict[str, float]]:
    """The prices of layouts at the target: layout -> {objective: value}.

    They are those of all cost objectives of the catalogue, and of the search's own.
    """
    of = cost_objectives()
    for name in config.search.objectives:
        objective = OBJECTIVES.get(name)
        if objective.of_cost is not None:
            of[name] = objective.of_cost

    def costs(layout: Layout) -> dict[str, float]:
        price = cost(layout, config.target)
        return {name: float(value(price)) for name, value in of.items()}

    return costs


def trials_of(records: Iterable[RunRecord], config: Config) -> list[Trial]:
    """All trials of the runs on record, with their standing on the front; lost runs are none."""
    book = TrialBook(costs_of(config))
    for each in records:
        if not each.lost:
            book.add(each)
    trials = book.trials
    mark_front(trials, config.search.objectives)
    return trials


def make_job(config: Config, trial: int, layout: Layout, seeds: tuple[int, ...], *, keep_weights: bool = False) -> Job:
    """The job of training `layout` with `seeds` together."""
    return Job(
        trial=trial,
        layout=layout,
        seeds=seeds,
        scale=config.scale,
        training=config.training,
        tasks=config.all_tasks,
        keep_weights=keep_weights,
    )
