"""The weight sync and its probe, with policies that keep parameters of their own."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from resetrl.builtin.engines import Transformers
from resetrl.builtin.learners import Torch
from resetrl.builtin.losses import SuffixMean
from resetrl.errors import SyncError
from resetrl.interfaces import Learner
from resetrl.method import Session
from resetrl.sync import PROBE_COMPLETION_LEN, probe_gap, synchronise
from resetrl.testing import FakeTask, RecordingLearner, ScriptedPolicy, random_llama
from resetrl.testing.contracts.learner import sample_batch
from resetrl.testing.llama import word_level_tokenizer


def make_session(*, own_copy: bool) -> Session:
    """A random Llama as learner, and as policy either the same model or a copy of it."""
    model = random_llama()
    tokenizer = word_level_tokenizer()
    task = FakeTask()
    policy_model = copy.deepcopy(model) if own_copy else model
    return Session(
        policy=Transformers().start(policy_model, tokenizer, "</thought>"),
        verifier=task.verifier(),
        task=task,
        tokenizer=tokenizer,
        delimiter="</thought>",
        localization_prompt="tiny",
        run_seed=0,
        learner=Torch(lr=0.05).start(model),
    )


class DropsSyncs:
    """A policy that says that it took the new parameters and did not."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.counters = inner.counters

    def generate(self, requests: Any) -> Any:
        return self.inner.generate(requests)

    def sync(self, learner: Learner) -> bool:
        return True


class OneLayerStale:
    """A learner that hands out the initial values of its first layer for ever."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.initial = {name: tensor.detach().clone() for name, tensor in inner.weights()}

    def weights(self) -> Iterator[tuple[str, Any]]:
        for name, tensor in self.inner.weights():
            yield name, self.initial[name] if ".layers.0." in name else tensor

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class Broken(OneLayerStale):
    """A learner whose forward pass has come apart."""

    def logprobs(self, batch: Any) -> Any:
        return self.inner.logprobs(batch) * float("nan")


def test_a_policy_that_reads_the_learners_parameters_needs_no_probe() -> None:
    session = make_session(own_copy=False)
    session.learner.update(sample_batch(), SuffixMean())
    assert synchronise(session) == {}
    assert session.policy.counters.requests == 0


def test_a_policy_with_a_copy_draws_from_the_new_parameters() -> None:
    session = make_session(own_copy=True)
    session.learner.update(sample_batch(), SuffixMean())
    assert probe_gap(session) > 1e-3
    assert synchronise(session)["sync/probe_gap"] < 1e-5
    assert session.policy.counters.generated_tokens <= 2 * PROBE_COMPLETION_LEN


def test_a_dropped_sync_stops_the_run() -> None:
    session = make_session(own_copy=True)
    session = replace(session, policy=DropsSyncs(session.policy))
    assert synchronise(session)["sync/probe_gap"] < 1e-5
    session.learner.update(sample_batch(), SuffixMean())
    with pytest.raises(SyncError, match=r"nats a token off the learner's, more than sync_toler"):
        synchronise(session)


def test_a_sync_that_skips_one_layer_stops_the_run() -> None:
    session = make_session(own_copy=True)
    session = replace(session, learner=OneLayerStale(session.learner))
    session.learner.update(sample_batch(), SuffixMean())
    with pytest.raises(SyncError, match="its parameters or its prefix cache are stale"):
        synchronise(session)


def test_a_probe_that_is_not_a_number_stops_the_run() -> None:
    session = make_session(own_copy=True)
    session = replace(session, learner=Broken(session.learner))
    with pytest.raises(SyncError, match="nan nats a token off"):
        synchronise(session)


def test_fakes_need_no_sync() -> None:
    session = replace(
        make_session(own_copy=True), policy=ScriptedPolicy([]), learner=RecordingLearner()
    )
    assert synchronise(session) == {}
