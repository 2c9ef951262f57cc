"""What plugin authors test with: fakes of the interfaces and a contract for each kind."""

from resetrl.testing.fakes import (
    FakeTask,
    FakeTokenizer,
    RecordingLearner,
    ScriptedPolicy,
    make_completion,
    make_context,
    make_problems,
    make_prompt,
    make_rollout,
)

__all__ = [
    "FakeTask",
    "FakeTokenizer",
    "RecordingLearner",
    "ScriptedPolicy",
    "make_completion",
    "make_context",
    "make_problems",
    "make_prompt",
    "make_rollout",
]
