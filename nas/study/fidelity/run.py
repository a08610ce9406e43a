"""The benchmark of evidence from statements to the files of its report."""

import logging
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

from nas.config import Config
from nas.study.fidelity import benchmark, figure, text
from nas.study.fidelity.plan import make_plan
from nas.study.fidelity.report import Part, Report, make_report
from nas.study.fidelity.scores import Scores
from nas.study.fidelity.statements import of_group, packaged, read_statements
from nas.study.folder import StudyFolder
from nas.study.training import Progress
from search_space import limits
from search_space.checks import positive
from search_space.errors import InputError
from search_space.files import replaced, write_text
from workers.errors import WorkersLost

logger = logging.getLogger(__name__)

BY_LOSS = "by_loss"
"""Folder of the runs that judge statements by loss, in that of the others."""


def run(
    config: Config,
    path: Path,
    statements: str | Path | None,
    group: str,
    seeds: int,
    refine: bool,
    train: bool,
    trust: bool = False,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    stop: threading.Event | None = None,
) -> Report:
    """Trains and reports; see `nas.fidelity`."""
    positive("--seeds", seeds, limits.SEEDS)
    if refine and seeds == 1:
        raise InputError("--refine", "true", "--seeds 2 or more: it says which layouts get the further ones")
    chosen = of_group(read_statements(statements), group)
    kinds = {by_loss: [s for s in chosen if s.by_loss == by_loss] for by_loss in (False, True)}
    configs = {by_loss: config.on_text if by_loss else config for by_loss, wanted in kinds.items() if wanted}
    places = {by_loss: path / BY_LOSS if by_loss else path for by_loss in configs}
    suites = {by_loss: own.suite() for by_loss, own in configs.items()}
    for by_loss, suite in suites.items():
        suite.check(configs[by_loss].training.test_sequences)
    is_new = not any([_find(place, configs[by_loss], by_loss, trust) for by_loss, place in places.items()])
    logger.info("working out the proxies of %d statements ...", len(chosen))
    plans = {by_loss: make_plan(own, suites[by_loss], kinds[by_loss]) for by_loss, own in configs.items()}
    if not any(plan.pairs for plan in plans.values()):
        why = next((why for plan in plans.values() for why in plan.unmapped.values()), "no margin reaches its noise")
        raise InputError("STATEMENTS", statements or packaged(), f"a statement that can be judged; {why}")
    folder = StudyFolder.of(path, config, trust)
    folders = {by_loss: StudyFolder.of(places[by_loss], own, trust) for by_loss, own in configs.items()}
    try:
        with folder.lock():
            folder.write_config(config.to_yaml())
            with replaced(folder.path / "statements.csv") as new:
                shutil.copyfile(statements or packaged(), new)
            parts = []
            for by_loss, study in folders.items():
                own, plan = configs[by_loss], plans[by_loss]
                study.mend()
                study.write_config(own.to_yaml())
                if train:
                    benchmark.run(own, study, plan, seeds, refine, on_progress, stop)
                scores = Scores.of(plan, study.read())
                parts.append(Part(by_loss=by_loss, config=own, suite=suites[by_loss], plan=plan, scores=scores))
            about = {"config": config.name, "group": group, "steps": config.training.steps, "width": config.proxy.width}
            report = make_report(parts, about)
            write_text(folder.path / "report.json", text.to_json(report))
            write_text(folder.path / "report.md", text.to_markdown(report))
            figure.draw(report, folder.path / "fidelity.svg")
    except InputError:  # from the cluster, which only then is asked for its resources
        if is_new:
            folder.discard()
        raise
    except WorkersLost as error:
        raise WorkersLost(f"{error}; the same command goes on") from error
    return report


def _find(place: Path, config: Config, by_loss: bool, trust: bool) -> StudyFolder | None:
    try:
        return StudyFolder.find(place, config, trust)
    except InputError as error:
        key = error.key
        if by_loss and key.startswith(("training.", "proxy.logit_std")):
            key = f"loss.{key.partition('.')[2]}"
        raise InputError(key, error.value, error.expected) from error
