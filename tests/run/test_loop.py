"""The train loop in this process: budgets, the ledger, resuming, and whom an error blames."""

from __future__ import annotations

import io
from dataclasses import asdict, astuple
from pathlib import Path

import pytest
import torch
from rich.console import Console

from resetrl.errors import CheckpointError, TrainingError
from resetrl.hookspecs import hookimpl
from resetrl.models import load_model
from resetrl.plugins import load_plugins
from resetrl.run.checkpoint import latest_checkpoint
from resetrl.run.compose import compose, config_hash
from resetrl.run.loop import build_trainer, provenance, run_trainer
from resetrl.run.summary import print_summary
from resetrl.run.tracking import read_journal

SMALL = [
    "steps=3",
    "prompts_per_step=2",
    "evaluation.every=2",
    "evaluation.problems=3",
    "checkpoint.every=1",
    "tracking.enabled=false",
]


class Recorder:
    """An observer that keeps what it is told."""

    def __init__(self):
        self.records = []
        self.evaluations = []

    @hookimpl
    def resetrl_step_finished(self, record):
        self.records.append(record)

    @hookimpl
    def resetrl_evaluated(self, evaluation):
        self.evaluations.append(evaluation)


def run(folder, *overrides, plugin=None, resume=False):
    """A short run, or the rest of it: its trainer, its outcome, what observers were told."""
    registry = load_plugins([plugin] if plugin else [])
    recorder = Recorder()
    registry.manager.register(recorder)
    config = compose([*SMALL, *overrides], registry)
    checkpoint = latest_checkpoint(folder, config_hash(config)) if resume else None
    folder.mkdir(exist_ok=True)
    trainer = build_trainer(config, folder, registry, checkpoint)
    outcome = run_trainer(trainer, config, registry, Console(file=io.StringIO()))
    return trainer, outcome, recorder


def test_tags_say_what_the_verifier_says_of_the_machine(tmp_path):
    plugin = tmp_path / "tagged.py"
    plugin.write_text(
        "from dataclasses import dataclass\n"
        "from resetrl.builtin.verifiers import Exact\n"
        "from resetrl.hookspecs import hookimpl\n"
        "@dataclass\n"
        "class Tagged(Exact):\n"
        "    def tags(self): return {'sandbox_level': 'namespaces'}\n"
        "@hookimpl\n"
        "def resetrl_verifiers(): return {'tagged': Tagged}\n"
    )
    registry = load_plugins([plugin])
    for verifier, level in (("tagged", "namespaces"), ("exact", None)):
        config = compose([*SMALL, f"verifier={verifier}"], registry)
        tags = provenance(build_trainer(config, tmp_path, registry), registry)
        assert tags.get("sandbox_level") == level


def summary(outcome):
    console = Console(file=io.StringIO(), width=200)
    print_summary(outcome, console)
    return console.file.getvalue()


def test_the_ledgers_sums_are_the_engines_own_counters(tmp_path: Path) -> None:
    trainer, outcome, told = run(tmp_path / "run")
    ledger, counters = outcome.ledger, trainer.session.policy.counters
    assert (
        ledger.requests + ledger.evaluation_requests,
        ledger.prompt_tokens + ledger.evaluation_prompt_tokens,
        ledger.cached_tokens + ledger.evaluation_cached_tokens,
        ledger.generated_tokens + ledger.evaluation_generated_tokens,
    ) == astuple(counters)
    assert ledger.evaluation_requests == 3 * 3  # before, after step 2 and after the last

    phases = [record.phases for record in told.records]
    assert ledger.localization_tokens == sum(
        each["localize"].prompt_tokens + each["localize"].generated_tokens for each in phases
    )
    assert ledger.requests == sum(usage.requests for each in phases for usage in each.values())
    assert ledger.learned_tokens == sum(each["learn"].learned_tokens for each in phases) > 0
    assert ledger.trained_rollouts == 3 * 2 * 8
    assert ledger.rollouts == ledger.trained_rollouts + ledger.discarded_rollouts
    assert ledger.rollouts == sum(
        each[phase].requests for each in phases for phase in ("draw", "suffix") if phase in each
    )
    assert 0 < ledger.verify_seconds < ledger.seconds
    size = trainer.session.learner.num_parameters
    computed = ledger.prompt_tokens + ledger.generated_tokens
    assert ledger.flops == pytest.approx(size * (2 * computed + 6 * ledger.learned_tokens))
    assert told.records[-1].metrics["total/localization_tokens"] == ledger.localization_tokens


def test_a_run_ends_after_the_step_that_reaches_a_budget_also_through_a_resume(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "run"
    _, outcome, told = run(folder, "stop.after_rollouts=1", "checkpoint.every=9")
    drawn = round(outcome.ledger.rollouts)
    assert (outcome.steps, outcome.checkpoint.name) == (1, "step_000001")
    assert [evaluation.step for evaluation in told.evaluations] == [0, 1]
    assert outcome.budget == f"{drawn} rollouts drawn of stop.after_rollouts=1"
    assert f"ended     after step 1, with {outcome.budget}" in summary(outcome)

    with pytest.raises(CheckpointError, match=r"has spent its budget after step 1: .*; raise it"):
        run(folder, f"stop.after_rollouts={drawn}", resume=True)
    _, outcome, told = run(folder, f"stop.after_rollouts={drawn + 1}", resume=True)
    assert [record.step for record in told.records] == [2]
    assert outcome.ledger.rollouts >= 2 * 16


@pytest.mark.parametrize("budget", ["stop.after_tokens=100", "stop.after_seconds=0.001"])
def test_tokens_and_seconds_are_budgets_too(tmp_path: Path, budget: str) -> None:
    _, outcome, _ = run(tmp_path / "run", budget)
    assert outcome.steps == 1
    assert budget in outcome.budget


def test_a_run_that_reaches_no_budget_says_nothing_of_one(tmp_path: Path) -> None:
    _, outcome, _ = run(tmp_path / "run", "steps=1", "stop.after_rollouts=1000")
    assert (outcome.steps, outcome.budget) == (1, None)
    assert "ended" not in summary(outcome)


def test_a_resumed_run_ends_with_the_gain_and_the_totals_of_the_whole_run(tmp_path: Path) -> None:
    _, first, _ = run(tmp_path / "run", "steps=1")
    _, resumed, told = run(tmp_path / "run", resume=True)
    before, after = first.evaluations[0].accuracy, resumed.evaluations[-1].accuracy
    assert f"after 3 steps; {before:.3f} after 0 ({after - before:+.3f})" in summary(resumed)

    metrics = {}
    for record in read_journal(tmp_path / "run" / "metrics.jsonl"):
        metrics.update(record.metrics)
    totals = {name: value for name, value in metrics.items() if name.startswith("total/")}
    assert totals == resumed.ledger.metrics()
    assert totals["total/evaluation_requests"] == 4 * 3  # after steps 0, 1, 2 and 3
    assert "total/evaluation_requests" not in told.records[-1].metrics


def test_paths_are_said_whole_whatever_is_in_them(tmp_path: Path) -> None:
    folder = tmp_path / "my run [bold] lr=0.1"
    registry = load_plugins()
    console = Console(file=io.StringIO(), width=40)
    config = compose([*SMALL, "steps=1"], registry)
    folder.mkdir()
    outcome = run_trainer(build_trainer(config, folder, registry), config, registry, console)
    print_summary(outcome, console)
    lines = console.file.getvalue().splitlines()
    assert lines[0] == f"{folder.name} starts; everything it writes is in {folder}"
    assert f"curve     {folder}/learning_curve.png" in lines
    assert f"resets    resetrl show '{folder}'" in lines


def test_a_resumed_run_keeps_its_distance_to_the_initial_policy(tmp_path: Path) -> None:
    penalty = ["loss.kl=0.1", "learner.lr=0.001"]
    _, whole, told = run(tmp_path / "whole", *penalty)
    run(tmp_path / "run", *penalty, "steps=2")
    _, resumed, told_again = run(tmp_path / "run", *penalty, resume=True)
    assert told_again.records[0].update == told.records[2].update
    assert told.records[2].update.metrics["learner/kl_to_initial"] > 1e-4
    assert resumed.weights_hash == whole.weights_hash


def test_a_run_with_adapters_resumes_to_the_same_numbers(tmp_path: Path) -> None:
    adapters = ["model.lora.rank=4", "model.lora.target=[q_proj,v_proj]", "learner.lr=0.001"]
    trainer, whole, told = run(tmp_path / "whole", *adapters, "seed=3")
    run(tmp_path / "run", *adapters, "seed=3", "steps=2")
    _, resumed, _ = run(tmp_path / "run", *adapters, "seed=3", resume=True)
    assert resumed.weights_hash == whole.weights_hash

    learner, usage = trainer.session.learner, told.records[0].phases["learn"]
    per_token = 4 * learner.num_parameters + 2 * learner.num_trained_parameters
    assert learner.num_trained_parameters < learner.num_parameters / 10
    assert usage.flops == per_token * usage.learned_tokens

    merged = load_model(trainer.config.model, weights=resumed.checkpoint).model
    (name, trained) = next(item for item in learner.weights() if "q_proj" in item[0])
    assert torch.equal(merged.state_dict()[name], trained)


def test_mini_batches_and_epochs_resume_to_the_same_numbers(tmp_path: Path) -> None:
    updates = ["updates.mini_batches=2", "updates.epochs=2", "loss=clipped"]
    _, whole, told = run(tmp_path / "whole", *updates)
    run(tmp_path / "run", *updates, "steps=2")
    _, resumed, _ = run(tmp_path / "run", *updates, resume=True)
    assert resumed.weights_hash == whole.weights_hash
    assert asdict(resumed.ledger)["learned_tokens"] == whole.ledger.learned_tokens
    assert told.records[0].update.metrics["learner/optimizer_steps"] == 4.0
    assert told.records[0].update.metrics["learner/clip_fraction"] >= 0


def test_a_checkpoint_stays_where_and_what_it_is_while_the_run_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(folder, "steps=1", "checkpoint.keep=3")
    first = folder / "checkpoints" / "step_000001"
    before = {path.name: path.read_bytes() for path in first.iterdir()}
    run(folder, "checkpoint.keep=3", resume=True)
    assert {path.name: path.read_bytes() for path in first.iterdir()} == before
    assert len(list(first.parent.iterdir())) == 3


LOSS = """
from resetrl.builtin.losses import SuffixMean
from resetrl.hookspecs import hookimpl


class Lost(SuffixMean):
    def loss(self, logprobs, batch):
        value, metrics = super().loss(logprobs, batch)
        return value * float("nan"), metrics


@hookimpl
def resetrl_losses():
    return {"lost": Lost}
"""

SELECTOR = """
from dataclasses import dataclass

from resetrl.hookspecs import hookimpl
from resetrl.types import Selection


@dataclass
class Beyond:
    by: int = 1

    def select(self, seeds, context):
        return [Selection(len(seed.completion.thoughts) + self.by, "x") for seed in seeds]


@hookimpl
def resetrl_reset_selectors():
    return {"beyond": Beyond}
"""

ENGINE = """
import dataclasses
from dataclasses import dataclass

from resetrl.builtin.engines import Transformers
from resetrl.hookspecs import hookimpl


@dataclass
class Mute:
    def start(self, model, tokenizer, delimiter, ranks):
        inner = Transformers().start(model, tokenizer, delimiter)
        return MutePolicy(inner)


class MutePolicy:
    def __init__(self, inner):
        self.inner, self.counters = inner, inner.counters

    def generate(self, requests):
        empty = {"token_ids": (), "logprobs": (), "thought_ends": (), "thoughts": (), "text": ""}
        return [dataclasses.replace(c, **empty) for c in self.inner.generate(requests)]

    def sync(self, learner):
        return self.inner.sync(learner)


@hookimpl
def resetrl_engines():
    return {"mute": Mute}
"""


def test_a_prompt_longer_than_the_context_names_the_task_and_the_problem(tmp_path: Path) -> None:
    sentence = (
        r"^task 'chain' of resetrl .*: the prompt of chain-\S+ has \d+ tokens: with a thought of"
    )
    limits = ["limits.max_thought_len=640", "limits.max_completion_len=640"]
    with pytest.raises(TrainingError, match=sentence):
        run(tmp_path / "run", *limits)


@pytest.mark.parametrize(
    ("code", "override", "sentence"),
    [
        (
            LOSS,
            "loss=lost",
            r"^loss 'lost' of {where}: loss Lost: it is nan, so .* prompts: chain-",
        ),
        (
            SELECTOR,
            "reset_selector=beyond",
            r"^reset_selector 'beyond' of {where}: reset selector Beyond chose thought \d+ of a "
            r"seed of \d+ thoughts \(prompt chain-",
        ),
        (
            ENGINE,
            "engine=mute",
            r"^MutePolicy of {where}: policy MutePolicy returned 8 empty completions "
            r"\(of prompt chain-",
        ),
    ],
    ids=["loss", "selector", "engine"],
)
def test_an_error_names_the_component_its_file_and_the_prompts(
    tmp_path: Path, code: str, override: str, sentence: str
) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(code)
    where = r"plugin_paths unversioned \(.*mine\.py\)"
    with pytest.raises(TrainingError, match=sentence.format(where=where)):
        run(tmp_path / "run", override, "evaluation.problems=1", plugin=plugin)
