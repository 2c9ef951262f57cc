"""`resetrl analyze localization --fresh`, from its arguments to the resets it has made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import cast

from rich.console import Console

from resetrl.analysis.config import LOCALIZE, LocalizeConfig
from resetrl.analysis.fresh import FreshResets
from resetrl.analysis.localization import (
    Reset,
    corrections,
    matched_difference,
    outcome_rates,
    resets_of,
)
from resetrl.analysis.report import ROOT, report
from resetrl.ask import choose_resets
from resetrl.errors import ConfigError, ResetrlError
from resetrl.estimate import Estimate
from resetrl.evaluate.report import Results, as_numbers, flat, print_places, tracked
from resetrl.evaluate.setup import Setup, held_out_prompts, set_up
from resetrl.interfaces import ResetSelector, StepChecker, Task
from resetrl.meter import Meter
from resetrl.models import LoadedModel
from resetrl.run.blame import naming_components
from resetrl.run.build import build_component, build_inference, start_policy
from resetrl.run.progress import announce
from resetrl.run.rollouts import read_groups, write_groups
from resetrl.types import Group, StepRecord, Update


def run_fresh(
    arguments: Sequence[str], min_words: int = 0, *, print_config: bool = False
) -> Path | None:
    """Make resets, and say what they show; returns the folder with tables, picture and rollouts.

    Each selector has a folder of its own in there, which `resetrl show` reads as it does a run.
    """
    console = Console(highlight=False)
    setup = set_up(arguments, LOCALIZE)
    if print_config:
        setup.print(console)
        return None
    config = setup.begin(LocalizeConfig)
    task = cast(Task, build_component(setup.registry, "task", config.task))
    with console.status("loading the model"):
        loaded = setup.load_model(config)
        fresh = build_fresh(config, setup, task, loaded)
        prompts = held_out_prompts(config, task, loaded)
    folder = setup.open_folder(ROOT, setup.config.task.name)
    announce(console, folder.name, "starts", folder)
    context = setup.context(folder, console)
    with tracked(context, config.tracking, "localize", setup.tags) as tracking:
        meter = Meter(fresh.inference.policy.counters, loaded.num_parameters)
        with naming_components(setup.registry), console.status("drawing seeds and suffixes"):
            seeds = fresh.seeds(prompts, meter)
            if not seeds:
                raise ResetrlError(
                    f"none of {config.draws} draws of {len(prompts)} problems has a wrong thought: "
                    "raise draws or problems, or take harder problems"
                )
            groups = fresh.groups(seeds, meter)
        found = {
            name: _saved(folder / name, config, mine, task, min_words)
            for name, mine in groups.items()
        }
        tracking.log(config.step, _metrics(found))
        _results(config, found).write(folder)
    report(found, folder, console)
    tokens = sum(usage.generated_tokens for usage in meter.usage().values())
    console.print(f"{len(seeds)} seeds of {len(prompts)} problems, {tokens:,} tokens")
    print_places(folder, tracking, console)
    return folder


def build_fresh(
    config: LocalizeConfig, setup: Setup, task: Task, loaded: LoadedModel
) -> FreshResets:
    """Everything fresh resets need; raises ConfigError if its parts do not fit one another."""
    if not isinstance(task, StepChecker):
        raise ConfigError(
            f"task {setup.config.task.name} does not say which thought is wrong: choose one that "
            "checks steps, such as chain"
        )
    policy = start_policy(config, setup.registry, loaded)
    inference = build_inference(config, setup.registry, task, loaded, policy)
    selectors = {
        name: cast(ResetSelector, build_component(setup.registry, "reset_selector", {"name": name}))
        for name in config.selectors
    }
    with naming_components(setup.registry):
        for selector in selectors.values():
            choose_resets(selector, [], inference.selector_context(0))
    return FreshResets(
        inference=inference,
        checker=task,
        selectors=selectors,
        sampling=config.sampling.record(),
        limits=config.limits.record(),
        num_draws=config.draws,
        num_suffixes=config.suffixes,
    )


def _saved(
    folder: Path, config: LocalizeConfig, groups: Sequence[Group], task: Task, min_words: int
) -> list[Reset]:
    """The resets of one selector, saved as a run saves the rollouts of a step."""
    nothing = [(0.0,) * len(group.rollouts) for group in groups]
    record = StepRecord(config.step, groups, nothing, (), Update(0.0, 0.0), {}, {})
    file = write_groups(folder, record, delimiter=config.model.delimiter, task=task)
    return resets_of(config.step, read_groups(file), min_words)


def _results(config: LocalizeConfig, found: Mapping[str, Sequence[Reset]]) -> Results:
    """The figures of every selector, and every reset as a row of the table."""
    figures = {name: _figures(resets) for name, resets in found.items()}
    rows: list[dict[str, object]] = [
        {"selector": name, "figure": figure, **as_numbers(estimate)}
        for name, mine in figures.items()
        for figure, estimate in mine.items()
    ]
    summary = {
        "command": "localize",
        "model": config.model.path,
        "run": config.run,
        "step": config.step,
        "weights": config.weights,
        "seed": config.seed,
        "draws": config.draws,
        "suffixes": config.suffixes,
        "selectors": {
            name: {
                "resets": len(found[name]),
                **{figure: as_numbers(estimate) for figure, estimate in mine.items()},
            }
            for name, mine in figures.items()
        },
    }
    table = [
        {"selector": name, **asdict(reset)} for name, resets in found.items() for reset in resets
    ]
    return Results(summary, rows, table)


def _metrics(found: Mapping[str, Sequence[Reset]]) -> dict[str, float]:
    """`localization/uniform/exact` and its like, with `_low` and `_high` for intervals."""
    metrics: dict[str, float] = {}
    for name, resets in found.items():
        for figure, estimate in _figures(resets).items():
            metrics |= flat(f"localization/{name}/{figure}", estimate)
    return metrics


def _figures(resets: Sequence[Reset]) -> dict[str, Estimate]:
    """Outcomes, and the corrections there are; the difference is that at equal depth."""
    prefixes = corrections(resets)
    corrected = {
        "corrected_from_clean": prefixes.clean,
        "corrected_from_erroneous": prefixes.erroneous,
        "matched_difference": matched_difference(resets),
    }
    known = {figure: estimate for figure, estimate in corrected.items() if estimate is not None}
    return {**outcome_rates(resets), **known}
