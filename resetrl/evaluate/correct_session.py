"""`resetrl correct`, from its arguments to what it prints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from rich.console import Console
from rich.progress import Progress

from resetrl.ask import choose_resets
from resetrl.errors import ConfigError
from resetrl.evaluate.acceptance import BySelf, ByVerifier
from resetrl.evaluate.config import CORRECT, CorrectConfig
from resetrl.evaluate.correction import Corrector, Round
from resetrl.evaluate.correction_report import (
    print_rounds,
    results,
    round_figures,
    round_metrics,
    rounds_used,
)
from resetrl.evaluate.report import answer_bar, print_places, tracked
from resetrl.evaluate.setup import Setup, held_out_prompts, set_up
from resetrl.interfaces import ResetSelector, Task
from resetrl.models import LoadedModel
from resetrl.prompts import verification_ids
from resetrl.run.blame import naming_components
from resetrl.run.build import build_component, build_inference, start_policy
from resetrl.run.progress import announce
from resetrl.run.rollouts import saved_answer, write_answers
from resetrl.run.tracking import Tracking
from resetrl.types import Prompt

ROOT = "corrections"
"""Where corrections are kept, below the current folder."""


def run_correct(arguments: Sequence[str], *, print_config: bool = False) -> Path | None:
    """Correct, and say how it went; returns the folder of the results."""
    console = Console(highlight=False)
    setup = set_up(arguments, CORRECT)
    if print_config:
        setup.print(console)
        return None
    config = setup.begin(CorrectConfig)
    with console.status("loading the model"):
        task = cast(Task, build_component(setup.registry, "task", config.task))
        loaded = setup.load_model(config)
        corrector = build_corrector(config, setup, task, loaded)
        prompts = held_out_prompts(config, task, loaded)
    names = (setup.config.task.name, setup.config.reset_selector.name, config.stop)
    folder = setup.open_folder(ROOT, "-".join(names))
    announce(console, folder.name, "starts", folder)
    context = setup.context(folder, console)
    with tracked(context, config.tracking, "correct", setup.tags) as tracking:
        counters = corrector.inference.policy.counters
        with naming_components(setup.registry), answer_bar(console, counters) as bar:
            rounds = _watched(corrector, prompts, bar, tracking, console)
        used = rounds_used(rounds)
        tracking.log(rounds[-1].number, {"correct/rounds_used": sum(used) / len(used)})
        results(config, rounds).write(folder)
        for each in rounds:
            write_answers(folder, each.number, [saved_answer(*judged) for judged in each.answers])
    print_rounds(config, rounds, console)
    print_places(folder, tracking, console)
    return folder


def build_corrector(
    config: CorrectConfig, setup: Setup, task: Task, loaded: LoadedModel
) -> Corrector:
    """Everything a correction needs; raises ConfigError if its parts do not fit one another."""
    policy = start_policy(config, setup.registry, loaded)
    inference = build_inference(config, setup.registry, task, loaded, policy)
    selector = cast(
        ResetSelector | None,
        build_component(setup.registry, "reset_selector", config.reset_selector),
    )
    if selector is None:
        names = ", ".join(setup.registry.names("reset_selector"))
        raise ConfigError(
            f"reset_selector is null, so there is nowhere to go back to: choose {names}"
        )
    with naming_components(setup.registry):
        choose_resets(selector, [], inference.selector_context(0))
    if config.stop == "self":  # a template that is missing is missing before anything is asked
        prompt = config.self_verification.prompt
        verification_ids(prompt, loaded.tokenizer, question="", thoughts=[])
    return Corrector(
        inference=inference,
        selector=selector,
        acceptor=BySelf(config.self_verification) if config.stop == "self" else ByVerifier(),
        first=config.first.record(),
        sampling=config.sampling.record(),
        limits=config.limits.record(),
        num_rounds=config.rounds,
        num_parameters=loaded.num_parameters,
    )


def _watched(
    corrector: Corrector,
    prompts: Sequence[Prompt],
    bar: Progress,
    tracking: Tracking,
    console: Console,
) -> list[Round]:
    """The rounds, with a bar over them, each tracked when it is done."""
    row = bar.add_task("rounds", total=corrector.num_rounds + 1)
    rounds = []
    for each in corrector.rounds(prompts):
        rounds.append(each)
        tracking.log(each.number, round_metrics(round_figures(rounds)[-1]))
        bar.advance(row)
        if not console.is_terminal:
            right = sum(verdict.correct for _, verdict in each.answers)
            console.print(f"round {each.number}: {right} of {len(prompts)} right")
    return rounds
