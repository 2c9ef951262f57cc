"""The options of `resetrl eval` and `resetrl correct`: schemas; the values are in conf/."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from resetrl.errors import ConfigError
from resetrl.models import ModelConfig
from resetrl.run.compose import Primary
from resetrl.run.config import LimitsConfig, SamplingConfig
from resetrl.run.tracking import TrackingConfig
from resetrl.types import Sampling


@dataclass
class AnsweringConfig:
    """What both commands need to have held-out problems answered.

    run, step, weights: the run folder whose newest checkpoint answers, the training step of that
        checkpoint and the hash of its parameters; empty for a model that is no checkpoint.
    seed: from which every random choice is derived; not the run seed of training.
    problems: how many held-out problems of a task, 0 for all.
    verifier_timeout: seconds that verifying one rollout may take.
    sampling: how completions are drawn that are not greedy.
    out: the folder to write to; empty for one named by what is computed.
    """

    run: str = ""
    step: int = 0
    weights: str = ""
    seed: int = 0
    task: Any = None
    problems: int = 0
    model: ModelConfig = field(default_factory=ModelConfig)
    engine: Any = None
    verifier: Any = None
    verifier_timeout: float = 60.0
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    out: str = ""
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    num_threads: int = 1
    plugin_paths: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name, least in (("seed", 0), ("problems", 0), ("num_threads", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}: choose at least {least}")
        if not self.verifier_timeout > 0:
            raise ValueError(f"verifier_timeout is {self.verifier_timeout}: choose more than 0")


@dataclass
class EvalConfig(AnsweringConfig):
    """The options of `resetrl eval`.

    suite: several tasks in place of one, `{name: ..., tasks: {label: {name: ..., options}}}`.
    samples: completions sampled of each problem besides the greedy one, 0 for none.
    k: the k of pass@k and maj@k; empty for the powers of two up to `samples`, and `samples`.
    chunk: completions asked of the engine at once; what is done is kept after each chunk.
    """

    suite: Any = None
    samples: int = 8
    k: list[int] = field(default_factory=list)
    chunk: int = 1024

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.samples < 0 or self.chunk < 1:
            raise ConfigError(
                f"samples is {self.samples} and chunk is {self.chunk}: choose 0 or more samples "
                "and a chunk of at least 1"
            )
        if self.samples > 1 and self.sampling.temperature == 0:
            raise ConfigError(
                "sampling.temperature is 0: the samples would all be the greedy completion; "
                "choose a value above 0, or samples=0"
            )
        wrong = [k for k in self.k if not 1 <= k <= self.samples]
        if wrong:
            raise ConfigError(
                f"k={wrong[0]} with samples={self.samples}: pass@k needs at least k samples of a "
                "problem; raise samples or lower k"
            )

    @property
    def ks(self) -> list[int]:
        """The k of pass@k and maj@k in rising order: `[1, 2, 4, 6]` of 6 samples by default."""
        if self.k or not self.samples:
            return sorted(set(self.k))
        powers = [2**power for power in range(self.samples.bit_length())]
        return sorted({*powers, self.samples})


@dataclass
class SelfVerificationConfig:
    """How the policy is asked whether its own answer is right, and how it replies.

    prompt: a preset of `resetrl.prompts`, or the path of a template.
    """

    prompt: str = "thoughts"
    temperature: float = 0.0
    top_p: float = 1.0
    max_reply_len: int = 2048

    def __post_init__(self) -> None:
        Sampling(self.temperature, self.top_p)
        if self.max_reply_len < 1:
            raise ConfigError(
                f"self_verification.max_reply_len is {self.max_reply_len}: choose at least 1"
            )


@dataclass
class CorrectConfig(AnsweringConfig):
    """The options of `resetrl correct`.

    reset_selector: chooses the thought to go back to.
    rounds: how often at most an answer that is not accepted is gone back into.
    stop: who accepts an answer: `verifier`, the task's own verdict, which makes the result an
        upper bound, or `self`, the policy's own word.
    first: how the first answers are drawn, greedily by default.
    """

    reset_selector: Any = None
    rounds: int = 3
    stop: str = "verifier"
    first: SamplingConfig = field(default_factory=lambda: SamplingConfig(0.0, 1.0))
    self_verification: SelfVerificationConfig = field(default_factory=SelfVerificationConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rounds < 1:
            raise ConfigError(f"rounds is {self.rounds}: choose at least 1")
        if self.stop not in ("verifier", "self"):
            raise ConfigError(f"stop is {self.stop!r}: choose verifier or self")
        if self.sampling.temperature == 0:
            raise ConfigError(
                "sampling.temperature is 0: a greedy suffix repeats what it was to correct; "
                "choose a value above 0, such as 0.7"
            )
        untrained = self.model.prompt == "tiny" and self.self_verification.prompt == "thoughts"
        if self.stop == "self" and untrained:
            raise ConfigError(
                "stop=self asks the policy whether its own answer is right, which the built-in "
                "tiny policy never learned to say: choose stop=verifier or another model, or "
                "give a template that yours was trained on as self_verification.prompt=PATH"
            )


EVAL = Primary("eval", EvalConfig)
CORRECT = Primary("correct", CorrectConfig)
