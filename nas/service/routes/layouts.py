"""Layouts without a search: what one costs, what one scores; and what there is to choose from."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

import nas
from nas.results.exporters import EXPORTERS
from nas.service.errors import Conflict, TooMany
from nas.service.routes.common import HouseHere, Reader, Submitter
from nas.service.schemas import CostOf, CostShown, Evaluate, Known, Me
from nas.service.submission import configured
from search_space.errors import InputError
from search_space.layouts.layout import Layout

router = APIRouter(prefix="/v1", tags=["layouts"])


@router.post("/layouts/cost")
def cost(asked: CostOf, who: Reader, house: HouseHere) -> CostShown:
    """What a layout costs at a target, without training anything."""
    layout, target = house.gate.layout(asked.layout), house.gate.target(asked.target)
    _within(house, max(len(layout.layers), target.layers))
    found = nas.cost(layout, target)
    return CostShown(**asdict(found), cache_bytes=found.cache_bytes)


@router.post("/layouts/evaluate")
def evaluate(asked: Evaluate, who: Submitter, house: HouseHere) -> dict[str, Any]:
    """Trains and scores a layout while you wait; one at a time, and not for long. A search takes longer ones."""
    layout, config = house.gate.layout(asked.layout), configured(asked.content, asked.overrides, house.settings)
    _within(house, len(layout.layers))
    if not house.training.acquire(blocking=False):
        raise TooMany("layout", layout, "that no other layout is trained: try again")
    try:
        return _train(house, layout, config.to_yaml(), asked.seeds)
    finally:
        house.training.release()


@router.get("/known")
def known(who: Reader) -> Known:
    """The presets, and the formats that layouts are exported in."""
    return Known(presets=nas.presets(), formats=EXPORTERS.names())


@router.get("/me")
def me(who: Reader) -> Me:
    """Who you are here."""
    return Me(name=who.name, scope=who.scope)


def _within(house: HouseHere, layers: int) -> None:
    if layers > house.settings.limits.layers:
        raise InputError("layers", layers, f"at most {house.settings.limits.layers}")


def _train(house: HouseHere, layout: Layout, config_yaml: str, seeds: int) -> dict[str, Any]:
    """Trains in a process of its own, which can be ended; returns `nas.Evaluation.to_dict`."""
    trust = ["--trust"] if house.settings.trust else []
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "nas.service.scoring", *trust],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=house.settings.root,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in sys.path)},
        start_new_session=True,
    )
    asked = json.dumps({"layout": layout.to_dict(), "config": config_yaml, "seeds": seeds}).encode()
    try:
        out, _ = process.communicate(asked, house.settings.limits.evaluate_seconds)
    except subprocess.TimeoutExpired:
        most = house.settings.limits.evaluate_seconds
        raise Conflict("layout", layout, f"training that takes at most {most:g} s: submit a search") from None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    try:
        found = json.loads(out)
    except ValueError:
        raise Conflict("layout", layout, "training that comes to its end; its process ended before") from None
    if "error" in found:
        raise InputError(found["key"], found["value"], found["error"])
    return found
