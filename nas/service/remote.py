"""Searches of a service, as a client sees them."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from nas.results.export import write_all, write_one
from nas.search.progress import Progress
from nas.service.folders import IDENTITY
from nas.service.wire import Wire
from search_space.errors import InputError

if TYPE_CHECKING:
    from pandas import DataFrame


class RemoteSearch:
    """A search of a service, with the calls of `nas.Search`.

    Args:
        client: of the service.
        identity: of the search.
        overrides: as in `nas.open`: the same runs, priced or compared anew.
    """

    def __init__(self, client: Wire, identity: str, overrides: Sequence[str] = ()):
        if not IDENTITY.fullmatch(identity):
            raise InputError("ID", identity, "the identity of a search, 16 hexadecimal digits, as nas ls shows it")
        self.client, self.identity = client, identity
        self._path = f"/v1/searches/{identity}"
        self._set = [("set", override) for override in overrides]

    def __repr__(self) -> str:
        return f"{self.client!r}.open({self.identity!r})"

    def status(self) -> dict[str, Any]:
        """Its state, how far it is, and what happened to it: the fields that the API describes."""
        return self.client.ask("GET", self._path)

    @property
    def trials(self) -> list[dict[str, Any]]:
        """The layouts that were trained: the fields that the API describes."""
        found: list[dict[str, Any]] = []
        after: int | None = -1
        while after is not None:
            page = self.client.ask("GET", f"{self._path}/trials", where=[*self._set, ("after", str(after))])
            found, after = found + page["trials"], page["next"]
        return found

    def front(self) -> "DataFrame":
        """The front, best first in the first cost objective, with the columns of `nas.Search.front`."""
        from pandas import DataFrame

        found = json.loads(self.written("json"))
        rows = [
            {
                "name": point["origin"],
                **point["objectives"],
                **{f"{name}_spread": spread for name, spread in point["spread"].items()},
                "seeds": len(point["seeds"]),
                "confidence": point["confidence"],
                "layout": point["label"],
            }
            for point in found["points"]
        ]
        frame = DataFrame(rows, index=[point["trial"] for point in found["points"]])
        frame.index.name = "trial"
        return frame

    def written(self, form: str) -> str:
        """The front as `nas front --format` writes it: table, json or csv."""
        return self._text("front", [("format", form)])

    def export(
        self,
        what: str | int = "knee",
        format: str = "yaml",
        *,
        layers: int | None = None,
        width: int | None = None,
        output: str | Path | None = None,
    ) -> dict[str, str]:
        """Layouts as configs, as `nas.Search.export` gives them."""
        sizes = [(name, str(size)) for name, size in (("layers", layers), ("width", width)) if size is not None]
        path, where = f"{self._path}/layouts/{quote(str(what), safe='')}", [*self._set, ("format", format), *sizes]
        with self.client.send("GET", path, where=where) as answer:
            text = answer.read().decode()
            name = Path(answer.headers.get_filename() or "layout").name
        texts = json.loads(text) if what == "all" else {name: text}
        if output is not None and what == "all":
            write_all({Path(name).name: text for name, text in texts.items()}, Path(output))
        elif output is not None:
            write_one(text, Path(output))
        return texts

    def report(self, output: str | Path | None = None) -> str:
        """The search as one page of HTML, as `nas.Search.report` gives it."""
        page = self._text("report")
        if output is not None:
            write_one(page, Path(output))
        return page

    def resume(self, *, trials: int | None = None, seconds: float | None = None) -> "RemoteSearch":
        """Goes on after a stop; a larger budget prolongs it. Does not wait."""
        budget = {name: value for name, value in (("trials", trials), ("seconds", seconds)) if value is not None}
        self.client.ask("POST", f"{self._path}/{'prolong' if budget else 'resume'}", budget)
        return self

    def stop(self) -> None:
        """Ends it before its time."""
        self.client.ask("POST", f"{self._path}/stop", {})

    def pause(self) -> None:
        """Gives its cores to others until it is resumed."""
        self.client.ask("POST", f"{self._path}/pause", {})

    def delete(self) -> None:
        """Removes it with all that it found."""
        self.client.ask("DELETE", self._path)

    def log(self) -> str:
        """The beginning of what its process printed, at most 64 KiB."""
        return self._text("log")

    def events(self) -> Iterator[tuple[str, Any]]:
        """Follows it: ("search", its fields), ("log", text) and at last ("end", its state)."""
        with self.client.send("GET", f"{self._path}/events") as answer:
            name = ""
            for line in answer:
                kind, _, text = line.decode().rstrip("\n").partition(": ")
                if kind == "event":
                    name = text
                elif kind == "data":
                    yield name, json.loads(text)

    def wait(self, on_progress: Callable[[Progress], None] = lambda progress: None) -> str:
        """Waits for its end, also over a service that is started again; returns the state."""
        while True:
            try:
                for name, value in self.events():
                    if name == "search" and value["progress"]:
                        on_progress(Progress(**value["progress"]))
                    elif name == "end":
                        return value
            except (OSError, ValueError) as error:
                if isinstance(error, InputError):
                    raise
                time.sleep(2.0)  # asking says whether the service is back
                self.status()

    def _text(self, what: str, where: Sequence[tuple[str, str]] = ()) -> str:
        with self.client.send("GET", f"{self._path}/{what}", where=[*self._set, *where]) as answer:
            return answer.read().decode()


class RemoteComparison:
    """Several searches of a service on one front, with the calls of `nas.Comparison`.

    Args:
        client: of the service.
        identities: of the searches.
        overrides: as in `nas.open`.
    """

    def __init__(self, client: Wire, identities: Sequence[str], overrides: Sequence[str] = ()):
        self.client = client
        self._where = [*(("search", identity) for identity in identities), *(("set", each) for each in overrides)]
        self._found = json.loads(self._text("json"))

    def front(self) -> "DataFrame":
        """The front of all: a row for each layout, and who found it."""
        from pandas import DataFrame

        return DataFrame([{k: v for k, v in point.items() if k != "design"} for point in self._found["points"]])

    def to_dict(self) -> dict[str, Any]:
        """As plain data, when it was asked for; the other forms are those of now."""
        return self._found

    def to_json(self) -> str:
        """As JSON."""
        return self._text("json")

    def to_csv(self) -> str:
        """The front of all, a layout a line."""
        return self._text("csv")

    def to_table(self) -> str:
        """For people."""
        return self._text("table")

    def to_svg(self) -> str:
        """As a picture."""
        return self._text("svg")

    def draw(self, path: str | Path) -> None:
        """Writes the picture."""
        write_one(self.to_svg(), Path(path))

    def _text(self, form: str) -> str:
        with self.client.send("GET", "/v1/compare", where=[*self._where, ("format", form)]) as answer:
            return answer.read().decode()
