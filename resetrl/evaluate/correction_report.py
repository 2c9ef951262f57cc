"""From the rounds of a correction to its results, its metrics and what is printed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from rich.console import Console

from resetrl.estimate import Estimate
from resetrl.evaluate.acceptance import VERDICT
from resetrl.evaluate.config import CorrectConfig
from resetrl.evaluate.correction import Round
from resetrl.evaluate.report import Results, interval, plain_table
from resetrl.evaluate.statistics import wilson
from resetrl.run.build import component_options
from resetrl.run.rollouts import saved_answer
from resetrl.types import PhaseUsage

PHASES = ("answer", "self_verify", "localize", "suffix")
"""The phases that generate, in the order of a round."""


@dataclass(frozen=True)
class RoundFigures:
    """What a round achieved and cost; shares are of all problems.

    `corrected` were wrong before the round and are right now, `broken` the other way round.
    `accepted` are all problems done by the end of the round, `accepted_wrong` those of them that
    are wrong; behind the last round nobody is asked, so they stay. `statuses` are the shares of
    what selector and acceptor said in the round. On `verifier_errors` of the answers the verifier
    failed: they count as wrong.
    """

    number: int
    accuracy: Estimate
    corrected: float
    broken: float
    resampled: float
    accepted: float
    accepted_wrong: float
    verifier_errors: float
    statuses: Mapping[str, float]
    tokens: Mapping[str, int]


def round_figures(rounds: Sequence[Round]) -> list[RoundFigures]:
    """The figures of each round, in order."""
    figures = []
    accepted: set[int] = set()
    before = [verdict.correct for _, verdict in rounds[0].answers]
    for each in rounds:
        now = [verdict.correct for _, verdict in each.answers]
        accepted |= {i for i, said in enumerate(each.acceptances) if said and said.accepted}
        total = len(now)
        figures.append(
            RoundFigures(
                number=each.number,
                accuracy=wilson(sum(now), total),
                corrected=sum(a and not b for a, b in zip(now, before, strict=True)) / total,
                broken=sum(b and not a for a, b in zip(now, before, strict=True)) / total,
                resampled=len(each.resampled) / total if each.number else 0.0,
                accepted=len(accepted) / total,
                accepted_wrong=sum(not now[place] for place in accepted) / total,
                verifier_errors=sum(bool(verdict.error) for _, verdict in each.answers) / total,
                statuses=_statuses(each),
                tokens={name: u.generated_tokens for name, u in each.usage.items() if u.requests},
            )
        )
        before = now
    return figures


def _statuses(each: Round) -> dict[str, float]:
    selected = Counter(selection.status for selection in each.selections if selection)
    said = Counter(said.status for said in each.acceptances if said and said.status != VERDICT)
    return {
        **{f"localization/{name}": n / selected.total() for name, n in sorted(selected.items())},
        **{f"verification/{name}": n / said.total() for name, n in sorted(said.items())},
    }


def rounds_used(rounds: Sequence[Round]) -> list[int]:
    """In how many rounds each problem was gone back into."""
    counts = [0] * len(rounds[0].answers)
    for each in rounds[1:]:
        for place in each.resampled:
            counts[place] += 1
    return counts


def round_metrics(figures: RoundFigures) -> dict[str, float]:
    """`correct/accuracy` and so on, to be logged with the round as step."""
    accuracy = figures.accuracy
    return {
        "correct/accuracy": accuracy.value,
        "correct/accuracy_low": accuracy.low,
        "correct/accuracy_high": accuracy.high,
        "correct/corrected": figures.corrected,
        "correct/broken": figures.broken,
        "correct/resampled": figures.resampled,
        "correct/accepted": figures.accepted,
        "correct/accepted_wrong": figures.accepted_wrong,
        "correct/verifier_errors": figures.verifier_errors,
        **{f"correct/{name}": share for name, share in figures.statuses.items()},
        **{f"correct/tokens/{name}": float(n) for name, n in figures.tokens.items()},
        "correct/tokens/total": float(sum(figures.tokens.values())),
    }


def phase_usage(rounds: Sequence[Round]) -> dict[str, PhaseUsage]:
    """What each phase cost over all rounds."""
    totals: dict[str, PhaseUsage] = {}
    for each in rounds:
        for name, usage in each.usage.items():
            spent = asdict(totals.get(name, PhaseUsage()))
            totals[name] = PhaseUsage(**{k: spent[k] + v for k, v in asdict(usage).items()})
    return totals


def results(config: CorrectConfig, rounds: Sequence[Round]) -> Results:
    """All figures, by round and by problem."""
    figures, used = round_figures(rounds), rounds_used(rounds)
    summary = {
        "command": "correct",
        "task": str(component_options(config.task)["name"]),
        "model": config.model.path,
        "run": config.run,
        "step": config.step,
        "weights": config.weights,
        "seed": config.seed,
        "reset_selector": _selector(config),
        "stop": config.stop,
        "upper_bound": config.stop == "verifier" or _selector(config) == "oracle",
        "problems": len(used),
        "rounds": [asdict(each) for each in figures],
        "rounds_used": {str(n): count for n, count in sorted(Counter(used).items())},
        "phases": {name: asdict(usage) for name, usage in phase_usage(rounds).items()},
    }
    return Results(
        summary, [_row(each, len(used)) for each in figures], _problem_rows(rounds, used)
    )


def _row(each: RoundFigures, num_problems: int) -> dict[str, object]:
    return {
        "round": each.number,
        "problems": num_problems,
        "accuracy": each.accuracy.value,
        "low": each.accuracy.low,
        "high": each.accuracy.high,
        "corrected": each.corrected,
        "broken": each.broken,
        "resampled": each.resampled,
        "accepted": each.accepted,
        "accepted_wrong": each.accepted_wrong,
        "verifier_errors": each.verifier_errors,
        **{f"tokens_{phase}": each.tokens.get(phase, 0) for phase in PHASES},
    }


def _problem_rows(rounds: Sequence[Round], used: Sequence[int]) -> list[dict[str, object]]:
    """Each problem's first and last answer, and whether it was right after each round."""
    rows: list[dict[str, object]] = []
    for place, num_rounds in enumerate(used):
        history = [each.answers[place] for each in rounds]
        first, last = saved_answer(*history[0]), saved_answer(*history[-1])
        rows.append(
            {
                **asdict(last),
                "first_completion": first.completion,
                "first_correct": first.correct,
                "right_after_rounds": "".join(str(int(v.correct)) for _, v in history),
                "rounds_used": num_rounds,
            }
        )
    return rows


def print_rounds(config: CorrectConfig, rounds: Sequence[Round], console: Console) -> None:
    """Accuracy after each round, what each phase cost, and how many rounds were needed."""
    figures, used = round_figures(rounds), rounds_used(rounds)
    table = plain_table(
        "round", "accuracy", "95 % interval", "corrected", "broken", "resampled", "accepted"
    )
    for each in figures:
        table.add_row(
            str(each.number),
            f"{each.accuracy.value:.3f}",
            interval(each.accuracy),
            *(f"{share:.1%}" for share in (each.corrected, each.broken, each.resampled)),
            f"{each.accepted:.1%}" if each.number < config.rounds else "-",
        )
    console.print()
    console.print(table)
    phases = plain_table("phase", "requests", "prompt", "cached", "generated tokens", "seconds")
    for name, usage in phase_usage(rounds).items():
        if name == "other":
            continue
        columns = (usage.requests, usage.prompt_tokens, usage.cached_tokens, usage.generated_tokens)
        phases.add_row(name, *(f"{n:,}" for n in columns), f"{usage.seconds:.1f}")
    console.print()
    console.print(phases)
    counts = ", ".join(f"{n}: {count}" for n, count in sorted(Counter(used).items()))
    console.print(
        f"\nrounds used (number: problems)  {counts}; on average {sum(used) / len(used):.2f}"
    )
    failed = figures[-1].verifier_errors
    if failed:
        console.print(f"The verifier failed on {failed:.1%} of the answers, which count as wrong.")
    if config.stop == "self":
        wrong = figures[-1].accepted_wrong
        console.print(f"The policy accepted wrong answers to {wrong:.1%} of the problems.")
    else:
        console.print("An upper bound: the verifier, which knows the answer, says when to stop.")
    if _selector(config) == "oracle":
        console.print("An upper bound: the oracle knows where each answer first goes wrong.")


def _selector(config: CorrectConfig) -> str:
    return str(component_options(config.reset_selector)["name"])
