"""The plugin as its users meet it: found, choosable, keeping contracts, and running."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from resetrl.plugins import Component, load_plugins
from resetrl.run.build import build_method
from resetrl.run.compose import compose, to_run_config
from resetrl.run.tracking import read_journal
from resetrl.show.find import choose_prompt
from resetrl.show.tree import print_prompt
from resetrl.show.view import view_prompt
from resetrl.testing.contracts.results import run_contract

METHODS = ("critique_grpo", "score", "spo_tree", "vineppo")


def components() -> list[Any]:
    mine = [c for c in load_plugins() if c.source.distribution == "resetrl-baselines"]
    return [pytest.param(component, id=f"{component.kind}-{component.name}") for component in mine]


@pytest.mark.parametrize("component", components())
def test_every_component_keeps_the_contract_of_its_kind(component: Component) -> None:
    results = list(run_contract(component))
    assert len(results) > 3
    assert [result for result in results if result.reason] == []


def test_resetrl_finds_everything_through_the_entry_point() -> None:
    registry = load_plugins()
    names = {(param.values[0].kind, param.values[0].name) for param in components()}
    assert names == {("sampler", name) for name in METHODS} | {
        ("loss", name) for name in ("critique_grpo", "score", "spo_tree")
    }
    assert set(METHODS) <= set(registry.methods)


@pytest.mark.parametrize(
    ("name", "sampler", "loss", "advantage"),
    [
        ("score", "SCoRe", "SCoReLoss", "none"),
        ("critique_grpo", "CritiqueGRPO", "CritiqueLoss", "mean_only"),
        ("spo_tree", "SPOTree", "SPOTreeLoss", "mean_only"),
        ("vineppo", "VinePPO", "Clipped", "none"),
    ],
)
def test_a_method_is_one_word(name: str, sampler: str, loss: str, advantage: str) -> None:
    registry = load_plugins()
    built = build_method(to_run_config(compose([f"method={name}"], registry)), registry)
    assert (type(built.sampler).__name__, type(built.loss).__name__) == (sampler, loss)
    assert (built.advantage, built.sampler.budget) == (advantage, 8)


@pytest.fixture(scope="module", params=METHODS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two steps of a method with the tiny policy."""
    from resetrl.run.loop import build_trainer, run_trainer

    registry = load_plugins()
    config = compose(
        [
            f"method={request.param}",
            "steps=2",
            "prompts_per_step=3",
            "evaluation.problems=6",
            "save_rollouts_every=1",
            "tracking.enabled=false",
        ],
        registry,
    )
    folder = tmp_path_factory.mktemp(request.param)
    trainer = build_trainer(config, folder, registry)
    run_trainer(trainer, config, registry, Console(file=io.StringIO()))
    return folder


def test_a_run_logs_its_phases_and_evaluations(run: Path) -> None:
    metrics: dict[str, float] = {}
    for record in read_journal(run / "metrics.jsonl"):
        metrics |= record.metrics
    (method,) = (name for name in METHODS if run.name.startswith(name))
    phase = {"critique_grpo": "refine", "score": "second_turn", "spo_tree": "branch"}
    assert metrics[f"phase/{phase.get(method, 'value')}/generated_tokens"] > 0
    assert ("eval/second_turn_accuracy" in metrics) == (method == "score")
    assert 0 <= metrics["draws/accuracy"] <= 1


def test_a_run_can_be_shown(run: Path) -> None:
    stream = io.StringIO()
    view = view_prompt("run", choose_prompt(run, None, None).tree)
    print_prompt(Console(file=stream, width=80), view, full=False)
    assert all(kind in stream.getvalue() for kind in ("question", "advantage"))
