"""Asking the policy and judging what it says: one engine call, one call of the verifier.

The waves of a step, evaluation, correction and whatever else answers problems go through here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from resetrl.errors import TrainingError, blaming, list_names
from resetrl.interfaces import ResetSelector, SelectorContext
from resetrl.meter import Meter
from resetrl.method import Inference
from resetrl.rng import derive_seed
from resetrl.types import Limits, Prompt, Request, Rollout, Sampling, Selection, Verdict

Judged = tuple[Rollout, Verdict]
"""A rollout with its verdict."""


@dataclass(frozen=True)
class Asked:
    """A completion wanted of a prompt; `index` tells several of one prompt apart."""

    prompt: Prompt
    request: Request
    index: int = 0

    @classmethod
    def held_out(
        cls,
        prompt: Prompt,
        sampling: Sampling,
        limits: Limits,
        run_seed: int,
        sample: int | None = None,
    ) -> Asked:
        """A held-out problem to be answered: once, or as the 0-based `sample` of several.

        The seed depends on the run seed, the problem and the sample alone, so that every
        evaluation of a policy, in training or afterwards, draws the same.
        """
        which = () if sample is None else (sample,)
        request = Request(
            prompt_ids=prompt.token_ids,
            rng_seed=derive_seed(run_seed, "evaluation", prompt.uid, *which),
            sampling=sampling,
            limits=limits,
        )
        return cls(prompt, request, sample or 0)


def answer(
    asked: Sequence[Asked],
    inference: Inference,
    meter: Meter,
    phase: str = "answer",
    verify_phase: str = "verify",
) -> list[Judged]:
    """The rollouts of all requests, in their order, each with its verdict.

    Generated in one call and verified in one, each charged to its phase. Raises TrainingError if
    the verifier fails or does not return one verdict a rollout.
    """
    if not asked:
        return []
    with meter.phase(phase):
        completions = inference.policy.generate([each.request for each in asked])
    rollouts = [
        Rollout(each.prompt, completion, each.index)
        for each, completion in zip(asked, completions, strict=True)
    ]
    return judge(rollouts, inference, meter, verify_phase)


def judge(
    rollouts: Sequence[Rollout], inference: Inference, meter: Meter, phase: str = "verify"
) -> list[Judged]:
    """The rollouts with their verdicts, in order, verified in one call.

    Raises TrainingError if the verifier fails or does not return one verdict a rollout.
    """
    if not rollouts:
        return []
    verifier, uids = inference.verifier, [rollout.prompt.uid for rollout in rollouts]
    with meter.phase(phase), blaming(verifier, "verifier", uids):
        verdicts = verifier.verify(rollouts)
    if len(verdicts) != len(rollouts):
        raise TrainingError(
            f"verifier {type(verifier).__name__} returned {len(verdicts)} verdicts for "
            f"{len(rollouts)} rollouts (of prompt {list_names(uids)}): it must return one a "
            "rollout, in order",
            verifier,
        )
    return list(zip(rollouts, verdicts, strict=True))


def choose_resets(
    selector: ResetSelector, seeds: Sequence[Rollout], context: SelectorContext
) -> list[Selection]:
    """Where to go back to in each seed, all seeds at once, checked.

    Raises TrainingError unless there is one selection a seed and each names one of its thoughts.
    """
    uids = [seed.prompt.uid for seed in seeds]
    with blaming(selector, "reset selector", uids):
        selections = selector.select(seeds, context)
    name = type(selector).__name__
    if len(selections) != len(seeds):
        raise TrainingError(
            f"reset selector {name} returned {len(selections)} selections for {len(seeds)} seeds "
            f"(of prompt {list_names(uids)}): it must return one a seed, in order",
            selector,
        )
    for seed, selection in zip(seeds, selections, strict=True):
        num_thoughts = len(seed.completion.thoughts)
        if not 1 <= selection.thought <= num_thoughts:
            raise TrainingError(
                f"reset selector {name} chose thought {selection.thought} of a seed of "
                f"{num_thoughts} thoughts (prompt {seed.prompt.uid}): thoughts count from 1",
                selector,
            )
    return selections
