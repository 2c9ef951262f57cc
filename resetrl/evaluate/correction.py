"""Thought-ICS: answers are corrected in rounds, at inference time and without training.

An answer that is not accepted is localized, re-entered just before the thought the reset selector
names, and goes on from there with a new suffix, which replaces it; after some rounds what is
there is the answer (the inference-time side of Samanta et al., arXiv 2605.25507). Rounds go over
all problems at once: one engine call each to verify, to localize and to resample.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from resetrl.ask import Asked, Judged, answer, choose_resets
from resetrl.evaluate.acceptance import Acceptance, Acceptor
from resetrl.interfaces import ResetSelector
from resetrl.meter import Meter
from resetrl.method import Inference
from resetrl.rng import derive_seed
from resetrl.types import (
    Limits,
    PhaseUsage,
    Prefix,
    Prompt,
    Request,
    ResetState,
    Sampling,
    Selection,
)


@dataclass(frozen=True)
class Round:
    """Where all problems stand after a round; round 0 is the first answers.

    `answers[i]` is the current answer to the i-th problem. `resampled` are the places of the
    problems answered anew in this round and `selections` says where each went back to, None for
    an answer without a thought, which starts over. `acceptances[i]` is None where nobody was
    asked: behind the last round, and for answers accepted before. `usage` is what it cost.
    """

    number: int
    answers: tuple[Judged, ...]
    resampled: tuple[int, ...]
    selections: tuple[Selection | None, ...]
    acceptances: tuple[Acceptance | None, ...]
    usage: Mapping[str, PhaseUsage]


@dataclass(frozen=True)
class Corrector:
    """Answers problems and corrects what is not accepted, `num_rounds` times at most."""

    inference: Inference
    selector: ResetSelector
    acceptor: Acceptor
    first: Sampling
    sampling: Sampling
    limits: Limits
    num_rounds: int
    num_parameters: int

    def rounds(self, prompts: Sequence[Prompt]) -> Iterator[Round]:
        """Round 0, the first answers, and every round of correction, also with nothing left to do.

        Raises TrainingError if selector or verifier break their contract.
        """
        places = list(range(len(prompts)))
        answers: list[Judged] = []
        selections: list[Selection | None] = [None for _ in prompts]
        for number in range(self.num_rounds + 1):
            meter = Meter(self.inference.policy.counters, self.num_parameters)
            if number:
                selections = self._correct(number, answers, places, meter)
            else:
                answers = self._answer(prompts, meter)
            acceptances = self._accept(number, answers, places, meter)
            yield Round(
                number,
                tuple(answers),
                tuple(places),
                tuple(selections),
                tuple(acceptances),
                meter.usage(),
            )
            places = [
                place
                for place in places
                if (decided := acceptances[place]) is not None and not decided.accepted
            ]

    def _answer(self, prompts: Sequence[Prompt], meter: Meter) -> list[Judged]:
        """The first answers: greedily, they are those of every other evaluation."""
        run_seed = self.inference.run_seed
        asked = [Asked.held_out(prompt, self.first, self.limits, run_seed) for prompt in prompts]
        return answer(asked, self.inference, meter)

    def _correct(
        self, number: int, answers: list[Judged], places: Sequence[int], meter: Meter
    ) -> list[Selection | None]:
        """Replace the answers at these places; returns where each went back to."""
        seeds = [answers[place] for place in places]
        with_thoughts = [rollout for rollout, _ in seeds if rollout.completion.thoughts]
        context = self.inference.selector_context(number)
        with meter.phase("localize"):
            chosen = iter(choose_resets(self.selector, with_thoughts, context))
        selections = [next(chosen) if rollout.completion.thoughts else None for rollout, _ in seeds]
        asked = [
            self._suffix(number, seed, selection)
            for seed, selection in zip(seeds, selections, strict=True)
        ]
        suffixes = answer(asked, self.inference, meter, phase="suffix")
        for place, suffix in zip(places, suffixes, strict=True):
            answers[place] = suffix
        return selections

    def _suffix(self, number: int, seed: Judged, selection: Selection | None) -> Asked:
        rollout, verdict = seed
        prompt = rollout.prompt
        prefix = Prefix() if selection is None else ResetState(rollout, verdict, selection).prefix
        request = Request(
            prompt_ids=prompt.token_ids,
            rng_seed=derive_seed(self.inference.run_seed, number, prompt.uid, "suffix"),
            sampling=self.sampling,
            limits=self.limits,
            prefix=prefix,
        )
        return Asked(prompt, request)

    def _accept(
        self, number: int, answers: Sequence[Judged], fresh: Sequence[int], meter: Meter
    ) -> list[Acceptance | None]:
        """Decisions about the fresh answers; behind the last round nothing hangs on them."""
        acceptances: list[Acceptance | None] = [None] * len(answers)
        if number < self.num_rounds:
            decided = self.acceptor.accept(
                [answers[place] for place in fresh], number, self.inference, meter
            )
            for place, acceptance in zip(fresh, decided, strict=True):
                acceptances[place] = acceptance
        return acceptances
