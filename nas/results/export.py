"""Writes picked layouts in a format of the catalogue."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from nas.results.exporters import Exporter
from nas.results.trials import Trial
from search_space.cost.target import Target
from search_space.errors import InputError
from search_space.files import reason, write_text


def export(trials: Sequence[Trial], exporter: Exporter, target: Target) -> dict[str, str]:
    """The layouts at the target's depth and sizes: name of a file -> its text.

    Raises:
        InputError: the format cannot hold one of them.
    """
    return {f"trial_{t.number}.{exporter.suffix}": exporter(t.design, target) for t in trials}


def write_all(texts: Mapping[str, str], folder: Path) -> None:
    """Writes files of the given names into a folder, which is made where there is none; earlier ones are replaced.

    Raises:
        InputError: the folder is named like a single file, or cannot be written.
    """
    endings = {Path(name).suffix for name in texts}
    try:
        if folder.suffix in endings and not folder.is_dir():
            raise InputError("-o", folder, f"a folder for {len(texts)} files, not the name of one")
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            write_text(folder / name, text)
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise InputError("-o", folder, f"a place that can be written ({reason(error)})") from error


def write_one(text: str, path: Path) -> None:
    """Writes one file, in the place of an earlier one.

    Raises:
        InputError: it cannot be written.
    """
    try:
        write_text(path, text)
    except (OSError, ValueError) as error:
        raise InputError("-o", path, f"a file that can be written ({reason(error)})") from error
