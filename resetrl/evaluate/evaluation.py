"""Answers the held-out problems of a task, chunk by chunk, and goes on where it was stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from resetrl.ask import Asked, answer
from resetrl.errors import ConfigError
from resetrl.evaluate.answers import AnsweredProblem, AnswerFile, answered, too_long
from resetrl.evaluate.suite import LabelledTask
from resetrl.meter import Meter
from resetrl.method import Inference
from resetrl.run.data import PromptMaker
from resetrl.types import Limits, Problem, Prompt, Sampling

GREEDY = Sampling(temperature=0.0, top_p=1.0)


@dataclass(frozen=True)
class Evaluator:
    """Answers problems once greedily and `num_samples` times by sampling, `chunk` at once.

    What a problem is answered depends on its uid and the run seed alone, not on the chunk.
    """

    maker: PromptMaker
    sampling: Sampling
    limits: Limits
    num_samples: int
    chunk: int

    def evaluate(
        self,
        task: LabelledTask,
        inference: Inference,
        meter: Meter,
        file: AnswerFile,
        advance: Callable[[int], None],
    ) -> list[AnsweredProblem]:
        """Every problem of a task, from the file if it is there, else answered and appended.

        `advance` is told of each number of problems done. Raises ConfigError if the file is of
        other problems, or if two problems have one uid.
        """
        done = file.read()[: task.num_problems]
        for line, (was, now) in enumerate(zip(done, task.problems, strict=False), start=1):
            if (was.uid, was.question, was.reference) != (now.uid, now.question, now.reference):
                raise ConfigError(
                    f"{file.path} holds other problems than {task.label} now has (line {line} is "
                    f"{was.uid}): delete the file to answer them anew"
                )
        advance(len(done))
        step = max(1, self.chunk // (1 + self.num_samples))
        for start in range(len(done), task.num_problems, step):
            stop = min(start + step, task.num_problems)
            problems = [task.problems[place] for place in range(start, stop)]
            fresh = self._answer(problems, inference, meter)
            file.append(fresh)
            done += fresh
            advance(len(fresh))
        _check_uids(task.label, done)
        return done

    def _answer(
        self, problems: Sequence[Problem], inference: Inference, meter: Meter
    ) -> list[AnsweredProblem]:
        """One call of the engine for all completions of some problems."""
        started = time.perf_counter()
        prompts = [self.maker.render(problem) for problem in problems]
        fits = [self.maker.fits(prompt) for prompt in prompts]
        asked = [
            each
            for prompt, fitting in zip(prompts, fits, strict=True)
            if fitting
            for each in self._asked(prompt, inference.run_seed)
        ]
        judged = iter(answer(asked, inference, meter))
        rollouts = [
            [next(judged) for _ in range(1 + self.num_samples)] if fitting else []
            for fitting in fits
        ]
        seconds = (time.perf_counter() - started) / max(sum(fits), 1)
        return [
            answered(problem, mine, seconds) if mine else too_long(problem, self.num_samples)
            for problem, mine in zip(problems, rollouts, strict=True)
        ]

    def _asked(self, prompt: Prompt, run_seed: int) -> list[Asked]:
        greedy = Asked.held_out(prompt, GREEDY, self.limits, run_seed)
        return [greedy] + [
            Asked.held_out(prompt, self.sampling, self.limits, run_seed, sample)
            for sample in range(self.num_samples)
        ]


def _check_uids(label: str, problems: Sequence[AnsweredProblem]) -> None:
    seen: set[str] = set()
    for problem in problems:
        if problem.uid in seen:
            raise ConfigError(f"task {label} has two problems with the uid {problem.uid}: fix it")
        seen.add(problem.uid)
