"""Simulated runs for the tests of `resetrl compare`: as records, and as run folders.

Nothing is trained: accuracies are given, answers agree with them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from resetrl.compare.records import RunData
from resetrl.run.context import Evaluation
from resetrl.run.rollouts import write_evaluation
from resetrl.run.tracking.facts import flat_params
from resetrl.run.tracking.journal import Journal, JournalRecord
from resetrl.run.tracking.spool import RunFile, TrackedRun
from resetrl.testing.fakes import make_rollout
from resetrl.types import Problem, Prompt, Rollout, Verdict

PROBLEMS = 10


def run_data(
    method: str = "srpo",
    seed: int = 0,
    values: Sequence[float] = (0.2, 0.5, 0.8),
    *,
    every: int = 20,
    status: str = "FINISHED",
    params: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
    tokens: float = 1000.0,
    answers: Sequence[float] = (),
) -> RunData:
    """A run evaluated every so many steps; `answers` are the scores of problems p0, p1, ..."""
    steps = tuple(every * place for place in range(len(values)))
    return RunData(
        run_id=f"{method}-{seed}",
        name=f"{method}-seed{seed}",
        status=status,
        tags={"method": method, "seed": str(seed), "eval_set": "e1", **(tags or {})},
        params={"seed": str(seed), "task.name": "chain", **(params or {})},
        steps=steps,
        xs=tuple(map(float, steps)),
        values=tuple(values),
        totals={"rollouts": 100.0, "generated_tokens": tokens},
        answers={f"p{place}": score for place, score in enumerate(answers)},
        answers_step=steps[-1] if answers else -1,
        problems="e1" if answers else "",
    )


def write_run(
    folder: Path,
    method: str,
    seed: int,
    accuracies: Sequence[float] = (0.2, 0.5, 0.8),
    *,
    status: str = "FINISHED",
    tags: Mapping[str, str] | None = None,
    uri: str = "sqlite:///nowhere.db",
) -> Path:
    """A run folder as training leaves it: journal, tracking.json, answers to ten problems."""
    config = {"method": method, "seed": seed, "task": {"name": "chain", "min_hard": 2}}
    run = TrackedRun(
        key=f"{method}-{seed}",
        name=folder.name,
        uri=uri,
        experiment="resetrl",
        started=1.7e9 + seed,
        status=status,  # type: ignore[arg-type]
        ended=1.7e9 + 100,
        params=flat_params(config),
        tags={
            "method": method,
            "task": "chain",
            "seed": str(seed),
            "resetrl.run_dir": str(folder),
            "git_commit": "a" * 40,
            "git_dirty": "false",
            **(tags or {}),
        },
    )
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(f"method: {method}\nseed: {seed}\n")
    RunFile(folder, run).change(lambda same: same)
    journal = Journal(folder / "metrics.jsonl", 0)
    for step in range(20 * (len(accuracies) - 1) + 1):
        metrics = {"total/generated_tokens": 50.0 * step, "total/rollouts": 8.0 * step}
        if step % 20 == 0:
            evaluation = _evaluation(step, accuracies[step // 20])
            write_evaluation(folder, evaluation)
            metrics |= {"eval/accuracy": evaluation.accuracy, "eval/reward": evaluation.reward}
        journal.append(JournalRecord(step, 1.7e9 + step, metrics))
    journal.close()
    return folder


def _evaluation(step: int, accuracy: float) -> Evaluation:
    """Ten problems, of which the first are right."""
    judged = []
    for place in range(PROBLEMS):
        problem = Problem(f"p{place}", f"{place} + 1", str(place + 1))
        completion = make_rollout(["\\boxed{1}"]).completion
        is_right = place < round(accuracy * PROBLEMS)
        rollout = Rollout(Prompt(problem, (1, 2)), completion)
        judged.append((rollout, Verdict(float(is_right), is_right, {})))
    return Evaluation(step, accuracy, accuracy, judged, 1.0)
