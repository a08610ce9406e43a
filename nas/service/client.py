"""A service from another machine, with the calls of the front door (`nas.search`, `nas.open`, `nas.cost`, ...)."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from nas.config import Config, load, presets
from nas.search.evaluate import Evaluation, as_layout
from nas.search.progress import Progress
from nas.service.remote import RemoteComparison, RemoteSearch
from nas.service.wire import Wire
from search_space.cost.cost import Cost
from search_space.layouts.layout import Layout
from search_space.plain import parse_yaml
from workers.training import Result


class Client(Wire):
    """A service.

    Args:
        server: its URL; by default that in the environment variable NAS_SERVER, or else this machine's.
        token: of `nas token`; by default that in NAS_TOKEN. A service for one machine alone needs none.

    Raises:
        InputError: that is no URL.
    """

    def __repr__(self) -> str:
        return f"nas.Client({self.server!r})"

    def submit(
        self,
        config: Config | str | Path = "laptop",
        overrides: Sequence[str] = (),
        *,
        name: str | None = None,
        priority: int = 0,
        key: str | None = None,
    ) -> RemoteSearch:
        """Puts a search into the queue.

        Args:
            config: the whole configuration, or a preset (of the service) or file (of this machine).
            overrides: `key=value`.
            name: of the search.
            priority: -10 to 10; above 0 for administrators.
            key: of your own making: asked twice with the same, there is one search.

        Raises:
            InputError: the service cannot use it.
        """
        asked = {**_content(config, overrides), "name": name, "priority": priority, "key": key}
        return RemoteSearch(self, self.ask("POST", "/v1/searches", asked)["id"])

    def search(
        self,
        config: Config | str | Path = "laptop",
        overrides: Sequence[str] = (),
        *,
        on_progress: Callable[[Progress], None] = lambda progress: None,
    ) -> RemoteSearch:
        """As `nas.search`: submits a search and waits for its end. Whatever ends the wait, the search goes on."""
        found = self.submit(config, overrides)
        found.wait(on_progress)
        return found

    def open(self, identity: str, overrides: Sequence[str] = ()) -> RemoteSearch:
        """A search of the service, as `nas.open` opens one of this machine.

        Raises:
            InputError: there is none of yours.
        """
        found = RemoteSearch(self, identity, overrides)
        found.status()
        return found

    def searches(self, states: Sequence[str] = (), name: str | None = None) -> list[dict[str, Any]]:
        """Your searches, the newest first: the fields that the API describes."""
        found: list[dict[str, Any]] = []
        where: list[tuple[str, str]] = [("state", state) for state in states] + ([("name", name)] if name else [])
        before: str | None = ""
        while before is not None:
            page = self.ask("GET", "/v1/searches", where=[*where, *([("before", before)] if before else [])])
            found, before = found + page["searches"], page["next"]
        return found

    def compare(self, *searches: RemoteSearch | str, overrides: Sequence[str] = ()) -> RemoteComparison:
        """As `nas.compare`, of searches or their identities.

        Raises:
            InputError: they may not be compared, or are none of yours.
        """
        named = [each.identity if isinstance(each, RemoteSearch) else each for each in searches]
        return RemoteComparison(self, named, overrides)

    def cost(self, layout: Layout | str, target: dict[str, Any] | None = None) -> Cost:
        """As `nas.cost`, with the keys of a target that differ from the default."""
        found = self.ask("POST", "/v1/layouts/cost", {"layout": _plain(layout), "target": target or {}})
        return Cost(**{field.name: found[field.name] for field in fields(Cost)})

    def evaluate(
        self,
        layout: Layout | str,
        config: Config | str | Path = "laptop",
        seeds: int = 1,
        overrides: Sequence[str] = (),
    ) -> Evaluation:
        """As `nas.evaluate`; the service trains it while you wait."""
        asked = {**_content(config, overrides), "layout": _plain(layout), "seeds": seeds}
        found = self.ask("POST", "/v1/layouts/evaluate", asked)
        found["cost"].pop("cache_bytes")
        return Evaluation(
            layout=Layout.from_dict(found["layout"]),
            objectives=found["objectives"],
            cost=Cost(**found["cost"]),
            runs=tuple(Result(**run) for run in found["runs"]),
        )


def _content(config: Config | str | Path, overrides: Sequence[str]) -> dict[str, Any]:
    """A configuration, as the service takes it."""
    if isinstance(config, str) and config in presets():
        return {"preset": config, "overrides": list(overrides)}
    whole = config if isinstance(config, Config) else load(config)
    return {"config": parse_yaml(whole.to_yaml(), "config"), "overrides": list(overrides)}


def _plain(layout: Layout | str) -> dict[str, Any]:
    return as_layout(layout).to_dict()
