from dataclasses import replace

from nas.study.fidelity.baselines import BASELINES, baselines_of, verdict
from nas.study.fidelity.benchmark import close_runs, jobs, pilot
from nas.study.fidelity.plan import make_plan, weigh
from nas.study.fidelity.source import Model
from nas.study.fidelity.statements import read_statements
from tests.nas.study.fidelity.examples import plan_of, scores_of, statement, tiny_config


def test_equal_proxies_are_one_run():
    plan = plan_of(
        statement(a="gla*24", b="hgrn2*24"),
        statement(a="gla*24", b="(gla*2 attention)*8", context="2K"),
        statement(a="gla*48", b="hgrn2*24", source="two"),
    )
    assert len(plan.pairs) == 3 and len(plan.distinct) == 3
    assert [str(run.origin.layout) for run in plan.distinct] == ["gla*24", "hgrn2*24", "(gla*2 attention)*8"]


def test_windows_are_those_of_the_source():
    """A window of 2K tokens is half of the sequence where 4K are evaluated, and full attention where 2K are."""
    windows, full = "(gla sliding_window(window=2048))*12", "(gla attention)*12"
    plan = plan_of(
        statement("window", full, windows, context="4K"),
        statement("window", full, windows, context="2K"),
        statement("window", full, windows, context="8K"),
    )
    of = {pair.statement.context: [plan.runs[side] for side in (pair.a, pair.b)] for pair in plan.pairs}
    assert of["2K"][0] is of["2K"][1] is of["4K"][0] and plan.same == 1
    parts = {context: dict(of[context][1].proxy.layers[1].mixer.options) for context in ("4K", "8K")}
    assert parts["4K"]["window"] == 8 and parts["8K"]["window"] == 4, "of 16 tokens"


def test_what_cannot_be_trained_is_counted_by_name():
    plan = plan_of(
        statement(b="comba*12"),
        statement(b="(comba ttt)*6"),
        statement(b="kda(squashed=true)*12"),
        statement(b="gla(heads=7)*12"),
        statement(b="titans*12", margin=0.5),
        statement(),
    )
    assert plan.clear == 5 and len(plan.pairs) == 1 and len(plan.distinct) == 2
    assert plan.unknown_mixers() == {"comba": 2, "ttt": 1}
    assert plan.unmapped_statements() == dict.fromkeys(plan.unmapped, 1) and len(plan.unmapped) == 4
    assert "comba" in plan.unmapped["comba*12"] and "squashed" in plan.unmapped["kda(squashed=true)*12"]


def test_parts_of_an_average_weigh_as_one_statement():
    part = statement(note="part; depth not given: 24 taken")
    found = [
        statement(),
        part,
        replace(part, metric="SWDE", a=part.b, b=part.a),
        replace(part, b="retnet*12"),
        replace(part, size="340M"),
        replace(part, axis="across"),
    ]
    assert weigh(found) == [1.0, 0.5, 0.5, 1.0, 1.0, 1.0]


def test_a_published_table():
    """All mixers of 2507.06457 are in the catalogue: 4 with and 2 without a table of RULER, each at five counts."""
    config = tiny_config()
    table = [s for s in read_statements() if s.source == "arXiv 2507.06457"]
    plan = make_plan(config, config.suite(), table)
    assert not plan.unmapped and len(plan.pairs) == plan.clear == 110
    depths = [len(run.proxy.layers) for run in plan.distinct]
    assert depths == sorted(depths, reverse=True) and set(depths) == {24, 12}
    for run in plan.distinct:
        whole = len(run.origin.layout.layers) // len(run.proxy.layers)
        kinds = [block.mixer.kind for block in run.origin.layout.layers]
        assert [block.mixer.kind for block in run.proxy.layers] * whole == kinds, "the count of attention is kept"


def test_baselines():
    model = Model(24, 2048, 2048)
    pure, hybrid, early = (baselines_of(text, model) for text in ("gla*24", "gla*23 attention", "attention gla*23"))
    assert hybrid["attention count"] == 1 and pure["attention count"] == 0 and list(pure) == list(BASELINES)
    assert hybrid["state bytes"] > pure["state bytes"] > 0 and hybrid["decode_ms"] > pure["decode_ms"] > 0
    assert [verdict(hybrid[name], pure[name]) for name in ("attention count", "state bytes")] == [1.0, 1.0]
    assert {verdict(hybrid[name], early[name]) for name in BASELINES} == {0.5}, "places cost nothing"
    windows = baselines_of("sliding_window(window=2048)*24", model)
    assert windows["attention count"] == 24, "they see all of 2K"
    assert baselines_of("sliding_window(window=2048)*24", Model(24, 2048, 4096))["attention count"] == 0


def test_the_longest_runs_come_first_and_what_is_done_is_left_out():
    config = tiny_config("search.seed=5", "search.seeds_per_job=2")
    plan = plan_of(statement(), statement("count", "gla*23 attention", "gla*24"))
    deep, *short = plan.distinct
    wanted = {run.number: 3 for run in plan.distinct}
    found = jobs(config, plan, wanted, {(deep.proxy, 6)})
    assert [(job.trial, job.seeds) for job in found] == [
        (deep.number, (5,)),
        *((run.number, (5, 6)) for run in short),
        (deep.number, (7,)),
        *((run.number, (7,)) for run in short),
    ]
    assert found[0].scale.target == deep.target


def test_further_seeds_are_for_close_pairs():
    plan = plan_of(
        statement(),
        statement(b="retnet*12"),
        statement("count", "gla*11 attention", "gla*12"),
    )
    numbers = {str(run.origin.layout): run.number for run in plan.distinct}
    gla, hgrn2, retnet, hybrid = (numbers[n] for n in ("gla*12", "hgrn2*12", "retnet*12", "gla*11 attention"))
    recalls = {gla: [0.50, 0.52], hgrn2: [0.53], retnet: [0.2], hybrid: [0.9, 0.9]}
    scores = scores_of(*(recalls[number] for number in range(4)))
    assert close_runs(plan, scores) == {gla, hgrn2}
    assert pilot(plan, scores) == {0, 1, 2, 3}
