"""A search in its folder, as Python sees it."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from nas.config import Config
from nas.config.loading import as_overrides, load_written
from nas.results.export import export, write_all, write_one
from nas.results.exporters import find_exporter
from nas.results.folder import Folder
from nas.results.pick import pick
from nas.results.records import RunRecord
from nas.results.running import RunningJob, is_running, read_running
from nas.results.summarising import summarise
from nas.results.summary import Summary, stamp, write_summary
from nas.results.trials import Trial, front_of
from nas.results.weights import remove_weights, trained_model
from nas.search.evaluate import Evaluation, as_layout, evaluate
from nas.search.progress import Progress
from nas.search.setup import check, trainable, trials_of
from nas.study import audit as auditing
from nas.study.training import Progress as RunsProgress
from search_space import limits
from search_space.checks import path as as_path
from search_space.checks import positive, positive_number
from search_space.cost.target import Target
from search_space.errors import InputError
from search_space.layouts.layout import Layout
from search_space.model import Model
from search_space.space.space import Space

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from optuna import Study
    from pandas import DataFrame


@dataclass(frozen=True, kw_only=True)
class Status(Summary):
    """How far a search is, and its front, as `Summary`; and what it does now.

    Args:
        running: whether a process is searching in the folder.
        jobs: what it runs.
    """

    running: bool
    jobs: tuple[RunningJob, ...]


class Search:
    """A search in its folder: what it found, and what more can be done with it.

        >>> import nas
        >>> tiny = ["search.trials=5", "training.steps=8", "workers.pool=local", "tracking.enabled=false"]
        >>> _ = nas.search(nas.load("smoke", tiny), out="runs/opened")
        >>> found = nas.open("runs/opened")
        >>> list(found.front().columns)
        ['name', 'recall', 'decode_ms', 'recall_spread', 'seeds', 'confidence', 'layout']
        >>> cheap = nas.open("runs/opened", ["target.batch=1", "target.context=4096"])
        >>> cheap.pick("knee").value("decode_ms") < found.pick("knee").value("decode_ms")
        True

    Everything is read from the folder when it is asked for, so that a search under way can be followed.

    Args:
        path: folder of the search.
        overrides: `key=value` of keys under target, or of search.objectives: the same runs, priced or compared anew.
        trust: whether to import code that the folder names by dotted paths; without it such a folder is refused.

    Attributes:
        config: the search's configuration, with the overrides.
        folder: its files.

    Raises:
        InputError: there is no search, or it has no such key.
    """

    def __init__(self, path: str | Path, overrides: Sequence[str] = (), *, trust: bool = False):
        self.folder = Folder.open(as_path("DIR", path), trust)
        _check_keys(overrides, "target", "search.objectives")
        self.config = load_written(self.folder.config, overrides, trust)
        self._trust, self._overrides = trust, tuple(overrides)
        self._records: list[RunRecord] = []
        self._trials: list[Trial] = []

    def __repr__(self) -> str:
        return f"nas.open({str(self.path)!r})"

    @property
    def path(self) -> Path:
        """The folder."""
        return self.folder.path

    @property
    def searched_with(self) -> Config:
        """The configuration without the overrides."""
        return load_written(self.folder.config, (), self._trust) if self._overrides else self.config

    @property
    def trials(self) -> list[Trial]:
        """All layouts that were trained, in the order in which they were begun."""
        records = self.folder.read()
        if records != self._records:
            self._records, self._trials = records, trials_of(records, self.config)
        return list(self._trials)

    def front(self) -> "DataFrame":
        """The front, best first in the first cost objective: a row for each layout, by the number of its trial.

        Columns are the name ("search", or that of a published layout), the objectives, the spread over seeds of those
        that training tells, the number of seeds, the probability that the layout belongs on the front, and the layout.
        """
        from pandas import DataFrame

        trials = front_of(self.trials, self.config.search.objectives)
        names = self.config.search.objectives
        measured = [name for name in names if trials and name not in trials[0].costs]
        columns = {
            "name": [t.name for t in trials],
            **{name: [t.value(name) for t in trials] for name in names},
            **{f"{name}_spread": [t.spread(name) for t in trials] for name in measured},
            "seeds": [len(t.seeds) for t in trials],
            "confidence": [t.confidence for t in trials],
            "layout": [str(t.design) for t in trials],
        }
        frame = DataFrame(columns, index=[t.number for t in trials])
        frame.index.name = "trial"
        return frame

    def pick(self, what: str | int = "knee") -> Trial:
        """One layout: "best", the best trade ("knee"), by a condition ("recall>=0.87"), or the trial of that number.

        Raises:
            InputError: there is no such trial, or nothing was trained yet.
        """
        if what == "all":
            raise InputError("--pick", what, "one layout; front() gives all")
        return pick(self.trials, str(what), self.config)[0]

    def export(
        self,
        what: str | int = "knee",
        format: str = "yaml",
        *,
        layers: int | None = None,
        width: int | None = None,
        resize: str | None = None,
        output: str | Path | None = None,
    ) -> dict[str, str]:
        """Layouts as configs.

        Args:
            what: as in `pick`; or "all", the whole front.
            format: name in the catalogue of exporters, or a dotted path to your own.
            layers: depth; that of the target by default.
            width: model width; that of the target by default.
            resize: how a layout comes to another depth: auto, pattern or stretch; as target.resize by default.
            output: file to write, or folder where the format is one; for "all" a folder with all of them.

        Returns:
            Name of a file -> its text; of a format that is a folder, as in trial_3/config.json.

        Raises:
            InputError: nothing can be picked or written so, or the format cannot hold a layout.
        """
        output = None if output is None else as_path("-o", output)
        target = self.config.target
        for size, value in (("layers", layers), ("width", width), ("resize", resize)):
            target = _changed(target, size, value)
        exporter, trials = find_exporter(format), pick(self.trials, str(what), self.config)
        try:
            texts = export(trials, exporter, target, self.config)
        except InputError as error:
            if width in (None, self.config.target.width):
                raise
            # At the search's own width they could all be built.
            raise InputError("--width", width, f"one that the layouts can have ({error})") from error
        if output is not None and what == "all":
            write_all(texts, output)
        elif output is not None and not exporter.suffix:
            write_all({name.partition("/")[2]: text for name, text in texts.items()}, output)
        elif output is not None:
            write_one(next(iter(texts.values())), output)
        return texts

    def figure(self) -> "Figure":
        """The picture of the front, as a figure of matplotlib; a notebook shows it."""
        from nas.results.front import figure

        return figure(self.trials, self.config)

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from nas.report.notebook import notebook_html

        return notebook_html(self.trials, self.config, str(self.path))

    def report(self, output: str | Path | None = None) -> str:
        """The search as one page of HTML, which loads nothing and can be handed on.

        Args:
            output: file to write, in the place of an earlier one.

        Raises:
            InputError: it cannot be written.
        """
        from nas.report import report_page

        output = None if output is None else as_path("-o", output)
        audit = self.audited()
        line = auditing.line(audit) if audit else None
        page = report_page(self.trials, self.folder.read(), self.config, line)
        if output is not None:
            write_one(page, output)
        return page

    def export_study(self, url: str, name: str | None = None) -> "Study":
        """Writes the search as a new study into a storage of Optuna: a trial for each layout.

        Args:
            url: of the storage, such as sqlite:///study.db.
            name: of the study; that of the folder by default.

        Raises:
            InputError: there is no such storage, or it has a study of that name; or the space of the search cannot be
                had at the target that the overrides make.
        """
        from nas.report.optuna_study import export_study

        space = Space(trainable(self.config.space, self.config.target), self.config.target)
        return export_study(self.trials, space, self.config, url, name or self.path.resolve().name)

    def model(self, what: str | int = "knee", seed: int | None = None) -> Model:
        """The trained proxy of a layout: a torch module, tokens [N, L] -> logits [N, L, V], of a search that kept
        weights (`search.keep_weights`).

        Args:
            what: as in `pick`.
            seed: that it was trained with; by default the first that is kept.

        Raises:
            InputError: as `pick`; or no weights of the layout are kept.
        """
        return trained_model(self.folder.weights, self.pick(what), self.searched_with, seed)

    def clean(self) -> int:
        """Removes the weights that were kept; returns the bytes that this freed.

        Raises:
            InputError: another process works in the folder.
        """
        with self.folder.lock():
            return remove_weights(self.folder.weights)

    def status(self) -> Status:
        """How far the search is."""
        return Status(running=is_running(self.path), jobs=tuple(read_running(self.path)), **vars(self.summary()))

    def summary(self) -> Summary:
        """How far the search is, and its front; kept in the folder for whoever asks next."""
        before = stamp(self.path)
        records = self.folder.read()
        found = summarise(self.trials, len(records), records[-1].elapsed if records else 0.0, self.config)
        if not self._overrides:
            write_summary(self.path, found, before)
        return found

    def resume(
        self,
        overrides: Sequence[str] = (),
        *,
        stop: threading.Event | None = None,
        on_progress: Callable[[Progress], None] = lambda progress: None,
    ) -> "Search":
        """Goes on with the search after any stop; a larger budget prolongs it.

        Args:
            overrides: `key=value` of keys under search, workers or tracking, as in `["search.seconds=600"]`; anything
                else, and another search.seed, would make what was found incomparable with what will be.
            stop: as in `nas.search`.
            on_progress: as in `nas.search`.

        Returns:
            The search as it is then.

        Raises:
            InputError: the overrides cannot be used, or another process works in the folder.
            WorkersLost: as in `nas.search`.
        """
        from nas.report import report_page
        from nas.search.run import run  # what only reads a search needs no sampler

        source = self.folder.checked_config()
        _check_keys(overrides, "search", "workers", "tracking")
        config, before = load_written(source, overrides, self._trust), load_written(source, (), self._trust)
        if not any(override.startswith("workers") for override in overrides):
            self._check_address()
        if config.search.seed != before.search.seed:
            expected = f"{before.search.seed}, with which the search began; another seed needs a new search"
            raise InputError("search.seed", config.search.seed, expected)
        run(config, self.folder, check(config), report_page, stop, on_progress)
        return Search(self.path, trust=self._trust)

    def _check_address(self) -> None:
        """A cluster is sent code and sends objects back: its address is not taken from somebody's folder."""
        address = self.config.workers.address
        if address not in (None, "auto") and not self._trust:
            expected = "an address that is given again, as in workers.address=..., or --trust"
            raise InputError("workers.address", address, expected)

    def audit(
        self,
        layouts: int = 24,
        seeds: int = 2,
        longer: float | None = None,
        on_progress: Callable[[RunsProgress], None] = lambda progress: None,
        *,
        other: Config | None = None,
    ) -> auditing.Audit:
        """Trains some of the layouts again with fresh seeds, longer or as other proxies, and ranks them anew.

        Args:
            layouts: how many, three quarters of them from the search's better half.
            seeds: fresh seeds of each.
            longer: length of a run, in those of the search; 2 by default.
            on_progress: is told how far it is, about once a second.
            other: a configuration with other proxies: its proxy, training and tasks take the place of the search's, at
                the depth of its space; the target stays. Such an audit is kept under its name.

        Raises:
            InputError: fewer than four layouts were trained, they cannot be trained so, every run of the audit failed,
                or another process works in the folder.
        """
        if other is not None and longer is not None:
            raise InputError(
                "--longer", longer, "nothing beside --config; training.steps=... says how long its runs are"
            )
        factor = 2.0 if longer is None else positive_number("--longer", longer)
        if self.config.training.steps * factor > limits.COUNT:
            raise InputError("--longer", longer, f"runs of at most {limits.COUNT} steps")
        positive("--layouts", layouts)
        positive("--seeds", seeds, limits.SEEDS)
        self.folder.checked_config()
        self._check_address()
        trials = self.trials
        auditing.choose(auditing.ranked(trials, auditing.ranked_by(self.config)), layouts)
        with self.folder.lock():
            self.folder.mend()
            if other is None:
                again = auditing.Again.longer(self.config, self.folder, factor)
            else:
                again = auditing.Again.elsewhere(self.config, self.folder, other, self._trust)
            auditing.run(self.folder, trials, again, layouts, seeds, on_progress)
        found = auditing.read(self.folder, trials, again)
        if found is None:
            raise InputError("DIR", self.path, "layouts that can be trained; every run of the audit failed")
        return found

    def audited(self) -> auditing.Audit | None:
        """What earlier audits by the search's own proxies found; None before any."""
        if not self.folder.audit.exists():
            return None
        return auditing.read(self.folder, self.trials, auditing.Again.longer(self.config, self.folder, 1.0))

    def evaluate(self, layout: Layout | str, seeds: int = 1) -> Evaluation:
        """Trains and scores a layout, or its short notation, as this search would; see `nas.evaluate`."""
        return evaluate(self.config, as_layout(layout), seeds)


def _check_keys(overrides: Sequence[str], *allowed: str) -> None:
    """Refuses overrides of other keys than `allowed` and what lies under them."""
    for override in as_overrides(overrides):
        key, _, value = override.partition("=")
        if not f"{key}.".startswith(tuple(f"{name}." for name in allowed)):
            raise InputError(key, value, f"a key in {', '.join(allowed)}; others need a new search")


def _changed(target: Target, size: str, value: int | str | None) -> Target:
    try:
        return target if value is None else replace(target, **{size: value})  # type: ignore[arg-type]
    except InputError as error:
        raise InputError(f"--{size}", value, f"one that the target can have ({error})") from error
