"""From the answers of an evaluation to its results, its metrics and what is printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console

from resetrl.estimate import Estimate
from resetrl.evaluate.answers import AnsweredProblem
from resetrl.evaluate.config import EvalConfig
from resetrl.evaluate.report import Results, as_numbers, flat, interval, plain_table
from resetrl.evaluate.scores import GREEDY, REWARD, TaskScores
from resetrl.evaluate.suite import suite_name

MEAN = "mean of tasks"


def results(
    config: EvalConfig,
    tasks: Sequence[TaskScores],
    mean: Mapping[str, Estimate],
    answers: Mapping[str, Sequence[AnsweredProblem]],
) -> Results:
    """All figures; `answers` are the problems of each task by its label."""
    summary = {
        "command": "eval",
        "suite": suite_name(config),
        "model": config.model.path,
        "run": config.run,
        "step": config.step,
        "weights": config.weights,
        "seed": config.seed,
        "samples": config.samples,
        "tasks": {task.label: _task_summary(task) for task in tasks},
        "mean": {name: as_numbers(estimate) for name, estimate in mean.items()},
    }
    rows = [row for task in tasks for row in _rows(task.label, task.num_problems, task.scores)]
    if len(tasks) > 1:
        rows += _rows(MEAN, sum(task.num_problems for task in tasks), mean)
    prefixes = {label: f"{label}:" if config.suite else "" for label in answers}
    table = [
        _problem_row(label, prefixes[label], each)
        for label, mine in answers.items()
        for each in mine
    ]
    return Results(summary, rows, table)


def metrics(tasks: Sequence[TaskScores], mean: Mapping[str, Estimate]) -> dict[str, float]:
    """`eval/accuracy` and its like for the mean of tasks, `eval/LABEL/accuracy` for each task."""
    metrics: dict[str, float] = _flat("eval", mean)
    for task in tasks:
        metrics |= _flat(f"eval/{task.label}", task.scores)
        metrics |= {f"eval/{task.label}/{name}": value for name, value in task.shape.items()}
    metrics["eval/generated_tokens"] = float(sum(task.generated_tokens for task in tasks))
    metrics["eval/seconds"] = sum(task.seconds for task in tasks)
    return metrics


def print_scores(
    tasks: Sequence[TaskScores], mean: Mapping[str, Estimate], console: Console
) -> None:
    """Scores, what completions look like, and what they cost."""
    console.print()
    _print_one(tasks[0], console) if len(tasks) == 1 else _print_many(tasks, mean, console)
    console.print()
    _print_shape(tasks, console)
    for task in tasks:
        failed = max(v for name, v in task.shape.items() if name.endswith("/verifier_errors"))
        if failed:
            console.print(
                f"The verifier failed on {failed:.1%} of the completions of {task.label}, which "
                "count as wrong: the reasons stand in answers/",
                style="yellow",
                markup=False,
            )
    tokens = sum(task.generated_tokens for task in tasks)
    seconds = sum(task.seconds for task in tasks)
    console.print(
        f"\n{tokens:,} tokens in {seconds:,.1f} s ({tokens / max(seconds, 1e-9):,.0f} tokens/s)"
    )


def _print_one(task: TaskScores, console: Console) -> None:
    table = plain_table(task.label, "score", "95 % interval")
    for name, estimate in task.scores.items():
        table.add_row(_name(name), f"{estimate.value:.3f}", interval(estimate))
    console.print(table)


def _print_many(
    tasks: Sequence[TaskScores], mean: Mapping[str, Estimate], console: Console
) -> None:
    """Of pass@k and maj@k only the ends; the files hold all, with their intervals."""
    shown = [name for name in mean if name == "pass@1"]
    for family in ("pass@", "maj@"):
        shown += [name for name in mean if name.startswith(family)][-1:]
    shown = list(dict.fromkeys(shown))
    table = plain_table("task", "n", "greedy", "95 % interval", *shown)
    for task in tasks:
        table.add_row(*_score_row(task.label, task.num_problems, task.scores, shown))
    total = sum(task.num_problems for task in tasks)
    table.add_row(*_score_row(f"[bold]{MEAN}", total, mean, shown))
    console.print(table)


def _print_shape(tasks: Sequence[TaskScores], console: Console) -> None:
    """What completions look like: of one task greedy and sampled ones, of many the greedy ones."""
    alone = len(tasks) == 1
    table = plain_table(
        "completions" if alone else "greedy completions",
        *("tokens", "thoughts", "fragments", "no answer", "too long"),
    )
    for task in tasks:
        for kind in ("greedy", "sampled") if alone else ("greedy",):
            if f"{kind}/tokens" in task.shape:
                table.add_row(kind if alone else task.label, *_shape_columns(task, kind))
    console.print(table)


def _score_row(
    label: str, num_problems: int, scores: Mapping[str, Estimate], shown: Sequence[str]
) -> list[str]:
    greedy = scores[GREEDY]
    return [
        label,
        str(num_problems),
        f"{greedy.value:.3f}",
        interval(greedy),
        *(f"{scores[name].value:.3f}" for name in shown),
    ]


def _shape_columns(task: TaskScores, kind: str) -> list[str]:
    shape = {name.partition("/")[2]: v for name, v in task.shape.items() if name.startswith(kind)}
    return [
        f"{shape['tokens']:.1f}",
        f"{shape['thoughts']:.1f}",
        f"{shape['fragments']:.1%}",
        f"{shape['missing']:.1%}",
        f"{shape.get('stop/too_long', 0.0):.1%}",
    ]


def _name(score: str) -> str:
    return {GREEDY: "greedy pass@1", REWARD: "greedy reward"}.get(score, score)


def _task_summary(task: TaskScores) -> dict[str, Any]:
    return {
        "problems": task.num_problems,
        "scores": {name: as_numbers(estimate) for name, estimate in task.scores.items()},
        "shape": task.shape,
        "generated_tokens": task.generated_tokens,
        "seconds": task.seconds,
    }


def _rows(label: str, num_problems: int, scores: Mapping[str, Estimate]) -> list[dict[str, object]]:
    return [
        {"task": label, "problems": num_problems, "score": name, **as_numbers(estimate)}
        for name, estimate in scores.items()
    ]


def _flat(prefix: str, scores: Mapping[str, Estimate]) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for name, estimate in scores.items():
        metrics |= flat(f"{prefix}/{name}", estimate)
    return metrics


def _problem_row(label: str, prefix: str, problem: AnsweredProblem) -> dict[str, object]:
    greedy, samples = problem.greedy, problem.samples
    return {
        "task": label,
        **asdict(problem.saved(prefix)),
        "tokens": greedy.tokens,
        "thoughts": greedy.thoughts,
        "fragments": greedy.fragments,
        "stop": greedy.stop,
        "samples": len(samples),
        "correct_samples": sum(sample.correct for sample in samples),
        "missing_samples": sum(sample.extracted is None for sample in samples),
        "sample_tokens": sum(sample.tokens for sample in samples),
    }
