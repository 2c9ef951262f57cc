"""A training step on a published data set."""

from __future__ import annotations

from pathlib import Path

from published import FOLDER

from resetrl.run.command import train
from resetrl.run.rollouts import read_evaluation, read_groups


def test_a_policy_trains_on_the_problems_and_is_evaluated_on_those_held_out(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "run"
    options = [
        "task=strategyqa",
        f"task.folder={FOLDER}",
        "steps=1",
        "prompts_per_step=2",
        "limits.max_completion_len=24",
        "limits.max_thought_len=24",
        "tracking.enabled=false",
        f"hydra.run.dir={folder}",
    ]
    train(options, multirun=False, cfg=False, choices=False)
    groups = read_groups(folder / "rollouts" / "step_000001.jsonl.gz")
    assert {saved.group.prompt.problem.reference for saved in groups} <= {"yes", "no"}
    answers = read_evaluation(folder / "evaluations" / "step_000001.jsonl.gz")
    assert [answer.uid for answer in answers] == [f"strategyqa-b{n:02d}" for n in range(4)]
