"""What is compared: runs with their curves, and the question. All of it fits into report.json."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from resetrl.errors import ResetrlError

At = Literal["last", "best", "auc"]
ATS: tuple[str, ...] = get_args(At)

AXES: Mapping[str, str] = {
    "step": "training step",
    "rollouts": "rollouts drawn",
    "generated_tokens": "generated tokens",
    "seconds": "seconds spent in steps",
    "flops": "FLOPs (estimated)",
}
"""What curves can be drawn against: the step, or a column of the ledger."""

COSTS = ("rollouts", "generated_tokens", "seconds", "flops")


class CompareError(ResetrlError):
    """There is nothing to compare, or not as asked."""


@dataclass(frozen=True)
class RunData:
    """A run as it is compared: what it is, its curve, its cost, its answers.

    Evaluation k was after step `steps[k]`, at `xs[k]` of the chosen axis, and gave `values[k]`.
    `totals` are the ledger's columns at the end. `answers` holds the score of each held-out
    problem by uid in the evaluation after `answers_step`, if it is known; `problems` is a hash of
    those problems, "" if unknown; `problem` says what could not be read.

    Example: `RunData("4be1...", "srpo-seed0", "FINISHED", {"method": "srpo"}, {"seed": "0"},
    (0, 20), (0.0, 20.0), (0.41, 0.76), {"generated_tokens": 81234.0}, {"chain-eval-0": 1.0}, 20)`
    """

    run_id: str
    name: str
    status: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    steps: tuple[int, ...]
    xs: tuple[float, ...]
    values: tuple[float, ...]
    totals: Mapping[str, float] = field(default_factory=dict)
    answers: Mapping[str, float] = field(default_factory=dict)
    answers_step: int = -1
    problems: str = ""
    problem: str = ""

    def fact(self, name: str) -> str | None:
        """A tag, a parameter, or the name of a component: what `--by` can group by."""
        for facts, key in (
            (self.tags, name),
            (self.params, name),
            (self.params, f"{name}.name"),
        ):
            if key in facts:
                return facts[key]
        return None

    @property
    def run_seed(self) -> str | None:
        return self.fact("seed")

    def place(self, at: At) -> int:
        """Which evaluation `last` or `best` (the first of equals) is."""
        return self.values.index(max(self.values)) if at == "best" else len(self.values) - 1

    def scores(self, at: At) -> Mapping[str, float]:
        """The answers of the evaluation that counts; none if other ones are known, or a mean."""
        known = at != "auc" and self.steps[self.place(at)] == self.answers_step
        return self.answers if known else {}


@dataclass(frozen=True)
class Question:
    """What is asked of the runs.

    Runs are grouped by the factors `by`; `baseline` is the value of one factor or, separated by
    commas, of several; if empty, nothing is compared with it. `source` says where the runs are
    from, `created` when they were read, `version` by which resetrl.
    """

    by: tuple[str, ...] = ("method",)
    baseline: str = ""
    metric: str = "eval/accuracy"
    x: str = "step"
    at: At = "last"
    threshold: float | None = None
    source: str = ""
    created: str = ""
    version: str = ""

    def __post_init__(self) -> None:
        if self.x not in AXES:
            raise CompareError(f"--x {self.x} is no axis: choose {', '.join(AXES)}")
        if self.at not in ATS:
            raise CompareError(f"--at {self.at} is unknown: choose {', '.join(ATS)}")
        if not self.by or not all(self.by):
            raise CompareError("--by is empty: name a tag or parameter, for example --by method")


def to_json(question: Question, runs: Sequence[RunData]) -> dict[str, Any]:
    """Question and runs as plain data."""
    data = {"question": asdict(question), "runs": [asdict(run) for run in runs]}
    return {name: plain(value) for name, value in data.items()}


def plain(value: Any) -> Any:
    """The value as JSON has it: numbers that are not finite become `"nan"` and `"inf"`."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value


def from_json(data: Mapping[str, Any]) -> tuple[Question, list[RunData]]:
    """What `to_json` made; raises LookupError, TypeError or ValueError on anything else."""
    question = data["question"]
    return Question(**{**question, "by": tuple(question["by"])}), [
        _run(row) for row in data["runs"]
    ]


def _run(row: Mapping[str, Any]) -> RunData:
    columns = {name: tuple(map(float, row[name])) for name in ("xs", "values")}
    totals = {name: float(value) for name, value in row["totals"].items()}
    return RunData(**{**row, **columns, "steps": tuple(row["steps"]), "totals": totals})
