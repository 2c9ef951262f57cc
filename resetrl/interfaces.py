"""What the step asks of each component: one method each where possible.

A component is a plain dataclass whose fields are its options; what exists only while a run goes
on (a model, a policy, the task) is an argument. Register one through `resetrl.hookspecs`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from resetrl.ranks import Ranks
from resetrl.types import (
    Completion,
    Limits,
    Problem,
    Prompt,
    Purpose,
    Request,
    Rollout,
    Sampled,
    Selection,
    TokenBatch,
    Update,
    Verdict,
)

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from resetrl.meter import Meter
    from resetrl.method import Method, Session


@dataclass
class EngineCounters:
    """What an engine has done since it started; only ever grows."""

    requests: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0


class Policy(Protocol):
    """The model as a sampler."""

    counters: EngineCounters

    def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """The completions of all requests, in their order, generated together."""
        ...

    def sync(self, learner: Learner) -> bool:
        """Draw from the learner's present parameters from now on; False if it always reads them.

        What was cached under older ones is forgotten. Every rank calls it, as `learner.weights()`
        is to be exhausted on every rank. Raises `resetrl.errors.SyncError` where parameters are
        missing or left over.
        """
        ...


@runtime_checkable
class Sleeper(Protocol):
    """A policy that may share its device with the learner and can give its memory up meanwhile."""

    def sleep(self) -> None:
        """Give weights and caches up; the next `sync` wakes it. Does nothing if it shares none."""
        ...


class Learner(Protocol):
    """The model as parameters and optimizer.

    `num_parameters` counts what a token passes through, `num_trained_parameters` what of it has
    a gradient.
    """

    num_parameters: int
    num_trained_parameters: int

    def update(self, batch: TokenBatch, loss: Loss) -> Update:
        """One optimizer step on the whole batch.

        Raises `resetrl.errors.TrainingError`, with parameters unchanged, if loss or gradient
        is not finite, or if the loss needs a reference that was not kept.
        """
        ...

    def trains(self, model: PreTrainedModel) -> bool:
        """Whether updates change this very model, whole and in place, so that it is never stale."""
        ...

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Every parameter whole, under its name in the Hugging Face state dict, one at a time.

        Tied ones come under each of their names. Every rank iterates, in the same order; what is
        yielded is good until the next one.
        """
        ...

    def logprobs(self, batch: TokenBatch) -> Tensor:
        """Log-probabilities [R, T] of the batch's tokens under the present parameters."""
        ...

    def save(self, folder: Path) -> None:
        """Write parameters and optimizer state into an existing empty folder."""
        ...

    def load(self, folder: Path) -> None:
        """Restore what `save` wrote, to the last bit."""
        ...


class Verifier(Protocol):
    """Maps rollouts to verdicts."""

    def verify(self, rollouts: Sequence[Rollout]) -> list[Verdict]:
        """One verdict a rollout, in order."""
        ...


@runtime_checkable
class ExampleVerifier(Protocol):
    """A verifier that reads more of a problem than its reference, and shows how that looks."""

    def example(self) -> Problem:
        """A problem for the contract: a rollout with its reference in a box is correct."""
        ...


@runtime_checkable
class LimitedVerifier(Protocol):
    """A verifier with time limits of its own, so that many hard rollouts may take long."""

    def longest(self, rollouts: Sequence[Rollout]) -> float:
        """Seconds that `verify` of these may take by its own limits; it is not interrupted before.

        `resetrl.worker_pool.WorkerPool.longest` knows it for verifiers that use workers.
        """
        ...


@runtime_checkable
class TaggedVerifier(Protocol):
    """A verifier that depends on the machine, and says so in the tags of a run."""

    def tags(self) -> Mapping[str, str]:
        """Tags such as `sandbox_level`; asked for before anything is trained, so it may refuse."""
        ...


class Task(Protocol):
    """A source of problems with its verifier."""

    def problems(self, purpose: Purpose) -> Sequence[Problem]:
        """The fixed, ordered problems to train on or to evaluate on; the two never overlap.

        May be computed on access, so that a large set costs nothing until it is read.
        """
        ...

    def verifier(self) -> Verifier:
        """The verifier of this task, used unless the run names another."""
        ...


@runtime_checkable
class StepChecker(Protocol):
    """A task that knows which thought is the first wrong one (the oracle of the method)."""

    def first_wrong_thought(self, problem: Problem, thoughts: Sequence[str]) -> int | None:
        """1-based number of the first wrong thought (delimiters stripped), None if none is."""
        ...


@dataclass(frozen=True)
class SelectorContext:
    """What a reset selector may use besides the seeds.

    `rng_seed(rollout, purpose)` gives the seed of every random choice about a rollout, so that a
    resumed or re-batched run chooses the same. `delimiter` closes each thought's text.
    `localization_prompt` is the model's own preset, for selectors that ask the policy.
    """

    policy: Policy
    tokenizer: PreTrainedTokenizerBase
    task: Task
    delimiter: str
    localization_prompt: str
    rng_seed: Callable[[Rollout, str], int]


class ResetSelector(Protocol):
    """Chooses the reset state of each seed."""

    def select(self, seeds: Sequence[Rollout], context: SelectorContext) -> list[Selection]:
        """One selection a seed, in order; thoughts are 1-based and lie within the seed.

        A run calls it once without seeds before anything is generated, so that a selector which
        cannot work with the task or model can refuse at once.
        """
        ...


class Sampler(Protocol):
    """A whole rollout strategy: what is generated from a step's prompts, and what of it trained.

    The built-in one is `resetrl.step.Resets`, which GRPO, RRPO, SRPO and the oracle share; others
    are for algorithms that no split describes. One may also have `SelfEvaluation.evaluate`.
    """

    @property
    def budget(self) -> int:
        """Rollouts trained a prompt; must equal the run's `budget`.

        Parts that are trained on their own (`stop="unfinished"`) do not count.
        """
        ...

    def sample(
        self, step: int, prompts: Sequence[Prompt], method: Method, session: Session, meter: Meter
    ) -> Sampled:
        """Generate, verify and group rollouts of all prompts, each wave in one engine call.

        `resetrl.waves.sample_wave` does one wave; its purpose is the ledger's phase. Whatever else
        asks the policy stands in `with meter.phase(name):`; other random choices come from
        `resetrl.rng.derive_seed(session.run_seed, step, prompt.uid, purpose, index)`.

        A run calls it once without prompts before anything is generated, so that a sampler which
        cannot work with the task or model can refuse at once.
        """
        ...


@runtime_checkable
class SelfEvaluation(Protocol):
    """A sampler that goes on in evaluations where others end: with a second turn, for instance."""

    def evaluate(
        self,
        answers: Sequence[tuple[Rollout, Verdict]],
        method: Method,
        session: Session,
        meter: Meter,
    ) -> Mapping[str, float]:
        """Metrics of its own, `second_turn_accuracy` for `eval/second_turn_accuracy`.

        `answers` are the plain ones to all held-out problems; `method` holds the evaluation's
        sampling instead of the training's. Whatever asks the policy stands in the phase
        `evaluate`, as `sample_wave("evaluate", 0, ...)` does; no choice depends on the step.
        """
        ...


class Loss(Protocol):
    """The objective, as a mean over the whole optimizer step."""

    @property
    def ignores_zero_advantage(self) -> bool:
        """True if a rollout of advantage 0 adds nothing to the gradient, so that the learner may
        leave out its forward pass; the counts in the batch keep counting it. A ClassVar will do.
        """
        ...

    @property
    def needs_reference(self) -> bool:
        """True if `batch.reference`, the initial policy's log-probabilities, must be there; the
        learner then keeps a copy of the initial parameters. A ClassVar will do.
        """
        ...

    def loss(self, logprobs: Tensor, batch: TokenBatch) -> tuple[Tensor, Mapping[str, float]]:
        """This part's share of the loss (a scalar) and metrics that add up over the parts.

        `logprobs` [R, T] are the learner's, with gradient, of the temperature-scaled
        distribution. Normalise by `batch.num_rollouts` and `batch.num_loss_tokens`, which count
        the whole optimizer step: then no micro-batch or rank can change the gradient.
        """
        ...


class Engine(Protocol):
    """The component behind `engine=`: starts a policy."""

    def start(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        delimiter: str,
        ranks: Ranks,
    ) -> Policy:
        """A policy of the model's parameters, which draws for this one of the ranks.

        Every rank of a run calls it. Most engines start one of their own on each, and leave
        `ranks` aside.
        """
        ...


@runtime_checkable
class ModelChecker(Protocol):
    """An engine that can tell from a model's configuration, or none at all, that it will not do."""

    def check(self, config: PretrainedConfig, device: str, ranks: Ranks) -> None:
        """Called before any parameter is read; raises ConfigError with the setting to change.

        The model will lie on `device`, as in `cuda:1`. Every rank of a run calls it.
        """
        ...


class LearnerSpec(Protocol):
    """The component behind `learner=`: starts a learner."""

    def start(self, model: PreTrainedModel, keep_reference: bool = False) -> Learner:
        """A learner of the model's parameters.

        With `keep_reference` it keeps their values of this moment, which are the initial ones
        also where a checkpoint is loaded next, and puts `reference_logprobs` into the batches of
        losses that need them.
        """
        ...


@runtime_checkable
class Distributed(Protocol):
    """A learner spec whose learners train over several processes, each with its own batch.

    Their `update` then steps on the batches of all ranks: loss, metrics and tokens it returns are
    this rank's share, the gradient norm is that of all. Every rank makes the same calls, also with
    a batch of no rows; `save` is for all to call, and for rank 0 to write.
    """

    def check_installed(self) -> None:
        """Raise ConfigError if a package is missing; called before anything is loaded."""
        ...


__all__ = [
    "Distributed",
    "Engine",
    "EngineCounters",
    "ExampleVerifier",
    "Learner",
    "LearnerSpec",
    "LimitedVerifier",
    "Limits",
    "Loss",
    "ModelChecker",
    "Policy",
    "Prompt",
    "ResetSelector",
    "Sampler",
    "SelectorContext",
    "SelfEvaluation",
    "Sleeper",
    "StepChecker",
    "TaggedVerifier",
    "Task",
    "Verifier",
]
