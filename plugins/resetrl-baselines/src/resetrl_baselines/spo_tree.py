"""SPO-Tree: credit for segments from a tree of rollouts (Guo et al., arXiv 2505.23564, sec. 5).

From the prompt several first segments are drawn, from each of them several second ones, and so on;
the last go on to the end. A node is worth the mean of its children, a leaf its reward, and a
segment's advantage is its node's value less the mean of its siblings' (`advantage=mean_only`). A
segment is one row of the batch behind the path to it, so one that leaves share is trained once.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, ClassVar

from resetrl.ask import judge
from resetrl.errors import ConfigError
from resetrl.meter import Meter
from resetrl.method import Method, Session
from resetrl.types import Group, Limits, Prefix, Prompt, Rollout, Sampled, TokenBatch, Verdict
from resetrl.waves import generate_wave
from resetrl_baselines.parts import part_verdict, unfinished

if TYPE_CHECKING:
    from torch import Tensor

PAPER_SEGMENT_LEN = 600

Path = tuple[int, ...]
"""A node: the place of its prompt in the step, then which child it is on every level."""


@dataclass
class SPOTree:
    """Draws a tree of segments from each prompt and compares siblings (arXiv 2505.23564).

    A segment that reaches the end of its completion is a leaf early, and the tree then has fewer
    leaves. Segments end with a thought: the first that reaches their length.

    branching: children of each node, level by level; their product is the budget.
    segment_len: tokens a level; 0 takes 600 as the paper does, or an eighth of
        limits.max_completion_len if that is less.
    """

    branching: tuple[int, ...] = (2, 4)
    segment_len: int = 0

    def __post_init__(self) -> None:
        self.branching = tuple(self.branching)
        if not self.branching or any(branch < 2 for branch in self.branching):
            raise ValueError(
                f"branching is {list(self.branching)}: give each level at least 2, to compare them"
            )
        if self.segment_len < 0:
            raise ValueError(f"segment_len is {self.segment_len}: choose 0 or more")

    @property
    def budget(self) -> int:
        return math.prod(self.branching)

    def sample(
        self, step: int, prompts: Sequence[Prompt], method: Method, session: Session, meter: Meter
    ) -> Sampled:
        segments = self._grow(step, prompts, method, session, meter)
        leaves = [path for path, segment in segments.items() if segment.completion.is_whole]
        judged = judge([segments[path] for path in leaves], session, meter)
        verdicts = {path: verdict for path, (_, verdict) in zip(leaves, judged, strict=True)}
        sound = {path: verdict for path, verdict in verdicts.items() if not verdict.error}
        rewards = method.rewards(list(sound.values()))
        values = node_values(dict(zip(sound, rewards, strict=True)))

        groups = [
            _sibling_group(siblings, segments, verdicts, values) for siblings in _families(segments)
        ]
        metrics = {}
        if sound:
            right = node_values({path: float(verdict.correct) for path, verdict in sound.items()})
            metrics["draws/accuracy"] = fmean(right[path] for path in right if len(path) == 1)
            metrics["tree/leaves"] = len(leaves) / len(prompts)
        return Sampled(groups, judged, metrics)

    def _grow(
        self, step: int, prompts: Sequence[Prompt], method: Method, session: Session, meter: Meter
    ) -> dict[Path, Rollout]:
        """Every segment of the step by its path, level by level, a wave each."""
        limits = [self._limits(depth, method.limits) for depth in range(1, len(self.branching) + 1)]
        segments: dict[Path, Rollout] = {}
        growing: list[Path] = [(place,) for place in range(len(prompts))]
        for depth, branch in enumerate(self.branching):
            paths = [(*path, child) for path in growing for child in range(branch)]
            origins = [
                (prompts[path[0]], _prefix(segments.get(path[:-1])), self._index(path))
                for path in paths
            ]
            level = dataclasses.replace(method, limits=limits[depth])
            purpose = "branch" if depth else "draw"
            drawn = generate_wave(purpose, step, origins, level, session, meter)
            for path, segment in zip(paths, drawn, strict=True):
                goes_on = depth + 1 < len(self.branching) and _goes_on(segment, method, session)
                segments[path] = unfinished(segment) if goes_on else segment
            growing = [path for path in paths if not segments[path].completion.is_whole]
        return segments

    def _limits(self, depth: int, limits: Limits) -> Limits:
        """The limits of the segments of a level: they end behind `depth` times their length."""
        if depth == len(self.branching):
            return limits
        length = self.segment_len or min(PAPER_SEGMENT_LEN, limits.max_completion_len // 8)
        room = limits.max_completion_len - limits.max_thought_len
        longest = room // (len(self.branching) - 1)
        if not limits.max_thought_len <= length <= longest:
            raise ConfigError(
                f"sampler spo_tree: segment_len {length} does not fit limits.max_thought_len="
                f"{limits.max_thought_len} and limits.max_completion_len="
                f"{limits.max_completion_len}: choose {limits.max_thought_len} to {longest} for "
                f"{len(self.branching)} levels"
            )
        # The next thought may not start once the length is reached, so it would not fit in this.
        end = depth * length + limits.max_thought_len - 1
        return dataclasses.replace(limits, max_completion_len=end)

    def _index(self, path: Path) -> int:
        """A number no other node of the prompt has, on whatever level."""
        index = 0
        for branch, child in zip(self.branching, path[1:], strict=False):
            index = index * (branch + 1) + child + 1
        return index


def _prefix(segment: Rollout | None) -> Prefix:
    """The path up to the end of a segment, or of the prompt where there is none."""
    if segment is None:
        return Prefix()
    return segment.completion.first_thoughts(len(segment.completion.thoughts))


def _goes_on(segment: Rollout, method: Method, session: Session) -> bool:
    """Whether only its level's limit ended a segment: a further thought fits behind it."""
    completion, limits = segment.completion, method.limits
    needed = len(completion.token_ids) + limits.max_thought_len
    room = limits.max_completion_len
    if session.context_len is not None:
        room = min(room, session.context_len - len(segment.prompt.token_ids))
    return completion.stop == "budget" and needed <= room


def _families(paths: Mapping[Path, object]) -> list[list[Path]]:
    """The children of each node that has some."""
    families: dict[Path, list[Path]] = {}
    for path in paths:
        families.setdefault(path[:-1], []).append(path)
    return list(families.values())


def node_values(rewards: Mapping[Path, float]) -> dict[Path, float]:
    """The value of every node above the leaves whose rewards are given, and of these.

    A node is worth the mean of its children. In a full tree that is the mean of its leaves; in
    one where a branch ended early it keeps that branch from counting less than its siblings.
    """
    values = dict(rewards)
    for length in range(max(map(len, rewards), default=0), 0, -1):
        for family in _families({path: None for path in values if len(path) == length}):
            values[family[0][:-1]] = fmean(values[path] for path in family)
    return values


def _sibling_group(
    siblings: Sequence[Path],
    segments: Mapping[Path, Rollout],
    verdicts: Mapping[Path, Verdict],
    values: Mapping[Path, float],
) -> Group:
    """Siblings, with their values as rewards; `level_1` are the first segments of a prompt.

    One without a value, as the verifier failed on all its leaves, is left out for its verdict.
    """
    return Group(
        f"level_{len(siblings[0]) - 1}",
        tuple(segments[path] for path in siblings),
        tuple(verdicts.get(path) or part_verdict(values.get(path)) for path in siblings),
        shaped_rewards=tuple(values.get(path, 0.0) for path in siblings),
    )


@dataclass
class SPOTreeLoss:
    """The clipped ratio on the tokens the old policy was not sure of (arXiv 2505.23564, eq. 4).

    -(1/N) sum_i (1/Z_i) sum_t M[i,t] min(A r, A clip(r, 1 - clip, 1 + clip)): M is 1 on loss tokens
    of an old probability below `threshold`, Z_i their number in segment i, N all segments.

    threshold: tokens of this old probability or more carry no gradient.
    clip: how far the ratio may leave 1.
    """

    ignores_zero_advantage: ClassVar[bool] = True
    needs_reference: ClassVar[bool] = False

    threshold: float = 0.9
    clip: float = 0.2

    def __post_init__(self) -> None:
        if not self.threshold > 0 or not 0 < self.clip < 1:
            raise ValueError(
                f"threshold={self.threshold}, clip={self.clip}: choose a threshold above 0 and a "
                "clip between 0 and 1, for example 0.9 and 0.2"
            )

    def loss(self, logprobs: Tensor, batch: TokenBatch) -> tuple[Tensor, Mapping[str, float]]:
        weights = token_weights(batch.old_logprobs, batch.loss_mask, self.threshold)
        ratio = (logprobs - batch.old_logprobs).clamp(-20, 20).exp()
        advantages = batch.advantages[:, None]
        gains = (advantages * ratio).minimum(advantages * ratio.clamp(1 - self.clip, 1 + self.clip))
        kl = ((batch.old_logprobs - logprobs.detach()) * batch.loss_mask).sum().item()
        num_tokens = max(batch.num_loss_tokens, 1)
        return -(gains * weights).sum() / batch.num_rollouts, {
            "learner/kl_to_old": kl / num_tokens,
            "learner/unsure_tokens": (weights > 0).sum().item() / num_tokens,
        }


def token_weights(old_logprobs: Tensor, loss_mask: Tensor, threshold: float) -> Tensor:
    """1/Z of its row on each loss token whose old probability is below the threshold, [R, T]."""
    unsure = loss_mask & (old_logprobs.exp() < threshold)
    return unsure / unsure.sum(dim=1, keepdim=True).clamp(min=1)
