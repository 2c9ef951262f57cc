"""`resetrl eval`, from its arguments to what it prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from resetrl.evaluate.answers import AnsweredProblem, AnswerFile
from resetrl.evaluate.config import EVAL, EvalConfig
from resetrl.evaluate.evaluation import Evaluator
from resetrl.evaluate.evaluation_report import metrics, print_scores, results
from resetrl.evaluate.report import answer_bar, print_places, tracked
from resetrl.evaluate.scores import mean_scores, score_task
from resetrl.evaluate.setup import Setup, set_up
from resetrl.evaluate.suite import LabelledTask, labelled_tasks, suite_name
from resetrl.meter import Meter
from resetrl.models import LoadedModel
from resetrl.run.blame import naming_components
from resetrl.run.build import build_inference, start_policy
from resetrl.run.data import PromptMaker
from resetrl.run.progress import announce
from resetrl.run.rollouts import write_answers

ROOT = "evals"
"""Where evaluations are kept, below the current folder."""

ANSWERS = "answers"
"""The folder in there with a file for each task."""


def run_eval(arguments: Sequence[str], *, print_config: bool = False) -> Path | None:
    """Evaluate, or go on with it, and say how it went; returns the folder of the results."""
    console = Console(highlight=False)
    setup = set_up(arguments, EVAL)
    if print_config:
        setup.print(console)
        return None
    config = setup.begin(EvalConfig)
    with console.status("loading model and tasks"):
        tasks = labelled_tasks(config, setup.registry)
        loaded = setup.load_model(config)
    folder = setup.open_folder(ROOT, suite_name(config))
    context = setup.context(folder, console)
    tags = {**setup.tags, "suite": suite_name(config)}
    with tracked(context, config.tracking, "eval", tags) as tracking:
        try:
            with naming_components(setup.registry):
                answers = _answer_all(setup, config, tasks, loaded, folder, console)
        except KeyboardInterrupt:
            console.print("interrupted; the same command goes on where it was")
            raise
        with console.status("computing intervals"):
            scores = [
                score_task(label, mine, config.ks, config.seed) for label, mine in answers.items()
            ]
            mean = scores[0].scores
            if len(scores) > 1:
                mean = mean_scores(list(answers.values()), config.ks, config.seed)
        tracking.log(config.step, metrics(scores, mean))
        results(config, scores, mean, answers).write(folder)
        _write_answers(folder, config.step, tasks, answers)
    print_scores(scores, mean, console)
    print_places(folder, tracking, console)
    return folder


def _answer_all(
    setup: Setup,
    config: EvalConfig,
    tasks: Sequence[LabelledTask],
    loaded: LoadedModel,
    folder: Path,
    console: Console,
) -> dict[str, list[AnsweredProblem]]:
    """The answered problems of every task by its label, those of an earlier start included."""
    policy = start_policy(config, setup.registry, loaded)
    limits = config.limits.record()
    evaluator = Evaluator(
        PromptMaker(loaded, config.model, limits),
        config.sampling.record(),
        limits,
        config.samples,
        config.chunk,
    )
    meter = Meter(policy.counters, loaded.num_parameters)
    answers = {}
    verb = "goes on" if (folder / ANSWERS).exists() else "starts"
    announce(console, folder.name, verb, folder)
    with answer_bar(console, policy.counters) as bar:
        for task in tasks:
            inference = build_inference(config, setup.registry, task.task, loaded, policy)
            file = AnswerFile(folder / ANSWERS / f"{task.label.replace('/', '-')}.jsonl")
            row = bar.add_task(task.label, total=task.num_problems)
            advance = partial(bar.advance, row)
            answers[task.label] = evaluator.evaluate(task, inference, meter, file, advance)
            if not console.is_terminal:
                console.print(f"{task.label}: {task.num_problems} answered")
    return answers


def _write_answers(
    folder: Path,
    step: int,
    tasks: Sequence[LabelledTask],
    answers: Mapping[str, Sequence[AnsweredProblem]],
) -> None:
    """The greedy answers, in the form in which a training run keeps its evaluations."""
    saved = [
        problem.saved(prefix=f"{task.label}:" if task.in_suite else "")
        for task in tasks
        for problem in answers[task.label]
    ]
    write_answers(folder, step, saved)
