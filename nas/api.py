"""What `import nas` does beside opening a search. Each function imports what it needs when it is called."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import threading

    from nas.catalogue import MixerRow
    from nas.config import Config
    from nas.handle import Search
    from nas.results.compare import Comparison
    from nas.search.dry import DryRun
    from nas.search.evaluate import Evaluation
    from nas.search.progress import Progress
    from nas.study.fidelity.report import Report
    from nas.study.training import Progress as TrainingProgress
    from search_space.cost.cost import Cost
    from search_space.cost.target import Target
    from search_space.layouts.layout import Layout
    from search_space.model import Model


def search(
    config: Config | str | Path = "laptop",
    *,
    out: str | Path | None = None,
    stop: threading.Event | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Search:
    """Runs a search until its budget is spent.

        >>> import nas
        >>> tiny = ["search.trials=5", "training.steps=8", "workers.pool=local", "tracking.enabled=false"]
        >>> found = nas.search(nas.load("smoke", tiny), out="runs/tiny", on_progress=lambda now: None)
        >>> len(found.trials)
        5

    Whatever ends it early (`stop`, Ctrl-C, an error), no run that ended is lost: `nas.open(out).resume()` goes on.

    Args:
        config: the whole configuration, or a preset or file to load.
        out: new folder of the search; by default one under runs/.
        stop: ends the search when it is set, from another thread or from `on_progress`.
        on_progress: is told how far the search is, about once a second.

    Raises:
        InputError: something in the configuration cannot be used; nothing is written then.
        WorkersLost: the workers are gone and cannot be had again (`workers.errors`); the search can be resumed.
    """
    from nas.handle import Search
    from nas.report import report_page
    from nas.results.folder import Folder
    from nas.search.run import run
    from nas.search.setup import check
    from search_space.checks import path
    from search_space.errors import InputError

    config = _configured(config)
    new = Path("runs") / f"{time.strftime('%Y%m%d-%H%M%S')}-{config.name}" if out is None else path("--out", out)
    space = check(config)
    folder = Folder.create(new, config.to_yaml())
    try:
        run(config, folder, space, report_page, stop, on_progress)
    except InputError:  # from the cluster, which only then is asked for its resources
        folder.discard()
        raise
    return Search(folder.path, trust=True)


def dry_run(config: Config | str | Path = "laptop") -> DryRun:
    """What a search would take on this machine: seconds a run, runs that fit, memory and disk.

        >>> import nas
        >>> nas.dry_run(nas.load("smoke", ["workers.pool=local"])).layouts
        625

    A few layouts are trained for a few steps, in this process. Nothing is written.

    Args:
        config: the whole configuration, or a preset or file to load.

    Raises:
        InputError: something in the configuration cannot be used.
        RuntimeError: a layout cannot be trained.
    """
    from nas.search.dry import dry_run as measure

    return measure(_configured(config))


def evaluate(layout: Layout | str, config: Config | str | Path = "laptop", seeds: int = 1) -> Evaluation:
    """Trains and scores one layout as a search with `config` would, in this process.

        >>> import nas
        >>> scored = nas.evaluate("gla*3 attention", nas.load("smoke", ["training.steps=8"]))
        >>> 0 <= scored.recall <= 1
        True

    Args:
        layout: a layout, or its short notation.
        config: the whole configuration, or a preset or file to load.
        seeds: how many to train with; scores are means over them.

    Raises:
        InputError: the layout or the configuration cannot be used.
        RuntimeError: a run failed.
    """
    from nas.search.evaluate import as_layout
    from nas.search.evaluate import evaluate as train

    return train(_configured(config), as_layout(layout), seeds)


def cost(layout: Layout | str, target: Target | None = None) -> Cost:
    """What a layout costs at a target: bytes, FLOPs, milliseconds and parameters, without training anything.

        >>> import nas
        >>> chat = nas.Target(batch=1, context=4096)
        >>> nas.cost("(gla*3 attention)*6", chat).decode_ms < nas.cost("attention*24", chat).decode_ms
        True

    Args:
        layout: a layout, or its short notation; one of another depth is resized to the target's.
        target: sizes of the model and how it is served; by default a 1.3B model on an H100.

    Raises:
        InputError: the layout cannot be built at the target's sizes, or a layer reads what none below it keeps.
    """
    from nas.search.evaluate import as_layout
    from search_space.checks import instance
    from search_space.cost.cost import cost as price
    from search_space.cost.target import Target

    target = Target() if target is None else instance("target", target, Target, "a nas.Target")
    layout = as_layout(layout)
    target.layout(layout)  # refuses what cannot be built
    return price(layout, target)


def build(layout: Layout | str, at: Target | Config | None = None, seed: int | None = None) -> Model:
    """A layout as a torch module: tokens [N, L] -> logits [N, L, V].

        >>> import nas
        >>> import torch
        >>> sizes = nas.Target(layers=4, width=256, heads=4, mlp_width=704, vocabulary=100)
        >>> nas.build("gla*3 attention", sizes)(torch.zeros(1, 16, dtype=torch.long)).shape
        torch.Size([1, 16, 100])

    Args:
        layout: a layout, or its short notation.
        at: the target whose sizes and depth it takes, by default a 1.3B model; or a configuration, for its proxy.
        seed: of the initial values; None takes them from torch's own generator.

    Raises:
        InputError: the layout cannot be built at these sizes.
    """
    from nas.config import Config
    from nas.search.evaluate import as_layout
    from search_space.checks import count, instance, or_none
    from search_space.cost.target import Target
    from search_space.model import build_model

    layout = as_layout(layout)
    at = Target() if at is None else instance("at", at, (Target, Config), "a nas.Target, or a nas.Config for its proxy")
    or_none(count, "seed", seed)
    if isinstance(at, Config):
        return build_model(at.scale.layout(layout), at.scale.sizes(at.suite().vocabulary), seed)
    return build_model(at.layout(layout), at.sizes, seed)


def compare(*searches: Search | str | Path, overrides: Sequence[str] = (), trust: bool = False) -> Comparison:
    """Puts several searches on one front: what each adds, and which layout comes from where.

        >>> import nas
        >>> tiny = ["search.trials=3", "training.steps=8", "workers.pool=local", "tracking.enabled=false"]
        >>> one = nas.search(nas.load("smoke", tiny), out="runs/one")
        >>> other = nas.search(nas.load("smoke", [*tiny, "search.seed=1"]), out="runs/other")
        >>> both = nas.compare(one, "runs/other")
        >>> [part.name for part in both.parts]
        ['one', 'other']
        >>> both.hypervolume >= max(part.hypervolume for part in both.parts)
        True

    Args:
        searches: two or more, or their folders.
        overrides: `key=value` as in `nas.open`, for all that are named by a folder.
        trust: as in `nas.open`, likewise.

    Raises:
        InputError: they may not be compared: another target, other proxies, training, tasks or objectives; names the
            key that differs. Or one is none.
    """
    from nas.handle import Search
    from nas.results.compare import Searched
    from nas.results.compare import compare as put_together
    from nas.results.folder import short_names
    from search_space.errors import InputError

    opened = [each if isinstance(each, Search) else Search(each, overrides, trust=trust) for each in searches]
    names = short_names([each.path for each in opened])
    if len(set(names)) < len(names):
        raise InputError("DIR", ", ".join(names), "different searches")
    searched = [Searched(each.config, each.trials, each.searched_with) for each in opened]
    return put_together(dict(zip(names, searched, strict=True)))


def mixers(config: Config | str | Path = "laptop") -> list[MixerRow]:
    """The catalogue of token mixers at both scales, those that installed packages announce included.

        >>> import nas
        >>> [mixer.name for mixer in nas.mixers()][:2]
        ['attention', 'gated_attention']

    Args:
        config: the whole configuration, or a preset or file to load; its target and proxy are the two scales.
    """
    from nas.catalogue import mixer_rows

    return mixer_rows(_configured(config))


def fidelity(
    statements: str | Path | None = None,
    config: Config | str | Path = "laptop",
    *,
    out: str | Path | None = None,
    group: str = "all",
    seeds: int = 1,
    refine: bool = False,
    train: bool = True,
    trust: bool = False,
    stop: threading.Event | None = None,
    on_progress: Callable[[TrainingProgress], None] = lambda progress: None,
) -> Report:
    """Trains the layouts of published statements, and reports how many are ordered as published.

    `nas.fidelity(group="choose", out="runs/evidence", train=False)` says what would be trained, and what can be said
    without training.

    Runs that the folder has already are not done again: after any stop the same call goes on. The folder holds the
    statements, report.json, report.md and fidelity.svg.

    Args:
        statements: CSV file; by default the statements that come with the package.
        config: whose proxies are judged: the whole configuration, or a preset or file to load. Its target plays no
            part, as every statement says what its models were.
        out: folder of the runs, new or of an earlier call; by default runs/fidelity-NAME.
        group: choose (the sources to choose tasks and defaults on), report (the others) or all.
        seeds: most of each layout.
        refine: whether seeds after the first are for layouts alone that a statement compares and that lie within two
            standard errors.
        train: whether to train at all, or only to report what the folder holds.
        trust: whether to import dotted paths that the records in the folder name.
        stop: ends the training when it is set; what ended is reported.
        on_progress: is told how far the training is, about once a second.

    Raises:
        InputError: the statements, the configuration or the folder cannot be used.
        WorkersLost: the workers are gone and cannot be had again; the same call goes on.
    """
    from nas.study.fidelity.run import run

    config = _configured(config)
    folder = Path(out) if out else Path("runs") / f"fidelity-{config.name}"
    return run(config, folder, statements, group, seeds, refine, train, trust, on_progress, stop)


def _configured(config: Config | str | Path) -> Config:
    from nas.config import Config, load

    return config if isinstance(config, Config) else load(config)
