"""Which problems each step trains on, and their prompts."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass

from resetrl.errors import ConfigError, TrainingError
from resetrl.models import LoadedModel, ModelConfig
from resetrl.prompts import completion_ids
from resetrl.rng import derive_seed
from resetrl.types import Limits, Problem, Prompt


@dataclass(frozen=True)
class PromptMaker:
    """Renders problems to prompts and checks that a first thought fits behind them."""

    loaded: LoadedModel
    model: ModelConfig
    limits: Limits

    def prompt(self, problem: Problem) -> Prompt:
        """The prompt of a problem; raises TrainingError if it is too long for the context."""
        prompt = self.render(problem)
        if not self.fits(prompt):
            raise TrainingError(
                f"the prompt of {problem.uid} has {len(prompt.token_ids)} tokens: with a thought "
                f"of {self.limits.max_thought_len} it exceeds the model's context of "
                f"{self._context_len}; lower limits.max_thought_len or leave the problem out"
            )
        return prompt

    def render(self, problem: Problem) -> Prompt:
        """The prompt of a problem, however long."""
        token_ids = completion_ids(
            self.model.prompt, self.loaded.tokenizer, problem.question, chat=self.model.chat
        )
        return Prompt(problem, token_ids)

    def fits(self, prompt: Prompt) -> bool:
        """Whether a first thought fits the model's context behind a prompt."""
        return len(prompt.token_ids) + self.limits.max_thought_len <= self._context_len

    @property
    def _context_len(self) -> int:
        return int(self.loaded.model.config.max_position_embeddings)


def problems_of_step(
    problems: Sequence[Problem], step: int, prompts_per_step: int, run_seed: int
) -> list[Problem]:
    """The problems of the 1-based step: each epoch is its own shuffle, its last part left out.

    A function of its arguments alone, so that a resumed run needs no data position.
    """
    steps_per_epoch = len(problems) // prompts_per_step
    if not steps_per_epoch:
        raise ConfigError(
            f"prompts_per_step is {prompts_per_step} but the task has {len(problems)} training "
            "problems: lower it or use a larger task"
        )
    epoch, place = divmod(step - 1, steps_per_epoch)
    order = list(range(len(problems)))
    random.Random(derive_seed(run_seed, "epoch", epoch)).shuffle(order)
    chosen = order[place * prompts_per_step : (place + 1) * prompts_per_step]
    return [problems[index] for index in chosen]


def problems_hash(problems: Sequence[Problem], most: int | None = None) -> str:
    """Identifies a set of problems: 16 hexadecimal digits of their uids, questions, references.

    Of a large set that is computed on access, `most` problems, evenly spaced, and their number
    stand for all.
    """
    digest = hashlib.sha256(str(len(problems)).encode())
    every = 1 if most is None else max(len(problems) // most, 1)
    for index in range(0, len(problems), every):
        problem = problems[index]
        for part in (problem.uid, problem.question, problem.reference):
            digest.update(part.encode() + b"\0")
    return digest.hexdigest()[:16]
