"""The study behind a search: its storage, its definition, its sampler, and what a kill left."""

from __future__ import annotations

import fcntl
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import distribution_to_json
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from resetrl.errors import ConfigError
from resetrl.rng import derive_seed
from resetrl.run.tracking.config import SQLITE, redacted, sqlite_path
from resetrl.sweep.optuna_options import build
from resetrl.sweep.optuna_pruning import make_pruner
from resetrl.sweep.optuna_settings import SearchSettings
from resetrl.sweep.optuna_space import Space

SQLITE_TIMEOUT = 60.0
"""Seconds that a job waits for another's write to the study."""

DAMAGE = (LookupError, ValueError, TypeError, RuntimeError)
"""What reading a storage raises that is none, or of another version of Optuna."""

DEFINITION = "resetrl.definition"
RETRY_OF = "retry_of"
ERROR_ATTR = "error"
OUTCOMES_ATTR = "outcomes"

MAY_CHANGE = ("tracking", "checkpoint", "save_rollouts_every")
"""Fixed overrides that do not change what a trial measures."""


def resolve_storage(storage: str, directory: Path) -> str:
    """The storage with a relative path made absolute, so that every job finds it."""
    if storage.startswith(SQLITE):
        path, mark, options = storage.removeprefix(SQLITE).partition("?")
        return f"{SQLITE}{(directory / path).resolve()}{mark}{options}"
    return storage if "://" in storage else str((directory / storage).resolve())


def storage_file(storage: str) -> Path | None:
    """The file of a local storage, None of a database server."""
    return sqlite_path(storage) or (None if "://" in storage else Path(storage))


@contextmanager
def storage_errors(storage: str) -> Iterator[None]:
    """Turn what Optuna and its databases raise into one sentence."""
    try:
        yield
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in ("optuna", "sqlalchemy", "alembic"):
            raise
        raise _unusable(storage, error) from error


def _unusable(storage: str, error: Exception) -> ConfigError:
    cause = error.__cause__ or error
    reason = next(iter(redacted(str(cause)).splitlines()), "") or type(cause).__name__
    return ConfigError(
        f"hydra.sweeper.storage {redacted(storage)} cannot be used ({reason}): repair it, or give "
        "another, such as sqlite:///search.db"
    )


def open_storage(storage: str, *, is_sole: bool = False) -> BaseStorage:
    """The storage behind a resolved URL or path, made if it is a file that is not there.

    `is_sole` says that nobody else is writing to it, so that a journal whose last line is torn is
    damaged. Raises ConfigError if it is, cannot be reached, or belongs to another program.
    """
    try:
        with storage_errors(storage):
            if "://" not in storage:
                if is_sole:
                    _check_journal(Path(storage))
                return JournalStorage(JournalFileBackend(storage))
            if sqlite_path(storage) is None:
                return RDBStorage(storage)
            _refuse_foreign_database(storage)
            return RDBStorage(storage, engine_kwargs={"connect_args": {"timeout": SQLITE_TIMEOUT}})
    except (OSError, ImportError, sqlite3.Error, *DAMAGE) as error:
        raise _unusable(storage, error) from error


def _check_journal(file: Path) -> None:
    """Raise one of `DAMAGE` if the file is no journal, or a torn one.

    Optuna passes over a last line that it cannot read, and would write on behind it.
    """
    lines = file.read_bytes().splitlines(keepends=True) if file.exists() else []
    for line in lines[:1] + lines[-1:]:
        if not line.endswith(b"\n"):
            raise ValueError("its last line is torn: cut that off")
        json.loads(line)["op_code"]


def _refuse_foreign_database(storage: str) -> None:
    """Optuna would put its tables beside those of MLflow, or of whoever owns the file."""
    file = sqlite_path(storage)
    assert file is not None
    if not file.exists():
        return
    with closing(sqlite3.connect(file, timeout=SQLITE_TIMEOUT)) as connection:
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        tables = {str(name) for (name,) in rows}
    if tables and "studies" not in tables:
        raise ConfigError(
            f"hydra.sweeper.storage {storage} holds the tables of another program "
            f"({', '.join(sorted(tables)[:3])}, ...): give a database of its own"
        )


@contextmanager
def sole_search(storage: str) -> Iterator[None]:
    """Keep a second search off a local storage, whose running trials it would take for killed."""
    file = storage_file(storage)
    if file is None:
        yield
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        stream = open(f"{file}.search", "ab")  # noqa: SIM115
    except OSError as error:
        raise _unusable(storage, error) from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(
                f"another search is using {file}: wait for it to end, or give another "
                "hydra.sweeper.storage"
            ) from None
        yield


def open_study(name: str, storage: BaseStorage, settings: SearchSettings, space: Space) -> Study:
    """The study of that name, new or continued; raises ConfigError if it is of another search."""
    definition = _definition(settings, space)
    pruner = make_pruner(settings.pruner, settings.pruner_options)
    if name in optuna.get_all_study_names(storage):
        study = optuna.load_study(study_name=name, storage=storage)
        stored = study.user_attrs.get(DEFINITION)
        if stored is not None:
            _refuse_other(name, stored, definition)
            study.pruner = pruner
            return study
        if study.get_trials(deepcopy=False):
            raise ConfigError(
                f"study {name} was not made by resetrl: give another hydra.sweeper.study_name"
            )
        optuna.delete_study(study_name=name, storage=storage)  # killed before it was defined
    directions = [StudyDirection[direction.upper()] for direction in settings.directions]
    study = optuna.create_study(
        study_name=name, storage=storage, directions=directions, pruner=pruner
    )
    study.set_user_attr(DEFINITION, definition)
    return study


def _definition(settings: SearchSettings, space: Space) -> dict[str, Any]:
    """What makes trials comparable: a search that differs in any of it is another study."""
    fixed = [
        override
        for key, override in space.fixed.items()
        if key.lstrip("+~").split(".")[0] not in MAY_CHANGE
    ]
    objective = settings.objective
    return {
        "dimensions": {
            key: json.loads(distribution_to_json(dist)) for key, dist in space.dimensions.items()
        },
        "seeds": list(space.replicates),
        "overrides": sorted(fixed),
        "metrics": list(settings.metrics),
        "directions": list(settings.directions),
        "objective": f"{objective} {settings.confidence:g}" if objective != "mean" else objective,
    }


def _refuse_other(name: str, stored: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    for part, value in given.items():
        if stored.get(part) != value:
            raise ConfigError(
                f"study {name} has other {part} ({_difference(stored.get(part), value)}): "
                "give them as they were to continue it, or another hydra.sweep.dir or "
                "hydra.sweeper.study_name for a new one"
            )


def _difference(stored: Any, given: Any) -> str:
    """What differs first: `learner.lr was [1e-05, 0.001], not [1e-05, 0.01]`."""
    if isinstance(stored, Mapping) and isinstance(given, Mapping):
        key = next(k for k in [*given, *stored] if stored.get(k) != given.get(k))
        return f"{key}: {_describe(stored.get(key))} there, {_describe(given.get(key))} here"
    return f"{_describe(stored)} there, {_describe(given)} here"


def _describe(value: Any) -> str:
    if isinstance(value, Mapping) and "attributes" in value:
        attributes = value["attributes"]
        if "choices" in attributes:
            return f"choices {', '.join(map(str, attributes['choices']))}"
        log = "logarithmic " if attributes["log"] else ""
        step = f" step {attributes['step']:g}" if attributes["step"] else ""
        return f"{log}{attributes['low']:g} to {attributes['high']:g}{step}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def make_sampler(settings: SearchSettings, number: int) -> BaseSampler:
    """The sampler that suggests trial `number`; raises ConfigError for a wrong option.

    TPE and random get a generator of their own for each trial, so that a search that was killed
    and continued suggests what it would have suggested. CMA-ES and QMC keep their state in the
    study and need the same seed throughout. The points of a grid are enqueued, not sampled.
    """
    own_seed = derive_seed(settings.sampler_seed, "trial", number) % 2**32
    samplers = optuna.samplers
    options, name = settings.sampler_options, settings.sampler
    if name == "cmaes":
        return _built(name, samplers.CmaEsSampler, options, seed=settings.sampler_seed)
    if name == "qmc":
        scrambled = {"scramble": True, **options}
        return _built(name, samplers.QMCSampler, scrambled, seed=settings.sampler_seed)
    if name == "tpe":
        return _built(name, samplers.TPESampler, options, seed=own_seed)
    return _built(name, samplers.RandomSampler, options, seed=own_seed)


def _built(name: str, cls: type, options: Mapping[str, Any], seed: int) -> BaseSampler:
    sampler = build("sampler", name, cls, options, seed=seed)
    assert isinstance(sampler, BaseSampler)
    return sampler


def check_sampler(settings: SearchSettings, space: Space) -> None:
    """Raise ConfigError if the sampler cannot search the space."""
    make_pruner(settings.pruner, settings.pruner_options)
    try:
        sampler = make_sampler(settings, 0)
        optuna.create_study(sampler=sampler).ask(dict(space.dimensions))
    except (TypeError, ValueError, ImportError) as error:
        raise ConfigError(f"hydra.sweeper.sampler {settings.sampler}: {error}") from error
    if settings.sampler == "grid":
        space.grid()
    if settings.sampler == "cmaes" and space.choices:
        raise ConfigError(
            f"hydra.sweeper.sampler=cmaes searches numbers, and {space.choices[0]} is a choice: "
            "fix it, or choose sampler=tpe"
        )
    if settings.sampler == "cmaes" and len(space.dimensions) < 2:
        raise ConfigError(
            "hydra.sweeper.sampler=cmaes needs two dimensions at least: add one, or choose "
            "sampler=tpe"
        )


def requeue_killed(study: Study) -> list[int]:
    """Fail what a killed search left running, and queue the same values again; returns which."""
    killed = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    queued_before = retries(study)
    for trial in killed:
        if trial.number not in queued_before:
            study.enqueue_trial(trial.params, user_attrs={RETRY_OF: trial.number})
        study.tell(trial.number, state=TrialState.FAIL)
    return [trial.number for trial in killed]


def retries(study: Study) -> dict[int, int]:
    """The killed trials, each with the number of the trial that does it again."""
    trials = study.get_trials(deepcopy=False)
    return {
        trial.user_attrs[RETRY_OF]: trial.number for trial in trials if RETRY_OF in trial.user_attrs
    }


def finished(study: Study) -> list[FrozenTrial]:
    """The trials that count: all that ended, but for those a kill ended."""
    killed = retries(study)
    trials = study.get_trials(deepcopy=False)
    return [each for each in trials if each.state.is_finished() and each.number not in killed]


def failures(study: Study) -> list[FrozenTrial]:
    """The trials whose jobs failed."""
    return [each for each in finished(study) if each.state == TrialState.FAIL]
