"""The trained weights of the layouts on a search's front: a file for each run, weights/trial_3_seed_0.pt."""

import logging
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from pickle import UnpicklingError

import torch

from nas.config import Config
from nas.results.trials import Trial
from search_space.errors import InputError
from search_space.files import reason, replaced
from search_space.model import Model, build_model
from workers.jobs import Outcome

logger = logging.getLogger(__name__)

NAME = re.compile(r"trial_(\d+)_seed_(\d+)\.pt")


class KeptWeights:
    """Keeps the weights of layouts that may be on the front while a search runs, and those of the front when it ends.

    Others are dropped: a layout that comes on the front because another was overestimated has been a likely one before.

    Args:
        path: of their folder.
        above: probability to be on the front from which a layout may be on it.
    """

    def __init__(self, path: Path, above: float):
        self._path, self._above = path, above
        self._kept: dict[int, Trial] = {}

    def resume(self, trials: Iterable[Trial]) -> None:
        """Takes over what earlier sessions kept."""
        numbers = {number for number, _ in _files(self._path)}
        self._kept = {trial.number: trial for trial in trials if trial.number in numbers}

    def update(self, trial: Trial, outcome: Outcome) -> None:
        """Keeps what a job of a trial brought, if its layout may be on the front; drops those that no longer may."""
        if outcome.weights and (trial.on_front or trial.confidence >= self._above):
            self._kept[trial.number] = trial
            for result, content in zip(outcome.results, outcome.weights, strict=False):
                if result.status == "complete":
                    self._write(_file(self._path, trial.number, result.seed), content)
        self._drop(self._above)

    def finish(self) -> None:
        """Drops those of layouts that are not on the front."""
        self._drop(float("inf"))

    def _write(self, file: Path, content: bytes) -> None:
        try:
            self._path.mkdir(exist_ok=True)
            file.unlink(missing_ok=True)  # a link in a folder that was handed on is not followed
            with replaced(file) as new:
                new.write_bytes(content)
        except OSError as error:  # the record matters more
            logger.warning("%s is not kept: %s", file, error.strerror or error)

    def _drop(self, above: float) -> None:
        for number, trial in list(self._kept.items()):
            if not trial.on_front and trial.confidence < above:
                del self._kept[number]
                for seed in _seeds(self._path, number):
                    with suppress(OSError):
                        _file(self._path, number, seed).unlink()


def trained_model(path: Path, trial: Trial, config: Config, seed: int | None) -> Model:
    """The proxy of a trial as it was trained.

    Args:
        path: of the folder of weights.
        trial: of a search.
        config: of the search.
        seed: of the run; None takes the first that is kept.

    Raises:
        InputError: the weights are not kept, or are not those of such a model.
    """
    seeds = _seeds(path, trial.number)
    if not seeds or seed not in (None, *seeds):
        expected = f"one of {seeds}" if seeds else "a layout on the front of a search with search.keep_weights=true"
        raise InputError(f"weights of trial {trial.number}", f"seed {seed}" if seeds else "none", expected)
    seed = seeds[0] if seed is None else seed
    model = build_model(config.scale.layout(trial.layout), config.scale.sizes(config.suite().vocabulary), seed)
    file = _file(path, trial.number, seed)
    try:
        state = torch.load(file, weights_only=True)
        with torch.no_grad():
            for name, x in (*model.named_parameters(), *model.named_buffers()):
                if x.shape != state[name].shape:
                    raise ValueError(f"{name} is {tuple(state[name].shape)}")
                x.copy_(state[name])
    except (
        AttributeError,
        EOFError,
        LookupError,
        OSError,
        RuntimeError,
        TypeError,
        UnpicklingError,
        ValueError,
    ) as error:
        raise InputError("weights", file, f"weights of this model ({reason(error)})") from error
    return model


def remove_weights(path: Path) -> int:
    """Removes all that are kept; returns their bytes."""
    freed = 0
    for number, seed in _files(path):
        file = _file(path, number, seed)
        freed += file.lstat().st_size
        file.unlink()
    with suppress(OSError):  # somebody may have put something beside them
        path.rmdir()
    return freed


def _file(path: Path, trial: int, seed: int) -> Path:
    return path / f"trial_{trial}_seed_{seed}.pt"


def _seeds(path: Path, trial: int) -> list[int]:
    """The seeds of a trial whose weights are kept."""
    return [seed for number, seed in _files(path) if number == trial]


def _files(path: Path) -> list[tuple[int, int]]:
    """Trial and seed of each file, ascending."""
    found = [NAME.fullmatch(file.name) for file in path.iterdir()] if path.is_dir() else []
    return sorted((int(match[1]), int(match[2])) for match in found if match)
