"""The records that travel through one training step, frozen and complete when they exist.

Reading order is the order of the step: a `Problem` is rendered to a `Prompt`, a policy answers a
`Request` with a `Completion`, prompt and completion are a `Rollout`, a verifier gives it a
`Verdict`, a failed rollout re-entered before one of its thoughts is a `ResetState`, rollouts that
may be compared with one another are a `Group`, a step's groups are `Sampled`, they become a
`TokenBatch`, the learner answers with an `Update`, and everything that happened is one
`StepRecord`.

Shapes: R rollouts, T tokens (prompt and completion, right-padded). No record imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from resetrl.errors import TrainingError

if TYPE_CHECKING:
    from torch import Tensor

StopReason = Literal["answer", "eos", "max_thoughts", "budget", "unfinished"]
Purpose = Literal["train", "eval"]


@dataclass(frozen=True)
class Problem:
    """What a task asks: `Problem("chain-17", "3+4*6", "2")`.

    `uid` is unique within the task and keys everything that is derived per prompt.
    `details` holds whatever else the task's verifier or step checker needs.
    """

    uid: str
    question: str
    reference: str
    details: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Prompt:
    """A problem as the token ids given to the policy: `Prompt(problem, (5, 14, 6, 2))`."""

    problem: Problem
    token_ids: tuple[int, ...]

    @property
    def uid(self) -> str:
        return self.problem.uid


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn; temperature 0 is greedy and top_p 1 keeps the whole distribution."""

    temperature: float = 0.7
    top_p: float = 0.95

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise ValueError(f"temperature is {self.temperature}: choose 0 (greedy) or more")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p}: choose a value above 0 and at most 1")


@dataclass(frozen=True)
class Limits:
    """When a completion ends (arXiv 2605.25507, app. on generation; all numbers are options).

    With `max_thoughts=0` the completion is a plain reply: no thought structure, it ends at EOS
    or after `max_completion_len` tokens. Otherwise see `resetrl.thoughts.CompletionBuilder`.
    """

    max_thoughts: int = 20
    max_thought_len: int = 256
    max_completion_len: int = 5120

    def __post_init__(self) -> None:
        if self.max_thoughts < 0 or self.max_thought_len < 1 or self.max_completion_len < 1:
            raise ValueError(
                f"max_thoughts={self.max_thoughts}, max_thought_len={self.max_thought_len}, "
                f"max_completion_len={self.max_completion_len}: lengths must be at least 1"
            )
        if self.max_thoughts and self.max_thought_len > self.max_completion_len:
            raise ValueError(
                f"max_thought_len {self.max_thought_len} exceeds max_completion_len "
                f"{self.max_completion_len}: no thought could start; raise the latter"
            )


@dataclass(frozen=True)
class Prefix:
    """Completion tokens re-entered at a reset state, with the log-probabilities of their drawing.

    `Prefix((8, 3, 9, 1), (-.1, -.2, -.1, 0.), (4,))` is one thought of four tokens.
    """

    token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    thought_ends: tuple[int, ...] = ()


@dataclass(frozen=True)
class Request:
    """One completion wanted from a policy.

    `rng_seed` alone determines the draws: the same request gives the same tokens in any batch.
    """

    prompt_ids: tuple[int, ...]
    rng_seed: int
    sampling: Sampling
    limits: Limits
    prefix: Prefix = Prefix()


@dataclass(frozen=True)
class Completion:
    """Tokens the policy produced for a prompt, a re-entered prefix included.

    `token_ids` and `logprobs` have equal length; `logprobs` are those of the temperature-scaled
    distribution the tokens were drawn from (top_p truncation is not modelled). Thought k
    (1-based) is `token_ids[thought_ends[k-2]:thought_ends[k-1]]`; tokens behind the last end can
    only be a closing EOS. `thoughts` are their texts, delimiter included. The first `prefix_len`
    tokens were re-entered, not drawn. `fragments` counts thoughts cut at the length limit.
    `unfinished` is a part of a rollout that a sampler trains on its own, as it goes on elsewhere.

    Example: `Completion((8, 3, 9, 1), (-.1, -.2, -.1, 0.), (4,), ("4*6=4</thought>",), "answer")`
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    thought_ends: tuple[int, ...]
    thoughts: tuple[str, ...]
    stop: StopReason
    text: str = ""
    prefix_len: int = 0
    fragments: int = 0

    @property
    def num_drawn(self) -> int:
        """Tokens drawn for this completion, the re-entered prefix left out."""
        return len(self.token_ids) - self.prefix_len

    @property
    def is_whole(self) -> bool:
        """Whether it ended, and is no part of a rollout that goes on elsewhere."""
        return self.stop != "unfinished"

    def first_thoughts(self, num: int) -> Prefix:
        """The first so many thoughts as stored ids: nothing is decoded and re-encoded."""
        end = self.thought_ends[num - 1] if num else 0
        return Prefix(self.token_ids[:end], self.logprobs[:end], self.thought_ends[:num])


@dataclass(frozen=True)
class Rollout:
    """One completion of one prompt; `index` counts the prompt's rollouts within the step.

    `role` is a sampler's word for the part a rollout plays, which its loss may ask for, such as
    `second_turn`; plain rollouts have none.
    """

    prompt: Prompt
    completion: Completion
    index: int = 0
    role: str = ""


@dataclass(frozen=True)
class Verdict:
    """What a verifier says of a rollout: `Verdict(1.0, True, {"extracted": "4"})`.

    `reward` is graded in [0, 1]; `correct` decides whether the rollout may become a seed.
    `details` says what was extracted and, where it failed, why. With an `error` the verifier
    itself failed: the rollout is neither right nor wrong, and is left out of its group.
    """

    reward: float
    correct: bool
    details: Mapping[str, object] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True)
class Selection:
    """Where a reset selector goes back to: before the 1-based `thought` of a seed.

    `status` is the selector's own word for how it came to its choice (`boxed`, `prose`,
    `defaulted`, `no_error`, `truncated` for self-localization); rates of each are logged.
    """

    thought: int
    status: str
    reply: str = ""


@dataclass(frozen=True)
class ResetState:
    """A seed re-entered just before one of its thoughts; thought 1 means the bare prompt."""

    seed: Rollout
    seed_verdict: Verdict
    selection: Selection

    @property
    def prefix(self) -> Prefix:
        """The seed's first h-1 thoughts."""
        return self.seed.completion.first_thoughts(self.selection.thought - 1)


@dataclass(frozen=True)
class Group:
    """Rollouts whose rewards may be compared: they share a prompt, or a reset state.

    `verdicts[i]` judges `rollouts[i]`. `kind` is `base`, `reset` (it alone has a reset state) or
    a sampler's own word. `shaped_rewards` take the place of the verdicts' rewards in advantages
    where a sampler shapes them; the verdicts keep the task's own.
    """

    kind: str
    rollouts: tuple[Rollout, ...]
    verdicts: tuple[Verdict, ...]
    reset_state: ResetState | None = None
    shaped_rewards: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if len(self.rollouts) != len(self.verdicts):
            raise ValueError(f"{len(self.rollouts)} rollouts but {len(self.verdicts)} verdicts")
        if (self.kind == "reset") != (self.reset_state is not None):
            raise ValueError(f"a {self.kind} group with reset_state={self.reset_state!r}")
        if self.shaped_rewards is not None and len(self.shaped_rewards) != len(self.rollouts):
            raise ValueError(
                f"{len(self.rollouts)} rollouts but {len(self.shaped_rewards)} shaped rewards"
            )

    @property
    def prompt(self) -> Prompt:
        return self.rollouts[0].prompt

    @property
    def rewards(self) -> tuple[float, ...]:
        return tuple(verdict.reward for verdict in self.verdicts)


@dataclass(frozen=True)
class Sampled:
    """What a sampler has gathered from the prompts of one step, each rollout with its verdict.

    `groups` are trained. `draws` holds every rollout drawn from a bare prompt, kept or discarded,
    and any other that is not trained; one that is trained is the same object in both. `metrics`
    are the sampler's own, flat and named like `draws/accuracy`. `left_out` is filled in by the
    step: rollouts whose group lost them because the verifier failed.
    """

    groups: Sequence[Group]
    draws: Sequence[tuple[Rollout, Verdict]]
    metrics: Mapping[str, float] = field(default_factory=dict)
    left_out: Sequence[tuple[Rollout, Verdict]] = ()


@dataclass(frozen=True)
class TokenBatch:
    """The rollouts of an optimizer step, or some of them, as tensors for the loss.

    Column t of every [R, T] tensor speaks of `token_ids[:, t]`; column 0 of log-probabilities is
    0, because nothing predicts the first token. Rows are prompt, completion, right padding.

    token_ids      int64   [R, T]
    attention_mask bool    [R, T]  true on prompt and completion
    loss_mask      bool    [R, T]  true on tokens that carry gradient
    old_logprobs   float32 [R, T]  under the policy that drew them, 0 outside the completion
    advantages     float32 [R]
    temperature            the one the completions were drawn at
    num_rollouts           N, rollouts of the whole optimizer step, not of this part of it
    num_loss_tokens        true entries of the whole optimizer step's loss mask
    uids                   the prompt of each row, for error messages
    roles                  the part each row plays in its sampler's strategy, mostly ""
    reference_logprobs     float32 [R, T] under the initial policy, temperature-scaled; None unless
                           the loss says that it needs them: then the learner fills them in
    """

    token_ids: Tensor
    attention_mask: Tensor
    loss_mask: Tensor
    old_logprobs: Tensor
    advantages: Tensor
    temperature: float
    num_rollouts: int
    num_loss_tokens: int
    uids: tuple[str, ...]
    roles: tuple[str, ...]
    reference_logprobs: Tensor | None = None

    @property
    def reference(self) -> Tensor:
        """`reference_logprobs`; raises TrainingError where there are none."""
        if self.reference_logprobs is None:
            raise TrainingError(
                "the loss asks for the initial policy's log-probabilities and the batch has none: "
                "let its needs_reference be True, and start the learner with keep_reference=True"
            )
        return self.reference_logprobs


@dataclass(frozen=True)
class Update:
    """What one optimizer step did: the loss, its metrics, the gradient norm before clipping.

    `learned_tokens` passed forward and backward, padding left out; `scored_tokens` passed only
    forward, through the initial policy. An update that had nothing to learn from has neither.
    """

    loss: float
    grad_norm: float
    metrics: Mapping[str, float] = field(default_factory=dict)
    learned_tokens: int = 0
    scored_tokens: int = 0


@dataclass(frozen=True)
class PhaseUsage:
    """The ledger's row for one phase of one step.

    `prompt_tokens` were computed, `cached_tokens` were taken from a cache or shared prefill;
    `generated_tokens` were drawn; `learned_tokens` passed the learner; `flops` is the estimate
    2 x parameters x tokens, 6 x for those learned from.
    """

    requests: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    seconds: float = 0.0
    flops: float = 0.0
    learned_tokens: int = 0


@dataclass(frozen=True)
class StepRecord:
    """Everything one training step did, for tracking, the ledger and `resetrl show`.

    `advantages[g][i]` belongs to `groups[g].rollouts[i]`. `draws` are those of `Sampled`.
    `metrics` are flat and named like `reward/mean`; `phases` maps draw, localize, suffix, verify,
    learn, sync, other, and whatever phases another sampler has, to their usage.
    """

    step: int
    groups: Sequence[Group]
    advantages: Sequence[Sequence[float]]
    draws: Sequence[tuple[Rollout, Verdict]]
    update: Update
    phases: Mapping[str, PhaseUsage]
    metrics: Mapping[str, float]
