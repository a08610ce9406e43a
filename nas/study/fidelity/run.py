"""The benchmark of evidence from statements to the files of its report."""

import logging
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

from nas.config import Config
from nas.study.fidelity import benchmark, figure, text
from nas.study.fidelity.plan import Plan, make_plan
from nas.study.fidelity.report import Report, make_report
from nas.study.fidelity.scores import Scores
from nas.study.fidelity.statements import of_group, packaged, read_statements
from nas.study.folder import StudyFolder
from nas.study.training import Progress
from search_space import limits
from search_space.checks import positive
from search_space.errors import InputError
from search_space.files import replaced, write_text

logger = logging.getLogger(__name__)


def run(
    config: Config,
    path: Path,
    statements: str | Path | None,
    group: str,
    seeds: int,
    refine: bool,
    train: bool,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    stop: threading.Event | None = None,
) -> Report:
    """Trains and reports; see `nas.fidelity`."""
    positive("--seeds", seeds, limits.SEEDS)
    if refine and seeds == 1:
        raise InputError("--refine", "true", "--seeds 2 or more: it says which layouts get the further ones")
    chosen = of_group(read_statements(statements), group)
    suite = config.suite()
    suite.check(config.training.test_sequences)
    StudyFolder.find(path, config)  # before anything takes time
    logger.info("working out the proxies of %d statements ...", len(chosen))
    plan = make_plan(config, suite, chosen)
    if not plan.pairs:
        raise InputError("STATEMENTS", statements, f"a clear statement that can be judged; {_why_none(plan)}")
    folder = StudyFolder.of(path, config)
    with folder.lock():
        folder.mend()
        folder.write_config(config.to_yaml())
        with replaced(folder.path / "statements.csv") as new:
            shutil.copyfile(statements or packaged(), new)
        if train:
            benchmark.run(config, folder, plan, seeds, refine, on_progress, stop)
        about = {
            "config": config.name,
            "group": group,
            "steps": config.training.steps,
            "proxy_width": config.proxy.width,
        }
        report = make_report(config, suite, plan, Scores.of(plan, folder.read()), about)
        write_text(folder.path / "report.json", text.to_json(report))
        write_text(folder.path / "report.md", text.to_markdown(report))
        figure.draw(report, folder.path / "fidelity.svg")
    return report


def _why_none(plan: Plan) -> str:
    if plan.without_text:
        return "the suite has no text, by whose loss they are judged"
    return next(iter(plan.unmapped.values()), "no margin reaches its noise")
