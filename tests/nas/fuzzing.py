"""Draws of configurations, for test_fuzz.py and the soak test: what a user, a script or an enemy may write."""

import json
import random
from dataclasses import fields, is_dataclass, replace
from importlib.resources import files
from typing import get_type_hints

from hypothesis import strategies as st

import nas
from nas.config import Config
from nas.search.setup import check, make_job
from tests.conftest import TINY
from workers.jobs import run_job

NAMES = [
    *("attention", "gla", "hgrn2", "parallel", "none", "gla/none", "swiglu", "tpe", "random", "nsga2", "recall"),
    *("decode_ms", "cache_bytes", "text_loss", "h100", "cpu", "bf16", "ray", "local", "layer", "block", "pattern"),
    *("mqar", "needle", "text", "fuzzy_recall", "all", "os:system", "builtins:dict", "a.b:c", ":", "..:x", "???"),
    *("${name}", "${oc.env:HOME}", "${", "/dev/zero", "/", "README.md", "auto", "127.0.0.1:1", "sqlite:///x.db"),
]
INNER = ["mixer", "mlp", "kind", "choose", "heads", "key_size", "window", "conv", "branches", "ratio", "keys", "values"]
INNER += ["pairs", "weight", "task", "flops", "bandwidth", "memory", "paths", "tokens", "0", "5", "<<"]
SMALL = 200_000
"""Parameters, and tokens of a step, of what is run."""


def keys_of(kind: type = Config, prefix: str = "") -> list[str]:
    """All dotted keys, those of sections included."""
    hints, found = get_type_hints(kind), []
    for each in fields(kind):
        found.append(prefix + each.name)
        if is_dataclass(hints[each.name]):
            found += keys_of(hints[each.name], f"{prefix}{each.name}.")
    return found


numbers = st.one_of(
    st.integers(0, 64),
    st.integers(),
    st.sampled_from([2**15, 2**20, 2**31, 2**32, 2**63, 10**9, 10**12, 10**30, 10**400, -1]),
    st.floats(),
    st.floats(0, 4),
    st.sampled_from([1e-308, 1e-31, 1e30, 1e300, 0.5]),
)
words = st.one_of(st.sampled_from(NAMES), st.text(max_size=8), st.text("${}[]:,'\"&*!? \n\\ab1.", max_size=24))
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, words),
    lambda inside: st.one_of(
        st.lists(inside, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from([*INNER, *NAMES]), st.text(max_size=4)), inside, max_size=4),
    ),
    max_leaves=8,
)
sections = [
    "tasks",
    "tasks.recall",
    "tasks.text",
    "space.blocks",
    "space.blocks.a",
    "proxy.options.gla",
    "space.per_layer",
]
keys = st.one_of(
    st.sampled_from(keys_of()),
    st.builds(".".join, st.tuples(st.sampled_from(sections), st.sampled_from([*INNER, *NAMES]))),
    st.text(".=[]ab0\\ ", max_size=12),
)
written = st.one_of(values.map(json.dumps), words, st.text(max_size=30))  # JSON is YAML; the rest may be anything
likely = st.one_of(
    st.builds(
        "training.{}={}".format, st.sampled_from(["batch", "length", "steps", "test_sequences"]), st.integers(2, 40)
    ),
    st.builds("training.{}={}".format, st.sampled_from(["warmup", "ema_decay", "weight_decay"]), st.floats(0, 1.5)),
    st.builds("training.{}={}".format, st.sampled_from(["learning_rate", "max_grad_norm"]), st.floats(0, 10)),
    st.builds("proxy.{}={}".format, st.sampled_from(["width", "heads", "state", "shift_width"]), st.integers(1, 64)),
    st.builds("proxy.{}={}".format, st.sampled_from(["mlp_scale", "residual", "embedding_std"]), st.floats(0, 10)),
    st.builds("proxy.{}={}".format, st.sampled_from(["shift_from", "embedding_skip"]), st.integers(0, 3)),
    st.builds("space.layers={}".format, st.integers(0, 8)),
    st.builds("space.choices=[{}]".format, st.lists(st.sampled_from(NAMES[:8]), max_size=4).map(", ".join)),
    st.builds("space.blocks={{a: {{mixer: gla, heads: {}}}}}".format, st.integers(0, 40)),
    st.builds("tasks.recall.{}={}".format, st.sampled_from(["keys", "values"]), st.integers(0, 40)),
    st.builds("target.{}={}".format, st.sampled_from(["layers", "heads", "batch", "context"]), st.integers(0, 64)),
    st.builds("search.sampler={}".format, st.sampled_from(["thompson", "tpe", "random", "nsga2"])),
    st.builds("search.seed={}".format, st.integers(-1, 2**32)),
)
overrides = st.lists(st.one_of(st.builds("{}={}".format, keys, written), likely), min_size=1, max_size=3)

PRESET = files("nas.config.presets").joinpath("laptop.yaml").read_bytes()
PIECES = [b": ", b"\n  ", b"- ", b"[", b"]", b"{", b"}", b"&a ", b"*a", b"!!", b"<<: ", b"? ", b"|\n", b"'", b'"', b"#"]
PIECES += [b"\x00", b"\xff", b"null", b"1e999", b"0x", b"9" * 300, b"---\n", b"%YAML 1.1\n", b"\t", b"${", b"~", b"="]


@st.composite
def changed(draw) -> bytes:
    """A preset with pieces cut out, doubled or put in."""
    text = PRESET
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, len(text)))
        end = min(len(text), begin + draw(st.integers(0, 60)))
        new = draw(st.one_of(st.sampled_from(PIECES), st.binary(max_size=4), st.just(text[begin:end] * 2)))
        text = text[:begin] + new + text[end:]
    return text


contents = st.one_of(
    changed(),
    st.binary(max_size=200),
    st.lists(st.sampled_from([*PIECES, b"a", b"search", b"1", b"\n"]), max_size=40).map(b"".join),
    st.sampled_from([b"[", b"{a: ", b"- ", b"!!set ", b"? "]).map(lambda piece: piece * 20_000),
)


def accepted(read) -> Config | None:
    """The configuration that `read` gives, if everything that is checked before a search takes it."""
    try:
        config = read()
        check(config)
    except nas.InputError as error:
        assert str(error).isprintable() and len(str(error)) < 1500, "one line of bounded length"
        return None
    return config


def trained(config: Config, number: int) -> bool:
    """Runs one trial of an accepted configuration, made short; False where even that would be large."""
    space = check(config)
    layout = space.sample(random.Random(number))
    model = nas.build(layout, config) if config.proxy.width <= 512 and len(layout.layers) <= 16 else None
    training = replace(config.training, steps=2, evaluations=1, test_sequences=min(config.training.test_sequences, 64))
    tokens = max(training.batch, training.test_sequences) * training.length
    if model is None or sum(p.numel() for p in model.parameters()) > SMALL or tokens > SMALL:
        return False
    outcome = run_job(make_job(replace(config, training=training), 0, layout, (config.search.seed,)))
    assert outcome.error is None, outcome.error
    return True


def load(changes: list[str]) -> Config:
    """The smallest configuration, with changes."""
    return nas.load("smoke", [*TINY, *changes])
