"""A search as a study in a storage of Optuna, for the tools that read one."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.exceptions import DuplicatedStudyError, ExperimentalWarning
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from nas.config import Config
from nas.report.account import settings_text
from nas.results.front import knee_number
from nas.results.trials import Trial, find_objectives
from search_space.errors import InputError
from search_space.space.choices import BLOCK
from search_space.space.space import Space

TO = {"high": StudyDirection.MAXIMIZE, "low": StudyDirection.MINIMIZE}
STATES = {"complete": TrialState.COMPLETE, "diverged": TrialState.PRUNED, "failed": TrialState.FAIL}


def export_study(trials: Sequence[Trial], space: Space, config: Config, url: str, name: str) -> optuna.Study:
    """Writes a new study: a trial for each layout, in the order in which they were begun.

    Parameters are the decisions of the space that a layout depends on, objectives the means over seeds, constraints
    those of the space (0 or less is kept). What diverged is pruned and what failed is failed: they have no values.
    Layout, origin, seeds, spreads, costs, scores and the place on the front are user attributes.

    Args:
        trials: of the search.
        space: of the search.
        config: of the search.
        url: of the storage, such as sqlite:///study.db.
        name: of the study.

    Raises:
        InputError: there is no such storage, or it has a study of that name.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    goals = find_objectives(config.search.objectives)
    directions = [TO[goal.better] for goal in goals.values()]
    shown = _without_password(url)
    try:
        study = optuna.create_study(storage=url, study_name=name, directions=directions)
    except DuplicatedStudyError as error:
        raise InputError("--name", name, f"a name that no study in {shown} has") from error
    except (SQLAlchemyError, ImportError, ValueError) as error:
        reason = str(error).splitlines()[0].replace(url, shown)
        raise InputError("URL", shown, f"a storage of Optuna, such as sqlite:///study.db ({reason})") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            study.set_metric_names(list(goals))
        for key, text in {"target": config.target.description, "config": settings_text(config)}.items():
            study.set_user_attr(key, text)
        knee = knee_number(trials, config)
        study.add_trials([_frozen(trial, space, list(goals), trial.number == knee) for trial in trials])
    except BaseException:
        optuna.delete_study(study_name=name, storage=url)  # all of it or nothing
        raise
    return study


def _frozen(trial: Trial, space: Space, objectives: Sequence[str], knee: bool) -> FrozenTrial:
    parameters = _active(space, space.values(trial.layout) or {})
    choices = {decision.name: decision.choices for decision in space.decisions}
    state = STATES[trial.state]
    return create_trial(
        state=state,
        values=[trial.value(name) for name in objectives] if state == TrialState.COMPLETE else None,
        params=parameters,
        distributions={name: CategoricalDistribution(choices[name]) for name in parameters},
        constraints=space.violations(trial.layout) if parameters else {},
        user_attrs={
            "trial": trial.number,
            "layout": str(trial.design),
            "origin": trial.name,
            "trained": str(trial.layout),
            "state": trial.state,
            "seeds": trial.seeds,
            "spread": {name: trial.spread(name) for name in objectives if name not in trial.costs},
            "on_front": trial.on_front,
            "confidence": trial.confidence,
            "knee": knee,
            "costs": trial.costs,
            "accuracy": trial.mean("accuracy"),
            "seconds": sum(result.seconds for result in trial.results),
            "errors": [failure.error.strip().splitlines()[-1] for failure in trial.failures],
        },
    )


def _active(space: Space, values: Mapping[str, Any]) -> dict[str, Any]:
    """Without the fields of choices that were not taken."""
    found = {}
    for decision in space.decisions if values else ():
        group = decision.name.partition(".")[0]
        if decision.field == BLOCK or decision.name.startswith(f"{group}.{values[group]}."):
            found[decision.name] = values[decision.name]
    return found


def _without_password(url: str) -> str:
    try:
        return make_url(url).render_as_string(hide_password=True)
    except SQLAlchemyError:
        return url
