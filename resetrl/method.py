"""What a step is given: the method (an algorithm's components) and the session it works in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from resetrl.advantages import Scale, binarise
from resetrl.interfaces import Learner, Loss, Policy, Sampler, SelectorContext, Task, Verifier
from resetrl.ranks import ALONE, Ranks
from resetrl.rng import derive_seed
from resetrl.types import Limits, Rollout, Sampling, Verdict
from resetrl.updates import Updates

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Method:
    """The components and options that make an algorithm.

    `advantage` scales rewards inside a group; `binarise_rewards` holds for every split alike;
    `mask_prefix=False` also trains the prefix of a reset group (the no-mask ablation).
    `updates` says how many optimizer steps the rollouts of a step are for.
    """

    sampler: Sampler
    loss: Loss
    advantage: Scale
    binarise_rewards: bool
    mask_prefix: bool
    sampling: Sampling
    limits: Limits
    updates: Updates = field(default_factory=Updates)

    def rewards(self, verdicts: Sequence[Verdict]) -> list[float]:
        """The rewards to be compared: the verdicts' own, or binarised where the run wants that."""
        rewards = [verdict.reward for verdict in verdicts]
        return binarise(rewards) if self.binarise_rewards else rewards


@dataclass(frozen=True)
class Inference:
    """What asking a policy and judging its rollouts takes, without training anything.

    `localization_prompt` is the model's preset for questions about its own rollouts. `chat` says
    whether completion prompts are wrapped by the chat template; `context_len` are the tokens that
    prompt and completion may have together, None if that is not known.
    """

    policy: Policy
    verifier: Verifier
    task: Task
    tokenizer: PreTrainedTokenizerBase
    delimiter: str
    localization_prompt: str
    run_seed: int
    chat: bool = field(default=False, kw_only=True)
    context_len: int | None = field(default=None, kw_only=True)

    def selector_context(self, step: int) -> SelectorContext:
        """What a reset selector may use in a step."""
        return SelectorContext(
            policy=self.policy,
            tokenizer=self.tokenizer,
            task=self.task,
            delimiter=self.delimiter,
            localization_prompt=self.localization_prompt,
            rng_seed=partial(_selection_seed, self.run_seed, step),
        )


@dataclass(frozen=True)
class Session(Inference):
    """What a step works with besides: the model as policy and as learner, the judge, the seed.

    `sync_tolerance` is how far, in nats a token, a policy with parameters of its own may be off
    the learner's log-probabilities after a weight sync. `ranks` are the processes that share the
    prompts of a step.
    """

    learner: Learner
    sync_tolerance: float = field(default=1e-3, kw_only=True)
    ranks: Ranks = field(default=ALONE, kw_only=True)


def _selection_seed(run_seed: int, step: int, rollout: Rollout, purpose: str) -> int:
    return derive_seed(run_seed, step, rollout.prompt.uid, purpose, rollout.index)
