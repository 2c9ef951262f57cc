"""Built-in reset selectors: random thoughts (RRPO), the policy's own word (SRPO), the truth.

The others are for ablations.
"""

from __future__ import annotations

import dataclasses
import math
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from resetrl.errors import ConfigError
from resetrl.interfaces import ResetSelector, SelectorContext, StepChecker
from resetrl.prompts import localization_ids, shows_reference
from resetrl.thoughts import last_boxed, stripped_thoughts
from resetrl.types import Completion, Limits, Request, Rollout, Sampling, Selection


@dataclass
class Uniform:
    """Goes back to a thought drawn uniformly from 1..n, both ends included (RRPO).

    include_first: whether thought 1, that is the bare prompt, may be chosen.
    """

    include_first: bool = True

    def select(self, seeds: Sequence[Rollout], context: SelectorContext) -> list[Selection]:
        return [self._choose(seed, context) for seed in seeds]

    def _choose(self, seed: Rollout, context: SelectorContext) -> Selection:
        num_thoughts = len(seed.completion.thoughts)
        first = 1 if self.include_first or num_thoughts == 1 else 2
        rng = random.Random(context.rng_seed(seed, "uniform"))
        return Selection(rng.randint(first, num_thoughts), "drawn")


@dataclass
class FixedFraction:
    """Goes back to the thought at a relative depth of the seed (an ablation).

    depth: 0 is the bare prompt, 1 the last thought, 0.5 the middle one.
    """

    depth: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.depth <= 1:
            raise ValueError(f"depth is {self.depth}: choose a value from 0 to 1")

    def select(self, seeds: Sequence[Rollout], context: SelectorContext) -> list[Selection]:
        return [
            Selection(
                1 + math.floor(self.depth * (len(seed.completion.thoughts) - 1) + 0.5), "fixed"
            )
            for seed in seeds
        ]


@dataclass
class Last:
    """Goes back to the last thought: only the answer, or what stands for it, is drawn anew."""

    def select(self, seeds: Sequence[Rollout], context: SelectorContext) -> list[Selection]:
        return [Selection(len(seed.completion.thoughts), "last") for seed in seeds]


@dataclass
class Oracle:
    """Goes back to the first thought that is wrong, as the task's step checker knows it.

    The upper bound of the method (CARO). A failure whose thoughts are all right, such as one cut
    off by a limit, is reset at its last thought, with the status `all_right`.
    """

    def select(self, seeds: Sequence[Rollout], context: SelectorContext) -> list[Selection]:
        if not isinstance(context.task, StepChecker):
            raise ConfigError(
                f"reset_selector oracle needs a task with a step checker, and "
                f"{type(context.task).__name__} has none: use task=chain or another selector"
            )
        return [self._choose(seed, context.task, context.delimiter) for seed in seeds]

    def _choose(self, seed: Rollout, checker: StepChecker, delimiter: str) -> Selection:
        thoughts = stripped_thoughts(seed.completion, delimiter)
        wrong = checker.first_wrong_thought(seed.prompt.problem, thoughts)
        if wrong is None:
            return Selection(len(thoughts), "all_right")
        return Selection(wrong, "checked")


@dataclass
class SelfLocalization:
    """Asks the policy itself which thought of a failed rollout is the first wrong one (SRPO).

    prompt: the localization prompt, a preset of `resetrl.prompts` (`thoughts`, `short`, `tiny`) or
        a path to a template; empty takes the one that belongs to the model.
    show_reference: whether the prompt shows the reference answer.
    """

    prompt: str = ""
    show_reference: bool = False
    temperature: float = 0.3
    top_p: float = 0.95
    max_reply_len: int = 4096

    def __post_init__(self) -> None:
        self._sampling = Sampling(self.temperature, self.top_p)
        self._limits = Limits(max_thoughts=0, max_completion_len=self.max_reply_len)

    def select(self, seeds: Sequence[Rollout], context: SelectorContext) -> list[Selection]:
        preset = self.prompt or context.localization_prompt
        if self.show_reference and not shows_reference(preset):
            raise ConfigError(
                f"reset_selector.show_reference is true but the localization prompt {preset!r} has "
                "no place for a reference answer: choose another reset_selector.prompt"
            )
        replies = context.policy.generate([self._request(seed, context) for seed in seeds])
        return [
            read_reply(reply, len(seed.completion.thoughts))
            for seed, reply in zip(seeds, replies, strict=True)
        ]

    def _request(self, seed: Rollout, context: SelectorContext) -> Request:
        problem = seed.prompt.problem
        return Request(
            prompt_ids=localization_ids(
                self.prompt or context.localization_prompt,
                context.tokenizer,
                question=problem.question,
                thoughts=stripped_thoughts(seed.completion, context.delimiter),
                reference=problem.reference if self.show_reference else None,
            ),
            rng_seed=context.rng_seed(seed, "localize"),
            sampling=self._sampling,
            limits=self._limits,
        )


@dataclass
class Offset:
    """Goes back some thoughts before the one that another selector chooses (an ablation).

    of: the other selector, chosen by `reset_selector/of=uniform`.
    by: how many thoughts earlier; the bare prompt is as early as it gets.
    """

    of: ResetSelector = field(default_factory=SelfLocalization)
    by: int = 1

    def __post_init__(self) -> None:
        if self.of is None:
            raise ValueError("of is null: choose a selector, as in reset_selector/of=uniform")
        if self.by < 1:
            raise ValueError(f"by is {self.by}: choose at least 1")

    def select(self, seeds: Sequence[Rollout], context: SelectorContext) -> list[Selection]:
        return [
            dataclasses.replace(selection, thought=max(selection.thought - self.by, 1))
            for selection in self.of.select(seeds, context)
        ]


def read_reply(reply: Completion, num_thoughts: int) -> Selection:
    """The thought a localization reply names (arXiv 2605.25507; the released parser's rules).

    The last `\\boxed{int}` if it is 0 or a thought, else the last "Step N"/"step N" that is one,
    else 1; 0 ("no error") is taken as 1. The status says which of these it was; `truncated` is a
    reply that ran into its limit before it named a thought in a box.
    """
    boxed = _integer(last_boxed(reply.text))
    if boxed == 0:
        return Selection(1, "no_error", reply.text)
    if boxed is not None and 1 <= boxed <= num_thoughts:
        return Selection(boxed, "boxed", reply.text)
    named = [int(number) for number in re.findall(r"[Ss]tep\s+(\d+)", reply.text)]
    named = [number for number in named if 1 <= number <= num_thoughts]
    thought = named[-1] if named else 1
    if reply.stop == "budget":
        return Selection(thought, "truncated", reply.text)
    return Selection(thought, "prose" if named else "defaulted", reply.text)


def _integer(text: str | None) -> int | None:
    try:
        return None if text is None else int(text)
    except ValueError:
        return None
