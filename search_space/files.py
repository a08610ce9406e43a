"""Files: read with care where others may have written them, and written whole or not at all."""

import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from search_space import limits
from search_space.errors import InputError, line


def read_text(path: str | Path, key: str, most: int = limits.YAML_BYTES) -> str:
    """The text of a regular file.

    Raises:
        InputError: there is no such file, it is a folder, a pipe or a device, has more than `most` bytes, cannot be
            read, or is no UTF-8; names `key`.
    """
    with _opened(path, key) as file:
        content = file.read(most + 1)
        if len(content) > most:
            raise InputError(key, path, f"a file of at most {most} bytes")
        return content.decode()


def read_lines(path: str | Path, key: str, most: int) -> Iterator[str]:
    """The lines of such a file, one after the other, with their ends; raises as `read_text`."""
    with _opened(path, key) as file:
        while line := file.readline(most + 1):
            most -= len(line)
            if most < 0:
                raise InputError(key, path, "a file of fewer bytes")
            yield line.decode()


@contextmanager
def _opened(path: str | Path, key: str) -> Iterator[BinaryIO]:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe without a writer would be waited for
            raise InputError(key, path, "a file, not a folder, pipe or device")
        with open(path, "rb") as file:
            try:
                yield file
            except UnicodeDecodeError as error:
                place = file.tell() - len(error.object) + error.start
                raise InputError(key, path, f"a file with text in UTF-8 (byte {place} is none)") from error
    except InputError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise InputError(key, path, f"a file that can be read ({reason(error)})") from error


@contextmanager
def replaced(path: str | Path) -> Iterator[Path]:
    """A name beside `path`, to write a file to; it takes the place of `path` when all went well.

    Raises:
        OSError: it cannot be written: `path` is as it was then, and nothing is left beside it.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise IsADirectoryError(None, "it is no file that can be replaced", str(path))
    new = target.with_name(f".{uuid.uuid4().hex[:12]}.new")
    try:
        yield new
        with new.open("rb") as written:
            os.fsync(written.fileno())
        new.replace(target)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with suppress(OSError):
            new.unlink()


def write_text(path: str | Path, text: str) -> None:
    """Puts a text in the place of a file, whole or not at all; raises as `replaced`."""
    with replaced(path) as new:
        new.write_text(text, encoding="utf-8")


def reason(error: Exception) -> str:
    """What went wrong, in a line."""
    if isinstance(error, RecursionError):
        return "too many things inside one another"
    return line(getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__)
