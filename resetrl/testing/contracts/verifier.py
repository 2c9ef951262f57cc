"""The contract of verifiers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from resetrl.interfaces import ExampleVerifier, Verifier
from resetrl.testing.contracts._require import require
from resetrl.testing.fakes import make_prompt, make_rollout
from resetrl.types import Problem, Prompt, Rollout, Verdict

_PROMPT = make_prompt("3+4*6", "2")

_REFERENCES = ("2", "B", "yes")

_ANSWERS = (
    ("the right answer", "\\boxed{2}"),
    ("a wrong answer", "\\boxed{3}"),
    ("no box", "the answer is 2"),
    ("an unclosed box", "\\boxed{2"),
    ("an empty box", "\\boxed{}"),
    ("nested braces", "\\boxed{\\frac{1}{2}}"),
    ("two boxes", "\\boxed{3} \\boxed{2}"),
    ("an answer of 5000 digits", f"\\boxed{{{'9' * 5000}}}"),
    ("hostile text", "\\boxed{__import__('os')\x00}"),
)


def odd_rollouts(prompt: Prompt) -> dict[str, Rollout]:
    """Rollouts a policy may produce, by what is odd about each."""
    rollouts = {what: make_rollout([answer], prompt=prompt) for what, answer in _ANSWERS}
    return {"an empty completion": make_rollout([], prompt=prompt), **rollouts}


def right_rollout(problem: Problem) -> Rollout:
    """A rollout whose box holds the reference."""
    return make_rollout([f"\\boxed{{{problem.reference}}}"], prompt=Prompt(problem, (0,)))


def gives_one_verdict_a_rollout(verifier: Verifier) -> None:
    require_verdicts(verifier, _prompt_for(verifier))


def gives_no_verdict_for_no_rollout(verifier: Verifier) -> None:
    judge(verifier, [])


def accepts_the_reference(verifier: Verifier) -> None:
    """One of several will do: a verifier of yes and no has no use for numbers."""
    problems = [Problem("problem-0", "?", reference) for reference in _REFERENCES]
    if isinstance(verifier, ExampleVerifier):
        problems = [verifier.example()]
    verdicts = [judge(verifier, [right_rollout(problem)])[0] for problem in problems]
    others = " (and neither are B and yes with their own references)" if problems[1:] else ""
    require(
        any(verdict.correct and verdict.reward > 0 for verdict in verdicts),
        f"\\boxed{{{problems[0].reference}}} with the reference {problems[0].reference} gave "
        f"{verdicts[0]!r}: it is correct{others}",
    )


def judges_the_same_in_any_order_and_alone(verifier: Verifier) -> None:
    prompt = _prompt_for(verifier)
    rollouts = list(odd_rollouts(prompt).values())
    together = _judgements(judge(verifier, rollouts))
    reverse = _judgements(judge(verifier, rollouts[::-1]))[::-1]
    alone = [_judgements(judge(verifier, [rollout]))[0] for rollout in rollouts]
    for what, one, two, three in zip(odd_rollouts(prompt), together, reverse, alone, strict=True):
        require(
            one == two == three,
            f"a rollout with {what} gets {one} (reward, correct) in a batch, {two} in the "
            f"reversed batch and {three} alone: let each verdict depend on its own rollout only",
        )


def _prompt_for(verifier: Verifier) -> Prompt:
    return Prompt(verifier.example(), (0,)) if isinstance(verifier, ExampleVerifier) else _PROMPT


def judge(verifier: Verifier, rollouts: Sequence[Rollout]) -> list[Verdict]:
    """The verdicts, as many as rollouts."""
    verdicts = verifier.verify(rollouts)
    require(
        len(verdicts) == len(rollouts),
        f"{len(rollouts)} rollouts gave {len(verdicts)} verdicts: return one a rollout, in order",
    )
    return verdicts


def require_verdicts(verifier: Verifier, prompt: Prompt) -> None:
    """One well-formed verdict for each odd rollout of a prompt."""
    rollouts = odd_rollouts(prompt)
    verdicts = judge(verifier, list(rollouts.values()))
    for what, verdict in zip(rollouts, verdicts, strict=True):
        require(
            isinstance(verdict, Verdict),
            f"a rollout with {what} gave {verdict!r}: return resetrl.types.Verdict",
        )
        require(
            math.isfinite(verdict.reward) and 0 <= verdict.reward <= 1,
            f"a rollout with {what} has the reward {verdict.reward!r}: scale rewards to [0, 1]",
        )
        require(
            isinstance(verdict.correct, bool),
            f"a rollout with {what} has correct={verdict.correct!r}: make it a bool",
        )


CHECKS = (
    gives_one_verdict_a_rollout,
    gives_no_verdict_for_no_rollout,
    accepts_the_reference,
    judges_the_same_in_any_order_and_alone,
)


def _judgements(verdicts: Sequence[Verdict]) -> list[tuple[float, bool]]:
    return [(verdict.reward, verdict.correct) for verdict in verdicts]
