"""What a run says of itself, as MLflow takes it: metrics, parameters, tags, a table. Pure, but
for the look at git and at the installed packages."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import resetrl
from resetrl.run.tracking.config import redacted
from resetrl.types import StepRecord

if TYPE_CHECKING:
    from resetrl.run.context import Evaluation, RunContext

MAX_PARAM_LEN = 6000
MAX_TAG_LEN = 5000
MAX_NAME_LEN = 250
RUN_FOLDER_TAG = "resetrl.run_dir"
TABLE_COLUMNS = (
    "uid",
    "question",
    "reference",
    "completion",
    "extracted",
    "correct",
    "reward",
    "tokens",
)


def step_record_metrics(record: StepRecord) -> dict[str, float]:
    """Everything a step measured: `reward/mean`, `update/loss`, `phase/draw/seconds` and so on."""
    update = {
        "loss": record.update.loss,
        "grad_norm": record.update.grad_norm,
        **record.update.metrics,
    }
    phases = {
        f"phase/{phase}/{column}": float(value)
        for phase, usage in record.phases.items()
        for column, value in asdict(usage).items()
    }
    updates = {f"update/{name}": float(value) for name, value in update.items()}
    return {**record.metrics, **updates, **phases}


def evaluation_metrics(evaluation: Evaluation) -> dict[str, float]:
    """`eval/accuracy` and so on, what the sampler added, `phase/evaluate/...`, and totals."""
    return {
        **{f"eval/{name}": value for name, value in evaluation.metrics.items()},
        "eval/accuracy": evaluation.accuracy,
        "eval/reward": evaluation.reward,
        "eval/seconds": evaluation.seconds,
        **{
            f"phase/evaluate/{column}": float(value)
            for column, value in asdict(evaluation.usage).items()
        },
        **evaluation.totals,
    }


def rollouts_table(evaluation: Evaluation) -> dict[str, object]:
    """The judged rollouts as MLflow's table format: `{"columns": [...], "data": [[...], ...]}`."""
    rows = []
    for rollout, verdict in evaluation.judged:
        problem, completion = rollout.prompt.problem, rollout.completion
        extracted = verdict.details.get("extracted")
        rows.append(
            [
                problem.uid,
                problem.question,
                problem.reference,
                completion.text,
                None if extracted is None else str(extracted),
                verdict.correct,
                verdict.reward,
                len(completion.token_ids),
            ]
        )
    return {"columns": list(TABLE_COLUMNS), "data": rows}


def mlflow_name(name: str) -> str:
    """A metric or parameter name MLflow takes: `pass@1` becomes `pass_1`.

    Letters, digits, `_ - . / :` and spaces stay; parts that a path would lose (`//`, `..`) go.
    """
    clean = re.sub(r"[^\w.\- :/]", "_", name, flags=re.ASCII)
    parts = [part for part in clean.split("/") if part.strip(".")]
    return "/".join(parts)[:MAX_NAME_LEN].rstrip("/") or "_"


def flat_params(config: Mapping[str, object]) -> dict[str, str]:
    """The resolved configuration as parameters: `{"sampling.temperature": "0.7"}`.

    Lists stay whole, as JSON. A value longer than MLflow takes is cut and says so.
    """
    flat: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            nested = flat_params({f"{key}.{inner}": each for inner, each in value.items()})
            flat.update(nested)
        else:
            flat[mlflow_name(key)] = cut(redacted(_text(value)), MAX_PARAM_LEN)
    return flat


def _text(value: object) -> str:
    plain = isinstance(value, Mapping | Sequence) and not isinstance(value, str)
    return json.dumps(value, default=str) if plain else str(value)


def cut(text: str, length: int) -> str:
    """The text, or its beginning and ` ... [cut from 7021 characters]` in at most `length`."""
    if len(text) <= length:
        return text
    mark = f" ... [cut from {len(text)} characters]"
    return text[: length - len(mark)] + mark


def run_tags(run: RunContext, directory: Path) -> dict[str, str]:
    """What a run is found and compared by: method, split, seed, code, plugins, folder, versions.

    `directory` is where the command was started; its git commit is taken if resetrl itself is no
    git checkout.
    """
    config = run.config
    tags = {
        "method": _name(config.get("method")),
        "split": _name(config.get("split")),
        "task": _name(config.get("task")),
        "dataset_hash": _option(config.get("task"), "sha256"),
        "seed": str(config.get("seed", "")),
        "plugins": json.dumps(list(map(dict, run.plugins)), separators=(",", ":")),
        RUN_FOLDER_TAG: str(run.folder.resolve()),
        "mlflow.source.name": "resetrl train",
        "mlflow.source.type": "LOCAL",
        **code_tags(directory),
    }
    return {name: cut(value, MAX_TAG_LEN) for name, value in tags.items() if value}


def code_tags(directory: Path) -> dict[str, str]:
    """Versions, and the git commit where there is one."""
    versions = {
        "version.resetrl": resetrl.__version__,
        "version.python": platform.python_version(),
        "version.torch": _version("torch"),
    }
    return {name: value for name, value in versions.items() if value} | git_tags(directory)


def _name(component: object) -> str:
    """A component's name, whether the configuration holds it bare or with its options."""
    if isinstance(component, Mapping):
        component = component.get("name")
    return "" if component is None else str(component)


def _option(component: object, option: str) -> str:
    return str(component.get(option, "")) if isinstance(component, Mapping) else ""


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def git_tags(directory: Path) -> dict[str, str]:
    """Commit and dirt of the checkout that holds resetrl, else of `directory`, else nothing."""
    package = Path(resetrl.__file__).parent
    tracked = _git(package, "ls-files", "--error-unmatch", "__init__.py")
    checkout = package if tracked is not None else directory
    commit = _git(checkout, "rev-parse", "HEAD")
    changes = _git(checkout, "status", "--porcelain", "--untracked-files=no")
    if commit is None or changes is None:
        return {}
    dirty = str(bool(changes)).lower()
    return {"git_commit": commit, "git_dirty": dirty, "mlflow.source.git.commit": commit}


def _git(directory: Path, *arguments: str) -> str | None:
    """What git prints, None if it is not installed, fails, or takes longer than 5 seconds."""
    try:
        done = subprocess.run(
            ["git", "-C", str(directory), *arguments],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
