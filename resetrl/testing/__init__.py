"""What plugin authors test with: a contract for each kind of component, and fakes.

`check_reset_selector(MySelector())` and its like raise AssertionError with the reason; they need
no pytest. The fakes make prompts, rollouts, policies and tasks from literal values.
"""

from resetrl.testing.contracts import (
    check_engine,
    check_learner,
    check_loss,
    check_reset_selector,
    check_sampler,
    check_split,
    check_task,
    check_verifier,
    contract_for,
)
from resetrl.testing.fakes import (
    FakeLoss,
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
from resetrl.testing.llama import random_llama, word_level_tokenizer

__all__ = [
    "FakeLoss",
    "FakeTask",
    "FakeTokenizer",
    "RecordingLearner",
    "ScriptedPolicy",
    "check_engine",
    "check_learner",
    "check_loss",
    "check_reset_selector",
    "check_sampler",
    "check_split",
    "check_task",
    "check_verifier",
    "contract_for",
    "make_completion",
    "make_context",
    "make_problems",
    "make_prompt",
    "make_rollout",
    "random_llama",
    "word_level_tokenizer",
]
