"""What a search says: a line a trial, and at the end its best trials and what to do with them."""

from __future__ import annotations

import shlex
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import optuna
import yaml
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.table import Table

from resetrl.run.tracking.config import redacted
from resetrl.run.tracking.files import write_atomically
from resetrl.sweep.optuna_settings import SearchSettings
from resetrl.sweep.optuna_space import REPLICATE_KEY, Space
from resetrl.sweep.optuna_study import ERROR_ATTR, OUTCOMES_ATTR, finished
from resetrl.sweep.optuna_trial import PRUNED_ATTR

MOST_SHOWN = 5
FEWEST_FOR_IMPORTANCE = 10
"""Complete trials below which the importance of a dimension is no more than noise."""


def describe_trial(study: Study, number: int, settings: SearchSettings) -> str:
    """One line on a trial that has just ended."""
    trial = study.get_trials(deepcopy=False)[number]
    if trial.state == TrialState.FAIL:
        return f"trial {number} failed: {trial.user_attrs.get(ERROR_ATTR)}"
    if trial.state == TrialState.PRUNED:
        return str(trial.user_attrs[PRUNED_ATTR])
    found = ", ".join(
        f"{metric} {value:.4g}"
        for metric, value in zip(settings.metrics, trial.values, strict=True)
    )
    line = f"trial {number}: {found}{_seeds(trial, settings)}"
    if len(settings.metrics) > 1:
        front = ", ".join(str(each.number) for each in study.best_trials)
        return f"{line}; Pareto front: {front}"
    best = study.best_trial
    return f"{line}; best {best.value:.4g} by trial {best.number}"


def _seeds(trial: FrozenTrial, settings: SearchSettings) -> str:
    """` (0.61 0.63; 1e+04 2e+04)`: the outcome of each seed, metric by metric."""
    outcomes: Sequence[Sequence[float]] = trial.user_attrs.get(OUTCOMES_ATTR, [])
    if not outcomes or len(outcomes[0]) < 2:
        return ""
    return f" ({'; '.join(' '.join(f'{value:.4g}' for value in row) for row in outcomes)})"


def best_trials(study: Study) -> list[FrozenTrial]:
    """The complete trials, best first; of several objectives the Pareto front."""
    if len(study.directions) > 1:
        return sorted(study.best_trials, key=lambda trial: trial.values[0], reverse=_up(study))
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return sorted(complete, key=lambda trial: trial.values[0], reverse=_up(study))


def _up(study: Study) -> bool:
    return study.directions[0] == StudyDirection.MAXIMIZE


def print_search(
    study: Study,
    space: Space,
    settings: SearchSettings,
    storage: str,
    folder: Path,
    console: Console,
) -> None:
    """The best trials, how much each dimension matters, and the commands to go on with."""
    trials = best_trials(study)
    many = len(settings.metrics) > 1
    counts = Counter(trial.state.name.lower() for trial in finished(study))
    tally = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    console.print(f"\n[bold]study {study.study_name}[/]: {tally.replace('fail', 'failed')}")
    if not trials:
        return
    console.print(_table(trials if many else trials[:MOST_SHOWN], settings, many))
    important = importances(study)
    if important:
        shares = ", ".join(f"{key} {share:.0%}" for key, share in important.items())
        console.print(f"importance (PED-ANOVA): {shares}", highlight=False, soft_wrap=True)
    files = [
        write_best(study, trial, space, settings, folder) for trial in trials[: None if many else 1]
    ]
    _print_commands(study, space, storage, folder, files[0], console)


def _table(trials: Sequence[FrozenTrial], settings: SearchSettings, many: bool) -> Table:
    title = "Pareto front" if many else "best trials"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("trial", justify="right")
    for metric in settings.metrics:
        table.add_column(metric, justify="right")
    if any(_seeds(trial, settings) for trial in trials):
        table.add_column("each seed")
    table.add_column("values", overflow="fold")
    for trial in trials:
        cells = [str(trial.number), *(f"{value:.4g}" for value in trial.values)]
        if len(table.columns) > len(cells) + 1:
            cells.append(_seeds(trial, settings).strip(" ()"))
        table.add_row(*cells, describe_values(trial.params))
    return table


def describe_values(values: Mapping[str, object]) -> str:
    """`learner.lr=0.0003162 split=1x4`: the values of a trial, to be read, not to be run."""
    shown = {
        key: f"{value:.4g}" if isinstance(value, float) else str(value)
        for key, value in values.items()
    }
    return " ".join(f"{key}={text}" for key, text in shown.items())


def importances(study: Study) -> Mapping[str, float]:
    """The share of each dimension in what makes trials good, largest first.

    Empty with one dimension, several objectives or too few trials.
    """
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    few = len(complete) < FEWEST_FOR_IMPORTANCE or len(complete[0].params) < 2
    if few or len(study.directions) > 1:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return optuna.importance.get_param_importances(study)


def write_best(
    study: Study, trial: FrozenTrial, space: Space, settings: SearchSettings, folder: Path
) -> Path:
    """Write the overrides of a trial, without its seeds, as a file that `@file` reads.

    It is `best.yaml`, or of several objectives one file for each trial of the front.
    """
    many = len(settings.metrics) > 1
    path = folder / (f"best-trial{trial.number:04d}.yaml" if many else "best.yaml")
    overrides = [
        each for each in space.overrides(trial.params) if each.split("=")[0] != REPLICATE_KEY
    ]
    found = ", ".join(
        f"{metric} {value:.4g}"
        for metric, value in zip(settings.metrics, trial.values, strict=True)
    )
    statistic = settings.objective.replace("_", " ")
    over = f", the {statistic} over seeds {', '.join(space.replicates)}" if space.replicates else ""
    text = (
        f"# Trial {trial.number} of study {study.study_name}: {found}{over}.\n"
        f"# Run it again: {_again(path, space)}\n" + yaml.safe_dump(overrides, width=1000)
    )
    write_atomically(path, text.encode())
    return path


def _again(path: Path, space: Space) -> str:
    """The command that repeats a trial with seeds the search has not used."""
    used = [int(seed) for seed in space.replicates if seed.isdecimal()]
    first, num = max(used, default=0) + 1, max(len(space.replicates), 3)
    return f"resetrl train -m {shlex.quote(f'@{_near(path)}')} 'seed=range({first},{first + num})'"


def _near(path: Path) -> Path:
    """The path from here, if it lies below."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _print_commands(
    study: Study, space: Space, storage: str, folder: Path, best: Path, console: Console
) -> None:
    name, address = shlex.quote(study.study_name), shlex.quote(redacted(storage))
    commands = {
        "fresh seeds": _again(best, space),
        "more trials": f"resetrl train -m sweep.resume={_near(folder)} "
        "hydra.sweeper.n_trials=... (all in all)",
        "all trials": f"optuna trials --study-name {name} --storage {address}",
    }
    for label, command in commands.items():  # no table: a command must not be broken into lines
        console.print(f"{label}  {command}", markup=False, highlight=False, soft_wrap=True)
