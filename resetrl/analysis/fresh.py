"""Fresh resets: seeds of a task, where selectors go back in them, and suffixes from there.

Unlike those of a training run they are all of one policy, and every selector goes back in the
same seeds. All draws are one engine call, the localizations of a selector one, all suffixes one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from resetrl.ask import Asked, Judged, answer, choose_resets
from resetrl.interfaces import ResetSelector, StepChecker
from resetrl.meter import Meter
from resetrl.method import Inference
from resetrl.rng import derive_seed
from resetrl.thoughts import stripped_thoughts
from resetrl.types import Group, Limits, Prefix, Prompt, Request, ResetState, Sampling


@dataclass(frozen=True)
class FreshResets:
    """Makes resets by several selectors in the same seeds, `num_suffixes` from each.

    What is drawn depends on the run seed, the problem and the selector's name alone.
    """

    inference: Inference
    checker: StepChecker
    selectors: Mapping[str, ResetSelector]
    sampling: Sampling
    limits: Limits
    num_draws: int
    num_suffixes: int

    def seeds(self, prompts: Sequence[Prompt], meter: Meter) -> list[Judged]:
        """Of each prompt the first wrong draw that has a wrong thought, if there is one."""
        asked = [
            self._asked(prompt, Prefix(), "draw", index)
            for prompt in prompts
            for index in range(self.num_draws)
        ]
        seeds: dict[str, Judged] = {}
        for draw in answer(asked, self.inference, meter, phase="draw"):
            if self._is_usable(draw):
                seeds.setdefault(draw[0].prompt.uid, draw)
        return list(seeds.values())

    def groups(self, seeds: Sequence[Judged], meter: Meter) -> dict[str, list[Group]]:
        """The reset groups of every selector by its name, in the order of the seeds.

        Suffixes the verifier failed on are left out. Raises TrainingError if a component breaks
        its contract.
        """
        context = self.inference.selector_context(0)
        states: list[tuple[str, ResetState]] = []
        for name, selector in self.selectors.items():
            with meter.phase("localize"):
                chosen = choose_resets(selector, [rollout for rollout, _ in seeds], context)
            states += [
                (name, ResetState(*seed, selection))
                for seed, selection in zip(seeds, chosen, strict=True)
            ]
        asked = [
            self._asked(state.seed.prompt, state.prefix, name, index)
            for name, state in states
            for index in range(self.num_suffixes)
        ]
        judged = iter(answer(asked, self.inference, meter, phase="suffix"))
        groups: dict[str, list[Group]] = {name: [] for name in self.selectors}
        for name, state in states:
            mine = [next(judged) for _ in range(self.num_suffixes)]
            mine = [(rollout, verdict) for rollout, verdict in mine if not verdict.error]
            if mine:
                rollouts, verdicts = zip(*mine, strict=True)
                groups[name].append(Group("reset", rollouts, verdicts, state))
        return groups

    def _asked(self, prompt: Prompt, prefix: Prefix, purpose: str, index: int) -> Asked:
        request = Request(
            prompt_ids=prompt.token_ids,
            rng_seed=derive_seed(
                self.inference.run_seed, "localization", prompt.uid, purpose, index
            ),
            sampling=self.sampling,
            limits=self.limits,
            prefix=prefix,
        )
        return Asked(prompt, request, index)

    def _is_usable(self, draw: Judged) -> bool:
        """Whether it is wrong, and its first wrong thought is known."""
        rollout, verdict = draw
        if verdict.correct or verdict.error or not rollout.completion.thoughts:
            return False
        thoughts = stripped_thoughts(rollout.completion, self.inference.delimiter)
        return self.checker.first_wrong_thought(rollout.prompt.problem, thoughts) is not None
