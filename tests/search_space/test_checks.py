"""Numbers are checked in one way everywhere."""

from functools import partial
from math import inf, nan

import pytest

import nas
from nas.config.settings import Search
from search_space.checks import count, not_negative, number, or_none, positive, positive_number, share
from search_space.cost.devices import Device
from search_space.errors import InputError
from search_space.scale import Proxy
from search_space.space.constraints import Constraints
from workers.pool import Workers
from workers.suite.suite import build_suite
from workers.training import Training

NO_NUMBERS = [nan, inf, -inf, True, False, "3", [3]]
CHECKS = {
    positive: ([1, 7], [0, -1, 1.0, None]),
    count: ([0, 7], [-1, 0.0, None]),
    number: ([-1, 0, 0.5], [None]),
    positive_number: ([1, 0.5], [0, -0.5, None]),
    not_negative: ([0, 0.5, 7], [-0.5, None]),
    share: ([0, 0.5], [1, -0.1, None]),
    partial(or_none, positive): ([None, 1], [0, 1.5]),
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: getattr(check, "__name__", "or_none"))
def test_what_passes_and_what_does_not(check):
    good, bad = CHECKS[check]
    assert [check("x", value) for value in good] == good
    for value in [*bad, *NO_NUMBERS]:
        with pytest.raises(InputError, match=r"^x="):
            check("x", value)


DEVICE = {"flops": 1e12, "bandwidth": 1e12, "memory": 1e9}
KEYS = {
    "search.trials": lambda x: Search(trials=x),
    "search.seconds": lambda x: Search(seconds=x),
    "search.seeds": lambda x: Search(seeds=x),
    "search.seeds_per_job": lambda x: Search(seeds_per_job=x),
    "search.reseed_above": lambda x: Search(reseed_above=x),
    "workers.count": lambda x: Workers(count=x),
    "workers.cpus": lambda x: Workers(cpus=x),
    "workers.timeout": lambda x: Workers(timeout=x),
    "workers.gpus": lambda x: Workers(gpus=x),
    "training.steps": lambda x: Training(steps=x),
    "training.learning_rate": lambda x: Training(learning_rate=x),
    "training.weight_decay": lambda x: Training(weight_decay=x),
    "training.ema_decay": lambda x: Training(ema_decay=x),
    "proxy.width": lambda x: Proxy(width=x),
    "proxy.residual": lambda x: Proxy(residual=x),
    "target.batch": lambda x: nas.Target(batch=x),
    "target.device.memory": lambda x: Device(**DEVICE | {"memory": x}),
    "space.constraints.at_most.gla": lambda x: Constraints(at_most={"gla": x}),
    "space.constraints.max_decode_ms": lambda x: Constraints(max_decode_ms=x),
    "tasks.recall.weight": lambda x: build_suite({"recall": {"weight": x}, "needle": {}}, 96),
    "tasks.recall.keys": lambda x: build_suite({"recall": {"keys": x}}, 96),
    "tasks.mqar.power": lambda x: build_suite({"mqar": {"power": x}}, 96),
    "tasks.noisy_recall.noise_share": lambda x: build_suite({"noisy_recall": {"noise_share": x}}, 96),
    "seeds": lambda x: nas.evaluate("gla", "smoke", seeds=x),
}


@pytest.mark.parametrize("value", [nan, inf, True, -1], ids=str)
@pytest.mark.parametrize("key", KEYS)
def test_every_number_that_a_user_sets(key, value):
    with pytest.raises(InputError) as refused:
        KEYS[key](value)
    assert refused.value.key == key
