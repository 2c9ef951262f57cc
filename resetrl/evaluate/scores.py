"""From answered problems to figures: scores, their intervals, the shape of completions."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from resetrl.estimate import Estimate
from resetrl.evaluate.answers import Answer, AnsweredProblem
from resetrl.evaluate.statistics import (
    clustered_bootstrap,
    majority_is_correct,
    pass_at_k,
    wilson,
)
from resetrl.rng import derive_seed

GREEDY, REWARD = "accuracy", "reward"
"""The scores of the greedy answers; the others are `pass@k` and `maj@k` of the samples."""

Values = Callable[[AnsweredProblem], float]


@dataclass(frozen=True)
class TaskScores:
    """A task's figures.

    `scores` are `accuracy`, `reward`, `pass@k` and `maj@k`; `shape` describes completions, the
    greedy ones as `greedy/tokens` and so on, the sampled ones as `sampled/tokens`.
    """

    label: str
    num_problems: int
    scores: dict[str, Estimate]
    shape: dict[str, float]
    generated_tokens: int
    seconds: float


def score_task(
    label: str, problems: Sequence[AnsweredProblem], ks: Sequence[int], rng_seed: int
) -> TaskScores:
    """The figures of one task; `rng_seed` is for the bootstrap."""
    num_right = sum(problem.greedy.correct for problem in problems)
    scores = {GREEDY: wilson(num_right, len(problems))}
    for name, values in _problem_values(ks).items():
        seed = derive_seed(rng_seed, "bootstrap", label, name)
        scores[name] = clustered_bootstrap([_clusters(problems, values)], seed)
    greedy = [problem.greedy for problem in problems]
    samples = [sample for problem in problems for sample in problem.samples]
    return TaskScores(
        label=label,
        num_problems=len(problems),
        scores=scores,
        shape={**_shape("greedy", greedy), **_shape("sampled", samples)},
        generated_tokens=sum(each.tokens for each in [*greedy, *samples]),
        seconds=sum(problem.seconds for problem in problems),
    )


def mean_scores(
    tasks: Sequence[Sequence[AnsweredProblem]], ks: Sequence[int], rng_seed: int
) -> dict[str, Estimate]:
    """The mean over tasks of each score, every task with equal weight."""
    named: dict[str, Values] = {GREEDY: lambda p: float(p.greedy.correct), **_problem_values(ks)}
    return {
        name: clustered_bootstrap(
            [_clusters(problems, values) for problems in tasks],
            derive_seed(rng_seed, "bootstrap", "mean", name),
        )
        for name, values in named.items()
    }


def _problem_values(ks: Sequence[int]) -> dict[str, Values]:
    """What a problem is worth: its greedy reward, `pass@k` and, for more than one, `maj@k`."""
    values: dict[str, Values] = {REWARD: lambda problem: problem.greedy.reward}
    values |= {f"pass@{k}": _passes(k) for k in ks}
    return values | {f"maj@{k}": _majority(k) for k in ks if k > 1}


def _passes(k: int) -> Values:
    def value(problem: AnsweredProblem) -> float:
        num_correct = sum(sample.correct for sample in problem.samples)
        return pass_at_k(len(problem.samples), num_correct, k)

    return value


def _majority(k: int) -> Values:
    def value(problem: AnsweredProblem) -> float:
        votes = [(sample.extracted, sample.correct) for sample in problem.samples[:k]]
        return float(majority_is_correct(votes))

    return value


def _clusters(problems: Sequence[AnsweredProblem], values: Values) -> list[list[float]]:
    """The values of each distinct question: a generated task may ask the same one twice."""
    clusters: dict[str, list[float]] = defaultdict(list)
    for problem in problems:
        clusters[problem.question].append(values(problem))
    return list(clusters.values())


def _shape(kind: str, answers: Sequence[Answer]) -> dict[str, float]:
    """Means per completion, fragments per thought; shares of missing answers, of completions the
    verifier failed on, and of stops."""
    if not answers:
        return {}
    thoughts = sum(answer.thoughts for answer in answers)
    missing = sum(answer.extracted is None for answer in answers)
    stops = Counter(answer.stop for answer in answers)
    return {
        f"{kind}/tokens": sum(answer.tokens for answer in answers) / len(answers),
        f"{kind}/thoughts": thoughts / len(answers),
        f"{kind}/fragments": sum(answer.fragments for answer in answers) / max(thoughts, 1),
        f"{kind}/missing": missing / len(answers),
        f"{kind}/verifier_errors": sum(bool(each.error) for each in answers) / len(answers),
        **{f"{kind}/stop/{stop}": n / len(answers) for stop, n in sorted(stops.items())},
    }
