"""Writes picked layouts in a format of the catalogue."""

import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from nas.config import Config
from nas.results.exporters import Exporter
from nas.results.trials import Trial, find_objectives
from search_space.cost.target import Target
from search_space.errors import InputError
from search_space.files import reason, write_text

README = "README.md"


def export(trials: Sequence[Trial], exporter: Exporter, target: Target, config: Config | None = None) -> dict[str, str]:
    """The layouts at the target's depth and sizes.

    Args:
        trials: whose layouts are written.
        exporter: writes the format.
        target: depth and sizes.
        config: of the search, to say in the README of a folder how its layout was found.

    Returns:
        Name of a file -> its text; of a format that is a folder, as in trial_3/config.json.

    Raises:
        InputError: the format cannot hold one of them.
    """
    found: dict[str, str] = {}
    for trial in trials:
        made = exporter(trial.design, target)
        if isinstance(made, str):
            found[f"trial_{trial.number}.{exporter.suffix}"] = made
            continue
        files = dict(made)
        if README in files and config is not None:
            files[README] += how_it_was_found(trial, config)
        found |= {f"trial_{trial.number}/{name}": text for name, text in files.items()}
    return found


def how_it_was_found(trial: Trial, config: Config) -> str:
    """A section of a README."""
    objectives = find_objectives(config.search.objectives)
    values = []
    for name, objective in objectives.items():
        spread = trial.spread(name)
        more = "" if spread is None else f" (standard deviation over seeds {objective.show(spread)})"
        values.append(f"- {name}: {objective.show(trial.value(name))} {objective.unit}".rstrip() + more)
    runs = f"{len(trial.seeds)} seed{'s' * (len(trial.seeds) != 1)}"
    origin = "The search proposed it." if trial.origin is None else f"It is published: {trial.name}."
    training, proxy = config.training, config.proxy
    return "\n".join(
        [
            "\n## How it was found\n",
            f"Trial {trial.number} of the search {config.name!r}, trained with {runs}. {origin} The chance that it",
            f"belongs on the front of that search is {trial.confidence:.0%}.\n",
            *values,
            f"\nWhat training tells was measured on a proxy of {len(trial.layout.layers)} layers, width {proxy.width},",
            f"after {training.steps} steps on sequences of {training.length} tokens; costs are those of the target:",
            f"{config.target.description}. The proxy's layout:\n",
            f"    {trial.layout}",
            "",
        ]
    )


def write_all(files: Mapping[str, str], folder: Path) -> None:
    """Writes files of the given names (some may lie in folders) into a folder, which is made where there is none.

    Earlier files of these names are replaced, others are left alone. All are written beside the folder first.

    Raises:
        InputError: the folder is named like a single file, or cannot be written.
    """
    endings = {Path(name).suffix for name in files}
    staged = folder.parent / f".{uuid.uuid4().hex[:12]}.new"
    try:
        if folder.suffix in endings and not folder.is_dir():
            raise InputError("-o", folder, f"a folder for {len(files)} files, not the name of one")
        if folder.exists() and not folder.is_dir():
            raise InputError("-o", folder, "a place that can be written (a file is there)")
        folder.parent.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (staged / name).parent.mkdir(parents=True, exist_ok=True)
            write_text(staged / name, text)
        if folder.is_dir():
            for name in files:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                os.replace(staged / name, folder / name)
        else:
            staged.rename(folder)
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise InputError("-o", folder, f"a place that can be written ({reason(error)})") from error
    finally:
        with suppress(OSError, ValueError):
            shutil.rmtree(staged)


def write_one(text: str, path: Path) -> None:
    """Writes one file, in the place of an earlier one.

    Raises:
        InputError: it cannot be written.
    """
    try:
        write_text(path, text)
    except (OSError, ValueError) as error:
        raise InputError("-o", path, f"a file that can be written ({reason(error)})") from error
