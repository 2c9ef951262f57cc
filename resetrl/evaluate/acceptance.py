"""Which answers a correction leaves alone: by the verifier's verdict or the policy's word."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from resetrl.answers import yes_or_no
from resetrl.ask import Judged
from resetrl.evaluate.config import SelfVerificationConfig
from resetrl.meter import Meter
from resetrl.method import Inference
from resetrl.prompts import verification_ids
from resetrl.rng import derive_seed
from resetrl.thoughts import last_boxed, stripped_thoughts
from resetrl.types import Completion, Limits, Request, Sampling

VERDICT = "verdict"
"""The status of an acceptance for which the policy was not asked."""

# A text ends in its end-of-sequence token, such as <|im_end|>, if the policy wrote one.
_STANDING_ALONE = re.compile(r"\b(yes|no)\b(?=[\"'*)\s]*(?:[.,;:!\n<]|\Z))")


@dataclass(frozen=True)
class Acceptance:
    """Whether an answer is accepted, how that was decided, and what was replied if one asked.

    Examples: `Acceptance(True, "verdict")`, `Acceptance(False, "unreadable", "nothing wrong")`.
    """

    accepted: bool
    status: str
    reply: str = ""


class Acceptor(Protocol):
    """Decides after each round which answers are done."""

    def accept(
        self, answers: Sequence[Judged], number: int, inference: Inference, meter: Meter
    ) -> list[Acceptance]:
        """One decision an answer, in order, with at most one engine call for all."""
        ...


@dataclass(frozen=True)
class ByVerifier:
    """Accepts what the task's verifier finds right; at inference time nobody knows that, so what
    comes of it is an upper bound."""

    def accept(
        self, answers: Sequence[Judged], number: int, inference: Inference, meter: Meter
    ) -> list[Acceptance]:
        return [Acceptance(verdict.correct, VERDICT) for _, verdict in answers]


@dataclass(frozen=True)
class BySelf:
    """Accepts what the policy itself says is right; a reply that says neither does not."""

    config: SelfVerificationConfig

    def accept(
        self, answers: Sequence[Judged], number: int, inference: Inference, meter: Meter
    ) -> list[Acceptance]:
        requests = [self._request(answer, number, inference) for answer in answers]
        with meter.phase("self_verify"):
            replies = inference.policy.generate(requests)
        return [read_acceptance(reply) for reply in replies]

    def _request(self, answer: Judged, number: int, inference: Inference) -> Request:
        rollout, _ = answer
        problem = rollout.prompt.problem
        return Request(
            prompt_ids=verification_ids(
                self.config.prompt,
                inference.tokenizer,
                question=problem.question,
                thoughts=stripped_thoughts(rollout.completion, inference.delimiter),
            ),
            rng_seed=derive_seed(inference.run_seed, number, problem.uid, "self_verify"),
            sampling=Sampling(self.config.temperature, self.config.top_p),
            limits=Limits(max_thoughts=0, max_completion_len=self.config.max_reply_len),
        )


def read_acceptance(reply: Completion) -> Acceptance:
    """Whether a reply says yes; statuses are `boxed`, `prose`, `truncated`, `unreadable`.

    The last closed box counts if it holds the word yes or no, else the last yes or no in the
    prose that stands for itself: before punctuation, a line's end or the end. The `no` of `no
    error` or of `nothing` is no answer, nor is a box of `Notyes`, which the released parser takes
    for a yes. A reply cut off at its limit without a box was not finished, so it accepts nothing.
    """
    box = last_boxed(reply.text) or ""
    boxed = yes_or_no(box)
    if boxed is not None:
        return Acceptance(boxed, "boxed", reply.text)
    if reply.stop == "budget":
        return Acceptance(False, "truncated", reply.text)
    prose = reply.text.replace(f"{{{box}}}", "").lower()
    said = _STANDING_ALONE.findall(prose)
    if said:
        return Acceptance(said[-1] == "yes", "prose", reply.text)
    return Acceptance(False, "unreadable", reply.text)
