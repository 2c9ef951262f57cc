"""Everything that is shown of a prompt, said once for the terminal and for HTML.

Model output is untrusted: every text that goes on display passes through `visible`, so that no
escape sequence or text direction mark of a completion can rearrange the page around it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from resetrl.analysis.signal import thought_signal, token_signal
from resetrl.run.rollouts import SavedGroup
from resetrl.show.find import PromptTree, rewards_differ
from resetrl.types import Completion, Rollout, Verdict

SHORT_THOUGHT = 30
"""Thoughts up to this many characters share a line with others."""

STATUS_WORDS: Mapping[str, str] = {
    "boxed": "the policy's reply names it in a box",
    "prose": "the policy's reply names it in prose",
    "defaulted": "the policy's reply names no thought, so it is the first",
    "no_error": "the policy's reply finds no error, so it is the first",
    "truncated": "the policy's reply was cut off",
    "drawn": "drawn at random",
    "checked": "the first wrong one, by the task's step checker",
    "all_right": "the last one, as every thought is right",
}
"""What the statuses of the built-in selectors mean; others are shown as they are."""

CLAIMS: Mapping[str, str] = {
    "boxed": "first wrong thought, says the policy",
    "prose": "first wrong thought, says the policy",
    "checked": "first wrong thought, says the step checker",
    "drawn": "thought drawn by the selector",
}
"""What the selector says of the thought it chose; other statuses only say that it chose it."""


DIRECTION_MARKS = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})

TITLES: Mapping[str, str] = {"base": "Base group", "reset": "Reset group"}
"""What groups are called; a sampler's own kind is called as it is, `Second turn group`."""

STOP_WORDS: Mapping[str, str] = {
    "answer": "ended at its answer",
    "eos": "ended without an answer",
    "max_thoughts": "cut off: no more thoughts allowed",
    "budget": "cut off: no more tokens allowed",
    "unfinished": "goes on elsewhere",
}


@dataclass(frozen=True)
class ThoughtView:
    """A thought to display: `ThoughtView(2, "7*6=3", 6, -0.31, 0.04)`; the number counts from 1.

    A completion without thought structure is one thought without a number. `signal` says how hard
    its tokens are pushed (`resetrl.analysis.signal`), 0 where they are masked.
    """

    number: int | None
    text: str
    num_tokens: int
    mean_logprob: float
    signal: float


@dataclass(frozen=True)
class RolloutView:
    """A rollout to display; `prefix` are the thoughts it shares, `thoughts` those drawn for it.

    `is_part` marks one that goes on elsewhere and is trained on its own. `answer` is what the
    verifier extracted and `why` its reason, "" where there is none.
    """

    title: str
    correct: bool
    is_part: bool
    reward: str
    advantage: float
    answer: str
    why: str
    stop: str
    cut: bool
    num_tokens: int
    num_prefix_tokens: int
    prefix: tuple[ThoughtView, ...]
    thoughts: tuple[ThoughtView, ...]


@dataclass(frozen=True)
class SeedView:
    """A failed rollout and where it was reset: before the 1-based thought `chosen`.

    `claim` is what the selector says of that thought; `first_wrong` and `judgement` compare it
    with the task's step checker, where there is one.
    """

    rollout: RolloutView
    chosen: int
    claim: str
    status: str
    why: str
    reply: str
    first_wrong: int | None
    judgement: str


@dataclass(frozen=True)
class GroupView:
    """A group to display; `gradient` says which of its tokens are trained.

    `prefix_of` says whose thoughts a prefix is, where it is shown. `prefix_trained` is true where
    a shared prefix carries gradient too, `short` where every thought is so short that several fit
    a line.
    """

    title: str
    summary: str
    gradient: str
    prefix_of: str
    prefix_trained: bool
    short: bool
    rollouts: tuple[RolloutView, ...]
    seed: SeedView | None


@dataclass(frozen=True)
class PromptView:
    """One prompt of one step to display."""

    run: str
    step: int
    uid: str
    question: str
    reference: str
    groups: tuple[GroupView, ...]


def view_prompt(run: str, tree: PromptTree) -> PromptView:
    """The view of a prompt's groups; `run` is the name of the run."""
    base = [rollout for saved in tree.of_kind("base") for rollout in saved.group.rollouts]
    return PromptView(
        run=visible(run),
        step=tree.step,
        uid=visible(tree.problem.uid),
        question=visible(tree.problem.question),
        reference=visible(tree.problem.reference),
        groups=tuple(
            _group_view(saved, tree.of_kind(saved.group.kind), base) for saved in tree.groups
        ),
    )


def visible(text: str) -> str:
    """The text with every control character but the line break made harmless and visible."""
    return "".join(map(_visible_character, text.replace("\r\n", "\n").replace("\t", "    ")))


def are_short(thoughts: Sequence[ThoughtView]) -> bool:
    """Whether several of these thoughts fit one line."""
    return all(len(each.text) <= SHORT_THOUGHT and "\n" not in each.text for each in thoughts)


def _visible_character(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cc" and character != "\n":
        code = ord(character)
        return chr(0x2400 + code) if code < 0x20 else "\N{REPLACEMENT CHARACTER}"
    if category == "Cs" or unicodedata.bidirectional(character) in DIRECTION_MARKS:
        return "\N{REPLACEMENT CHARACTER}"
    return character


def _group_view(
    saved: SavedGroup, of_kind: Sequence[SavedGroup], base: Sequence[Rollout]
) -> GroupView:
    group = saved.group
    name = TITLES.get(group.kind, f"{visible(_words(group.kind)).capitalize()} group")
    shaped = group.shaped_rewards or (None,) * len(group.rollouts)
    rollouts = tuple(
        _rollout_view(
            f"{_word(group.kind, rollout)} {number}",
            rollout,
            verdict,
            advantage,
            saved,
            shaped_reward,
        )
        for number, (rollout, verdict, advantage, shaped_reward) in enumerate(
            zip(group.rollouts, group.verdicts, saved.advantages, shaped, strict=True), start=1
        )
    )
    return GroupView(
        title=name if len(of_kind) == 1 else f"{name} {of_kind.index(saved) + 1}",
        summary=_summary(saved),
        gradient=_gradient(saved, rollouts),
        prefix_of="from above" if group.reset_state is None else "of the seed",
        prefix_trained=not saved.mask_prefix,
        short=are_short([*(each for r in rollouts for each in (*r.prefix, *r.thoughts))]),
        rollouts=rollouts,
        seed=_seed_view(saved, base),
    )


def _words(identifier: str) -> str:
    return identifier.replace("_", " ")


def _word(kind: str, rollout: Rollout) -> str:
    """What a rollout of a kind of group is called: by its role, if it has one."""
    if rollout.role:
        return visible(_words(rollout.role))
    if not rollout.completion.is_whole:
        return "part"
    return "suffix" if kind == "reset" else "rollout"


def _summary(saved: SavedGroup) -> str:
    group = saved.group
    pairs = zip(group.rollouts, group.verdicts, strict=True)
    whole = [verdict for rollout, verdict in pairs if rollout.completion.is_whole]
    facts = []
    if whole:
        right = sum(verdict.correct for verdict in whole)
        mean = sum(verdict.reward for verdict in whole) / len(whole)
        facts.append(f"{right} of {len(whole)} right, mean reward {mean:.2f}")
    if len(whole) < len(group.rollouts):
        facts.append(_count(len(group.rollouts) - len(whole), "part"))
    return ", ".join(facts)


def _gradient(saved: SavedGroup, rollouts: Sequence[RolloutView]) -> str:
    """Which tokens of a group carry gradient, in a sentence."""
    if not any(saved.advantages):
        why = "" if rewards_differ(saved) else "Equal rewards: "
        return f"{why}all advantages are 0, so no reward pushes these tokens."
    prefix = max(rollout.num_prefix_tokens for rollout in rollouts)
    if not prefix:
        return "Every token of these completions carries gradient."
    if not saved.mask_prefix:
        return (
            f"Every token carries gradient, the {prefix} tokens of the shared prefix included "
            "(mask_prefix=false)."
        )
    if saved.group.reset_state is None:
        return (
            f"Prefixes, of {_count(prefix, 'token')} at most, are masked: what follows is trained."
        )
    return (
        "Only the tokens behind the reset carry gradient: the shared prefix of "
        f"{_count(prefix, 'token')} is masked."
    )


def _seed_view(saved: SavedGroup, base: Sequence[Rollout]) -> SeedView | None:
    state = saved.group.reset_state
    if state is None:
        return None
    if state.seed in base:
        title = f"seed = rollout {list(base).index(state.seed) + 1} of the base group"
    else:
        title = f"seed = draw {state.seed.index + 1}, outside the base group"
    selection = state.selection
    return SeedView(
        rollout=_rollout_view(title, state.seed, state.seed_verdict, 0.0, saved),
        chosen=selection.thought,
        claim=CLAIMS.get(selection.status, "thought chosen by the selector"),
        status=visible(selection.status),
        why=STATUS_WORDS.get(selection.status, ""),
        reply=visible(selection.reply.strip()),
        first_wrong=saved.first_wrong,
        judgement=_judgement(selection.thought, saved.first_wrong),
    )


def _judgement(chosen: int, first_wrong: int | None) -> str:
    """How the chosen thought compares with the true first wrong one, "" if that is unknown."""
    if first_wrong is None:
        return ""
    if chosen == first_wrong:
        return f"exact: the step checker finds thought {first_wrong} to be the first wrong one"
    distance = _count(abs(chosen - first_wrong), "thought")
    if chosen < first_wrong:
        return (
            f"{distance} early: the step checker finds thought {first_wrong} to be the first "
            "wrong one, so right thoughts are drawn anew"
        )
    return (
        f"{distance} late: the step checker finds thought {first_wrong} to be the first wrong "
        "one, so the suffixes go on from a mistake"
    )


def _rollout_view(
    title: str,
    rollout: Rollout,
    verdict: Verdict,
    advantage: float,
    saved: SavedGroup,
    shaped_reward: float | None = None,
) -> RolloutView:
    completion = rollout.completion
    thoughts = _thought_views(completion, saved, advantage)
    kept = sum(end <= completion.prefix_len for end in completion.thought_ends)
    return RolloutView(
        title=title,
        correct=verdict.correct,
        is_part=not completion.is_whole,
        reward=_reward(verdict.reward, shaped_reward),
        advantage=advantage,
        answer=_detail(verdict, "extracted"),
        why=_detail(verdict, "why"),
        stop=STOP_WORDS[completion.stop],
        cut=completion.stop != "answer",
        num_tokens=completion.num_drawn,
        num_prefix_tokens=completion.prefix_len,
        prefix=thoughts[:kept],
        thoughts=thoughts[kept:],
    )


def _reward(reward: float, shaped: float | None) -> str:
    """The task's reward and, where it differs, what the sampler made of it."""
    written = f"{reward:.3g}"
    return written if shaped is None or shaped == reward else f"{written}, shaped {shaped:.3g}"


def _detail(verdict: Verdict, name: str) -> str:
    value = verdict.details.get(name)
    return "" if value is None else visible(str(value))


def _thought_views(
    completion: Completion, saved: SavedGroup, advantage: float
) -> tuple[ThoughtView, ...]:
    trained_from = completion.prefix_len if saved.mask_prefix else 0
    mask = [place >= trained_from for place in range(len(completion.logprobs))]
    signal = token_signal(completion.logprobs, mask, advantage)

    def view(number: int | None, text: str, start: int, end: int) -> ThoughtView:
        logprobs = completion.logprobs[start:end]
        mean = sum(logprobs) / max(len(logprobs), 1)
        push = thought_signal(signal, mask, start, end)
        return ThoughtView(number, visible(text.strip()), len(logprobs), mean, push)

    if not completion.thoughts:
        whole = view(None, completion.text, 0, len(completion.logprobs))
        return (whole,) if whole.text else ()
    starts = [0, *completion.thought_ends[:-1]]
    return tuple(
        view(number, text.replace(saved.delimiter, ""), start, end)
        for number, (text, start, end) in enumerate(
            zip(completion.thoughts, starts, completion.thought_ends, strict=True), start=1
        )
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
