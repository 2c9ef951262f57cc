"""A run of one step, with a checkpoint: what `eval` and `correct` are given."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from resetrl.run.command import train

    folder = tmp_path_factory.mktemp("runs") / "trained"
    options = [
        "steps=1",
        "prompts_per_step=2",
        "task.min_hard=1",
        "evaluation.problems=12",
        "limits.max_completion_len=160",
        "tracking.enabled=false",
        f"hydra.run.dir={folder}",
    ]
    train(options, multirun=False, cfg=False, choices=False)
    return folder
