"""Parameters in chunks, checked against the model, and their files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from engines.vllm.faking import SHAPES, parameters
from safetensors.torch import load_file

from resetrl.engines.vllm import transfer
from resetrl.engines.vllm.transfer import FILES, NOTHING, as_file, chunks, expected_shapes
from resetrl.errors import SyncError
from resetrl.models import ModelConfig, read_config
from resetrl.testing import random_llama


def names_of_chunks(
    names: list[str], most: int, monkeypatch: pytest.MonkeyPatch
) -> list[list[str]]:
    """Chunks of parameters of 4 bytes each."""
    monkeypatch.setattr(transfer, "CHUNK_BYTES", most)
    weights = ((name, torch.zeros(1)) for name in names)
    expected = {name: [1] for name in names}
    return [list(chunk) for chunk in chunks(weights, expected, FILES.copy)]


def test_a_chunk_never_cuts_a_layer_in_two(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["embed", "layers.0.q", "layers.0.k", "layers.0.v", "layers.1.q", "layers.1.k", "norm"]
    assert names_of_chunks(names, 8, monkeypatch) == [
        ["embed", "layers.0.q", "layers.0.k", "layers.0.v"],
        ["layers.1.q", "layers.1.k"],
        ["norm"],
    ]


def test_a_small_model_is_one_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["embed", "layers.0.q", "norm"]
    assert names_of_chunks(names, 100, monkeypatch) == [names]


def test_a_chunk_holds_copies() -> None:
    tensor = torch.zeros(2)
    (chunk,) = chunks(iter([("a", tensor)]), {"a": [2]}, FILES.copy)
    tensor.fill_(1)
    assert chunk["a"].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"lm_head.weight": None}, r"left out 1 parameters .* such as lm_head\.weight"),
        ({"extra": torch.zeros(1)}, r"parameter extra \[1\] has no place in the engine's model"),
        ({"lm_head.weight": torch.zeros(4)}, r"parameter lm_head\.weight \[4\] has no place"),
    ],
)
def test_parameters_that_do_not_fit_the_model_are_named(changed: object, reason: str) -> None:
    with pytest.raises(SyncError, match=reason):
        list(chunks(parameters(**changed)(), SHAPES, FILES.copy))  # type: ignore[arg-type]


def test_a_rank_that_leaves_it_to_another_has_the_same_chunks_with_nothing_in_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every chunk is one message, and the ranks send theirs together."""
    monkeypatch.setattr(transfer, "CHUNK_BYTES", 8)
    theirs = list(chunks(parameters()(), SHAPES, FILES.copy))
    ours = list(chunks(parameters()(), SHAPES, NOTHING.copy))
    assert [list(chunk) for chunk in ours] == [list(chunk) for chunk in theirs]
    assert len(ours) == 3
    assert {tensor.nbytes for chunk in ours for tensor in chunk.values()} == {0}
    with NOTHING.pack(ours[0]) as update:
        assert update == {}


def test_a_file_of_a_chunk_is_gone_afterwards() -> None:
    with as_file({"a": torch.arange(3.0)}) as update:
        path = Path(update["path"])
        assert load_file(path)["a"].tolist() == [0, 1, 2]
    assert not path.parent.exists()


def test_a_chunk_too_large_for_shared_memory_goes_to_the_disk(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(transfer, "_SHARED_MEMORY", tmp_path / "no such folder")
    with as_file({"a": torch.zeros(1)}) as update:
        assert not update["path"].startswith(str(tmp_path))


def test_the_shapes_expected_are_those_of_the_state_dict() -> None:
    model = random_llama()
    own = {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    assert expected_shapes(model.config) == own


def test_a_tied_parameter_is_expected_under_both_of_its_names() -> None:
    shapes = expected_shapes(read_config(ModelConfig()))
    assert shapes["lm_head.weight"] == shapes["model.embed_tokens.weight"] == [101, 64]
