"""What the parent run of a search says of its study, where MLflow has such a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from optuna.study import Study
from rich.console import Console

from resetrl.run.tracking.config import redacted
from resetrl.run.tracking.spool import RUN_FILE, RunFile, read_run
from resetrl.run.tracking.store import Store, StoreUnavailable, store_errors
from resetrl.sweep.optuna_summary import best_trials


def study_tags(study: Study, storage: str) -> dict[str, str]:
    """Study, storage, best trial and its value; of a Pareto front all of them, by commas.

    Example: `{"optuna.study": "rate", "optuna.best_trial": "7", "optuna.best_value": "0.73", ...}`
    """
    trials = best_trials(study)
    best = trials if len(study.directions) > 1 else trials[:1]
    return {
        "optuna.study": study.study_name,
        "optuna.storage": redacted(storage),
        "optuna.best_trial": ", ".join(str(trial.number) for trial in best),
        "optuna.best_value": ", ".join(
            " ".join(f"{value:.6g}" for value in trial.values) for trial in best
        ),
    }


def tag_parent(folder: Path, tags: dict[str, str], console: Console) -> None:
    """Give the tags to the run that a sweep folder stands for, if it stands for one.

    What the store does not take stays in the folder, to be sent by `resetrl tracking sync`.
    """
    if not (folder / RUN_FILE).exists():
        return
    file = RunFile(folder, read_run(folder))
    file.change(lambda run: replace(run, tags={**run.tags, **tags}))
    if not file.run.run_id:
        return
    try:
        client = Store(file.run.uri).connect()
        with store_errors():
            for name, value in tags.items():
                client.set_tag(file.run.run_id, name, value)
    except StoreUnavailable as error:
        console.print(f"MLflow did not take the study's tags ({error})", style="yellow")
