"""Statements, plans and scores that are made up."""

from pathlib import Path

from nas.config import Config, load
from nas.study.fidelity.plan import Plan, make_plan
from nas.study.fidelity.scores import Scores
from nas.study.fidelity.statements import COLUMNS, Statement
from tests.conftest import TINY
from workers.training import Result

FEW = """
arXiv 2507.06457,mixer,gated_deltanet*12,gla*12,RULER,4K,1.3B,0.1,0.06,n,
arXiv 2507.06457,count,gla*11 attention,gla*12,RULER,4K,1.3B,0.1,0.06,n,
another,mixer,gla*12,gated_deltanet*12,recall,4K,1.3B,3,2,y,
another,across,gla*12,comba*12,recall,4K,1.3B,3,2,n,
another,mixer,gated_deltanet*12,hgrn2*12,recall,4K,1.3B,1,2,n,
another,count-loss,gla*11 attention,gla*12,ppl,4K,1.3B,1,0.5,n,
"""
"""Five clear statements of which four can be judged: three by three runs of twelve layers, one by two runs on text."""


def statement(axis: str = "mixer", a: str = "gla*12", b: str = "hgrn2*12", **changes) -> Statement:
    fields = {
        "source": "one",
        "metric": "recall",
        "context": "4K",
        "size": "1.3B",
        "margin": 2.0,
        "noise": 1.0,
        "second_hand": False,
        "note": "",
    }
    return Statement(axis=axis, a=a, b=b, **{**fields, **changes})


def csv_of(folder: Path, rows: str = FEW, header: str = ",".join(COLUMNS)) -> Path:
    path = folder / "statements.csv"
    path.write_text(f"{header}\n{rows.strip()}\n")
    return path


def tiny_config(*more: str) -> Config:
    return load("smoke", [*TINY, "tracking.enabled=false", *more])


def plan_of(*statements: Statement) -> Plan:
    config = tiny_config()
    return make_plan(config, config.suite(), statements)


def scores_of(*recalls: list[float] | None) -> Scores:
    """Recalls of each run, one for each seed; the loss on hits is 3 less the recall. None: a run that diverged."""
    results = {
        number: [
            Result(seed=seed, steps=8, status="complete", recall=recall, loss={"text/ar_hit": 3 - recall})
            for seed, recall in enumerate(found)
        ]
        if found is not None
        else [Result(seed=0, steps=3, status="diverged", recall=0.0)]
        for number, found in enumerate(recalls)
    }
    return Scores(results=results)
