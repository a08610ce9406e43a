"""Text files as tokens: reading, a byte-pair vocabulary, and a split into training and test documents."""

import os
import stat
import sysconfig
from codecs import getincrementaldecoder
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from itertools import islice
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor

from search_space import limits
from search_space.errors import InputError

PIECE = 20_000
"""Most characters of a document: a longer file is cut into several, so that a single file can be split too."""
TEST_SHARE = 10
"""Every tenth document is a test document."""


@dataclass(frozen=True)
class Corpus:
    """Token streams of the training and test documents: [tokens] int64 each."""

    train: Tensor
    test: Tensor


def text_files(paths: tuple[str, ...]) -> list[Path]:
    """The files that `paths` (files, or folders with all that is in them) name; the standard library by default.

    Hidden files and folders inside a folder are skipped, and no file comes twice. Files are in the order of a hash of
    their names inside the folder, so that the first ones are a sample of all, the same wherever the folder lies.

    Raises:
        InputError: a path is not there.
    """
    names: dict[Path, Path] = {}
    for path in map(Path, paths):
        try:
            kind = path.stat().st_mode
            if stat.S_ISDIR(kind):
                names |= {p.resolve(): name for p, name in _inside(path)}
            elif stat.S_ISREG(kind):
                names[path.resolve()] = Path(path.name)
            else:
                raise InputError("paths", path, "a file or folder, not a pipe or device")
        except FileNotFoundError as error:
            raise InputError("paths", path, "a file or folder that exists") from error
        except OSError as error:
            raise InputError("paths", path, f"a file or folder that can be read ({error.strerror})") from error
    if not paths:
        names = {p: Path(p.name) for p in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))}
    return sorted(names, key=lambda p: blake2b(os.fsencode(names[p].as_posix())).digest())


def _inside(folder: Path) -> Iterator[tuple[Path, Path]]:
    """The files in a folder, with their names inside it; empty ones say nothing, and some systems' never end."""
    entries = sorted(islice(folder.rglob("*"), limits.TEXT_ENTRIES + 1))
    if len(entries) > limits.TEXT_ENTRIES:
        raise InputError("paths", folder, f"a folder with at most {limits.TEXT_ENTRIES} files and folders in it")
    for path in entries:
        name = path.relative_to(folder)
        with suppress(OSError):
            kind = path.stat()
            if stat.S_ISREG(kind.st_mode) and kind.st_size and not any(part.startswith(".") for part in name.parts):
                yield path, name


def read_documents(paths: tuple[str, ...], max_bytes: int) -> list[str]:
    """Documents of at most PIECE characters, up to `max_bytes` in all.

    Of each file the beginning is read: an equal share of `max_bytes`, but at least PIECE. A second copy of a text is
    skipped, so that no training document is tested. In a folder, files that are not UTF-8 text are skipped too; a file
    that `paths` names has to be text.

    Raises:
        InputError: a file cannot be read, is binary or empty, or a folder holds no text.
    """
    files = text_files(paths)
    named = {Path(p).resolve() for p in paths}
    share = min(max_bytes, max(PIECE, max_bytes // max(1, len(files))))
    documents: list[str] = []
    seen: set[str] = set()
    size = 0
    for file in files:
        try:
            with file.open("rb") as content:
                data = content.read(share)
            # A share may end inside a character.
            text = getincrementaldecoder("utf-8")().decode(data, final=len(data) < share)
            binary = "\0" in text
        except UnicodeDecodeError:
            text, binary = "", True
        except OSError as error:
            raise InputError("paths", file, f"a file that can be read ({error.strerror})") from error
        if binary or not text.strip():
            if file in named:
                raise InputError("paths", file, "UTF-8 text" if binary else "a file that is not empty")
            continue
        if text in seen:
            continue
        seen.add(text)
        documents += [text[i : i + PIECE] for i in range(0, len(text), PIECE)]
        size += len(text)
        if size >= max_bytes:
            break
    if not documents:
        raise InputError("paths", list(paths), "at least one file with UTF-8 text")
    return documents


@lru_cache(maxsize=4)
def load_corpus(paths: tuple[str, ...], vocabulary: int, max_bytes: int) -> Corpus:
    """Reads, trains the vocabulary on the training documents, and encodes. Kept for the life of the process.

    Raises:
        InputError: as `read_documents`; or there are fewer than two documents' worth of text.
    """
    documents = read_documents(paths, max_bytes)
    if len(documents) < 2:
        half = len(documents[0]) // 2
        documents = [documents[0][:half], documents[0][half:]]
    every = min(TEST_SHARE, len(documents))
    test = documents[every - 1 :: every]
    train = [d for i, d in enumerate(documents) if i % every != every - 1]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(train, trainer)
    streams = ([i for e in tokenizer.encode_batch(part) for i in e.ids] for part in (train, test))
    return Corpus(*(torch.tensor(stream, dtype=torch.int64) for stream in streams))
