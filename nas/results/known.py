"""Agreement with published models that is on record, for the proxies that it was measured with.

`python -m nas.results.known DIR` puts what `nas fidelity` left in a folder on record.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from nas.config import Config
from nas.config.loading import load_written

RECORD = Path(__file__).with_name("known.yaml")
FEWEST = 5
"""Statements; fewer of them are not put into a line."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """Agreement of some proxies with published models.

    Args:
        name: of the configuration.
        group: of the sources that it was read on.
        seeds: runs over layouts that were trained.
        axes: axis -> {share, low, high (of statements ordered as published, with a 95% interval), statements, sources,
            untrained: the best share of a baseline that trains nothing}.
    """

    name: str
    group: str
    seeds: float
    axes: Mapping[str, Mapping[str, Any]]

    @property
    def line(self) -> str:
        """The axes by recall, in a line."""
        parts = [
            f"{each['share']:.0%} on {name} ({each['untrained']:.0%} without training)"
            for name, each in self.axes.items()
            if not name.endswith("-loss") and each["statements"] >= FEWEST
        ]
        return f"proxies like these order published statements as published: {', '.join(parts)}"


def known_agreement(config: Config) -> Known | None:
    """What is on record for proxies that are built, trained and scored as those of `config`; None where nothing is."""
    wanted = _proxies(config)
    for entry in _entries():
        if entry["proxies"] == wanted:
            return Known(**{name: value for name, value in entry.items() if name != "proxies"})
    return None


@cache
def _entries() -> list[dict[str, Any]]:
    return yaml.safe_load(RECORD.read_text(encoding="utf-8"))


def _proxies(config: Config) -> dict[str, Any]:
    """What the agreement depends on, as plain data. On which device they were trained makes no difference."""
    training = {name: value for name, value in asdict(config.training).items() if name not in ("device", "precision")}
    found = {"proxy": asdict(config.proxy), "training": training, "tasks": config.all_tasks}
    return json.loads(json.dumps(found))


def entry_of(folder: Path) -> dict[str, Any]:
    """The entry for the report in a folder of `nas fidelity`."""
    report = json.loads((folder / "report.json").read_text())
    axes = {
        axis["name"]: {
            "share": round(axis["proxies"]["value"], 3),
            "low": round(axis["proxies"]["low"], 3),
            "high": round(axis["proxies"]["high"], 3),
            "statements": axis["statements"],
            "sources": axis["source_count"],
            "untrained": round(axis["baselines"][axis["best"]]["value"], 3),
        }
        for axis in report["axes"]
        if axis["proxies"] is not None
    }
    about = report["about"]
    seeds = about["seeds"] / about["trained"]
    found = {"name": about["config"], "group": about["group"], "seeds": round(seeds, 2), "axes": axes}
    return found | {"proxies": _proxies(load_written(folder / "study.yaml"))}


if __name__ == "__main__":
    on_record = yaml.safe_load(RECORD.read_text()) if RECORD.exists() else []
    new = entry_of(Path(sys.argv[1]))
    kept = [each for each in on_record or () if (each["proxies"], each["group"]) != (new["proxies"], new["group"])]
    # Of two groups, the one that nothing was chosen on comes first, which is the one that is shown.
    entries = sorted([*kept, new], key=lambda each: each["group"] == "choose")
    RECORD.write_text(yaml.safe_dump(entries, sort_keys=False, default_flow_style=None, width=110))
