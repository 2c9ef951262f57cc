"""The policy in front of a real vLLM on the CPU, which `make test-vllm` installs.

A vLLM takes 15 seconds to start and milliseconds to take new parameters, so a few serve all tests.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import torch
from test_sync import DropsSyncs, OneLayerStale

from resetrl.builtin.engines import Transformers, Vllm
from resetrl.builtin.learners import Torch
from resetrl.builtin.losses import SuffixMean
from resetrl.engines.vllm.policy import VllmPolicy
from resetrl.errors import EngineError, SyncError
from resetrl.interfaces import Policy
from resetrl.lora import Lora
from resetrl.method import Session
from resetrl.models import LoadedModel, ModelConfig, load_model
from resetrl.ranks import Ranks
from resetrl.step import rest
from resetrl.sync import probe_gap, synchronise
from resetrl.testing import FakeTask, contract_for, random_llama, word_level_tokenizer
from resetrl.testing.contracts import Check, title
from resetrl.testing.contracts.learner import sample_batch
from resetrl.types import Limits, Prefix, Request, Sampling

pytestmark = pytest.mark.vllm

LIMITS = Limits(max_thoughts=8, max_thought_len=32, max_completion_len=256)


@pytest.fixture(scope="session")
def python(pytestconfig: pytest.Config) -> str:
    path: str = pytestconfig.getoption("--vllm-python")
    if not path:
        pytest.fail("these tests need --vllm-python=PATH, an interpreter that has vLLM")
    return path


class Reused:
    """An engine that starts a policy by giving one that runs already the model's parameters.

    Two take turns, so that a check may compare two policies.
    """

    def __init__(self, policies: list[VllmPolicy]) -> None:
        self.policies = cycle(policies)

    def start(self, model: Any, tokenizer: Any, delimiter: str, ranks: Ranks) -> Policy:
        policy = next(self.policies)
        policy.sync(Torch().start(model))
        return policy


@pytest.fixture(scope="session")
def random_llamas(python: str) -> Iterator[list[VllmPolicy]]:
    """Two policies on the contract's model."""

    def start(_: int) -> Any:
        engine = Vllm(python=python, max_batch=32)
        return engine.start(random_llama(), word_level_tokenizer(), "</thought>")

    with ThreadPoolExecutor(2) as pool:
        policies = list(pool.map(start, range(2)))
    yield policies
    for policy in policies:
        policy.channel.close()


@pytest.fixture(scope="session")
def tiny() -> LoadedModel:
    return load_model(ModelConfig())


@pytest.fixture(scope="session")
def tiny_policy(python: str, tiny: LoadedModel) -> Iterator[Any]:
    policy: Any = Vllm(python=python).start(tiny.model, tiny.tokenizer, "</thought>")
    yield policy
    policy.channel.close()


@pytest.mark.parametrize("check", contract_for("engine"), ids=title)
def test_vllm_keeps_the_contract_of_engines(check: Check, random_llamas: list[VllmPolicy]) -> None:
    check(Reused(random_llamas))


def chain_requests(tiny: LoadedModel, temperature: float) -> list[Request]:
    """12 requests for the tiny policy, every third from a prefix that it was given."""
    tokenizer = tiny.tokenizer
    thought = tuple(tokenizer.encode("3+4=7</thought>", add_special_tokens=False))
    prefix = Prefix(thought, (-0.1,) * len(thought), (len(thought),))
    requests = []
    for index in range(12):
        token_ids = tokenizer.encode(f"3+4*{index}-5", add_special_tokens=False)
        requests.append(
            Request(
                tuple(token_ids),
                index,
                Sampling(temperature, 0.9),
                LIMITS,
                Prefix() if index % 3 else prefix,
            )
        )
    return requests


def test_greedy_completions_are_those_of_the_transformers_engine(
    tiny: LoadedModel, tiny_policy: VllmPolicy
) -> None:
    other = Transformers().start(tiny.model, tiny.tokenizer, "</thought>")
    requests = chain_requests(tiny, temperature=0.0)
    ours, theirs = tiny_policy.generate(requests), other.generate(requests)
    assert [c.token_ids for c in ours] == [c.token_ids for c in theirs]
    assert [(c.stop, c.thoughts) for c in ours] == [(c.stop, c.thoughts) for c in theirs]


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
def test_log_probabilities_of_the_same_tokens_agree_with_the_models_own(
    temperature: float, tiny: LoadedModel, tiny_policy: VllmPolicy
) -> None:
    """Also below top_p=0.9, which cuts the distribution that they are not taken of."""
    for request in chain_requests(tiny, temperature):
        (completion,) = tiny_policy.generate([request])
        token_ids = torch.tensor([request.prompt_ids + completion.token_ids])
        with torch.no_grad():
            logits = tiny.model(token_ids).logits[0, :-1] / (temperature or 1.0)
        logprobs = logits.log_softmax(-1).gather(1, token_ids[0, 1:, None])[:, 0]
        start = len(request.prompt_ids) + completion.prefix_len
        drawn = torch.tensor(completion.logprobs[completion.prefix_len :])
        torch.testing.assert_close(drawn, logprobs[start - 1 :], atol=1e-4, rtol=0)


def test_prompts_of_one_block_are_computed_once(tiny: LoadedModel, tiny_policy: VllmPolicy) -> None:
    prompt = tuple(range(10, 50))
    tiny_policy.sync(Torch().start(tiny.model))
    before = dataclasses.replace(tiny_policy.counters)
    tiny_policy.generate([Request(prompt, seed, Sampling(), LIMITS) for seed in range(4)])
    counted = tiny_policy.counters
    assert counted.cached_tokens - before.cached_tokens == 3 * 32
    assert counted.prompt_tokens - before.prompt_tokens == 40 + 3 * 8


def make_session(tiny: LoadedModel, policy: Any, learner: Any) -> Session:
    task = FakeTask()
    return Session(
        policy=policy,
        verifier=task.verifier(),
        task=task,
        tokenizer=tiny.tokenizer,
        delimiter="</thought>",
        localization_prompt="tiny",
        run_seed=0,
        learner=learner,
    )


def changed_learner(tiny: LoadedModel) -> Any:
    """A learner of a copy of the tiny policy, whose embeddings are tied, one optimizer step on."""
    learner = Torch(lr=0.05).start(copy.deepcopy(tiny.model))
    learner.update(sample_batch(), SuffixMean())
    return learner


def test_new_parameters_arrive_tied_embeddings_included(
    tiny: LoadedModel, tiny_policy: VllmPolicy
) -> None:
    tiny_policy.sync(Torch().start(tiny.model))
    session = make_session(tiny, tiny_policy, changed_learner(tiny))
    rest(session)
    assert synchronise(session)["sync/probe_gap"] < 1e-4


def test_a_step_of_adapters_changes_what_vllm_draws_as_it_changes_the_learner(
    tiny: LoadedModel, tiny_policy: VllmPolicy
) -> None:
    adapted = load_model(ModelConfig(lora=Lora(rank=4)))
    learner = Torch(lr=0.05).start(adapted.model)
    session = make_session(tiny, tiny_policy, learner)
    assert synchronise(session)["sync/probe_gap"] < 1e-4
    learner.update(sample_batch(), SuffixMean())
    assert probe_gap(session) > 1e-3
    assert synchronise(session)["sync/probe_gap"] < 1e-4


def test_a_dropped_sync_stops_the_run(tiny: LoadedModel, tiny_policy: VllmPolicy) -> None:
    tiny_policy.sync(Torch().start(tiny.model))
    session = make_session(tiny, DropsSyncs(tiny_policy), changed_learner(tiny))
    with pytest.raises(SyncError, match="nats a token off the learner's"):
        synchronise(session)


def test_a_sync_that_skips_one_layer_stops_the_run(
    tiny: LoadedModel, tiny_policy: VllmPolicy
) -> None:
    learner = OneLayerStale(Torch(lr=0.05).start(copy.deepcopy(tiny.model)))
    learner.inner.update(sample_batch(), SuffixMean())
    with pytest.raises(SyncError, match="nats a token off the learner's"):
        synchronise(make_session(tiny, tiny_policy, learner))


def resetrl(folder: Path, *arguments: str) -> str:
    """What the command prints."""
    done = subprocess.run(
        [sys.executable, "-m", "resetrl.cli", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_training_and_evaluation_run_with_it(python: str, tmp_path: Path) -> None:
    """Two steps from the command line, and the run's checkpoint evaluated by the same engine."""

    resetrl(
        tmp_path,
        *("train", "engine=vllm", f"engine.python={Path(python).absolute()}", "steps=2"),
        *("prompts_per_step=4", "evaluation.problems=4", "tracking.enabled=false"),
        f"hydra.run.dir={tmp_path / 'run'}",
    )
    journal = (tmp_path / "run" / "metrics.jsonl").read_text()
    for name in ("sync/probe_gap", "mismatch/kl", "mismatch/max_ratio", "mismatch/ess"):
        assert name in journal
    shown = resetrl(tmp_path, "eval", str(tmp_path / "run"), "problems=4", "tracking.enabled=false")
    assert "greedy pass@1" in shown


def test_two_ranks_train_with_one_vllm_over_two_processes(python: str, tmp_path: Path) -> None:
    """On a GPU machine the two would have a GPU each, and vLLM both."""
    resetrl(
        tmp_path,
        *("train", "engine=vllm", f"engine.python={Path(python).absolute()}"),
        *("launch.nproc=2", "learner=deepspeed", "learner.stage=2", "engine.tensor_parallel=2"),
        *("steps=1", "prompts_per_step=4", "evaluation.problems=2", "tracking.enabled=false"),
        f"hydra.run.dir={tmp_path / 'run'}",
    )
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").open()]
    (gap,) = [r["metrics"]["sync/probe_gap"] for r in records if "sync/probe_gap" in r["metrics"]]
    assert gap < 1e-4


def test_an_engine_that_is_killed_leaves_its_last_words(
    python: str, tiny: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # where its log stays
    policy: Any = Vllm(python=python).start(tiny.model, tiny.tokenizer, "</thought>")
    policy.channel._process.kill()
    with pytest.raises(
        EngineError, match=r"was ended by signal 9: look into its log \S+; its last"
    ):
        policy.generate(chain_requests(tiny, 0.7))
