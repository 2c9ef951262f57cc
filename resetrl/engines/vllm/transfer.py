"""Parameters on their way to vLLM: checked against the model, some layers at a time.

They travel as safetensors files in shared memory, or, where vLLM computes on the learners' own
GPUs, as handles of GPU memory (CUDA IPC). Either way no more than `CHUNK_BYTES`, or one layer, is
held twice.
"""

from __future__ import annotations

import base64
import contextlib
import pickle
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resetrl.errors import SyncError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PretrainedConfig

CHUNK_BYTES = 2**28
_SHARED_MEMORY = Path("/dev/shm")

Weights = Iterator[tuple[str, "Tensor"]]
Chunk = dict[str, "Tensor"]


@dataclass(frozen=True)
class Transfer:
    """One way for parameters to reach vLLM.

    copy: of a parameter that the learner yields, whose memory is its own and contiguous.
    pack: makes the message that hands a chunk of copies over, and keeps what it refers to until
        the context ends.
    """

    copy: Callable[[Tensor], Tensor]
    pack: Callable[[Chunk], contextlib.AbstractContextManager[Mapping[str, Any]]]


def expected_shapes(config: PretrainedConfig) -> dict[str, list[int]]:
    """Every parameter of the model, tied ones under each of their names, as the learner's."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    return {name: list(tensor.shape) for name, tensor in model.state_dict().items()}


def chunks(
    weights: Weights, expected: Mapping[str, list[int]], copy: Callable[[Tensor], Tensor]
) -> Iterator[Chunk]:
    """The parameters in copies of up to `CHUNK_BYTES` that do not cut a layer in two.

    vLLM puts a layer together from the parameters it has got so far. Raises SyncError at the
    first parameter that the model does not have, and at the end if any did not come.
    """
    left = dict(expected)
    chunk: Chunk = {}
    size, layer = 0, ""
    for name, tensor in weights:
        if left.pop(name, None) != list(tensor.shape):
            raise SyncError(
                f"the learner's parameter {name} {list(tensor.shape)} has no place in the engine's "
                "model: start both with the same model"
            )
        if size >= CHUNK_BYTES and _layer(name) != layer:
            yield chunk
            chunk, size = {}, 0
        layer = _layer(name)
        chunk[name] = copy(tensor.detach())
        size += tensor.nbytes
    yield chunk
    if left:
        raise SyncError(
            f"the learner left out {len(left)} parameters of the engine's model, such as "
            f"{next(iter(left))}: its weights() must yield every one"
        )


def _layer(name: str) -> str:
    """`model.layers.3` of `model.layers.3.mlp.up_proj.weight`, the whole name if it has no number.

    Example: `model.norm.weight` is a layer of its own.
    """
    parts = name.split(".")
    numbers = [place for place, part in enumerate(parts) if part.isdigit()]
    return ".".join(parts[: numbers[0] + 1]) if numbers else name


@contextlib.contextmanager
def as_file(chunk: Chunk) -> Iterator[Mapping[str, Any]]:
    """The chunk as a file in shared memory if that has room for it, else on disk."""
    from safetensors.torch import save_file

    size = sum(tensor.nbytes for tensor in chunk.values())
    has_room = _SHARED_MEMORY.is_dir() and shutil.disk_usage(_SHARED_MEMORY).free > 1.1 * size
    with tempfile.TemporaryDirectory(
        prefix="resetrl-weights-", dir=_SHARED_MEMORY if has_room else None
    ) as folder:
        path = Path(folder) / "chunk.safetensors"
        save_file(chunk, path)
        yield {"path": str(path)}


@contextlib.contextmanager
def as_gpu_handles(chunk: Chunk) -> Iterator[Mapping[str, Any]]:
    """The chunk where it lies: what vLLM's `ipc` backend takes, for one GPU."""
    import torch
    from torch.multiprocessing.reductions import reduce_tensor

    device = next(iter(chunk.values())).device
    uuid = str(torch.cuda.get_device_properties(device).uuid)
    update = {
        "names": list(chunk),
        "dtype_names": [str(tensor.dtype).removeprefix("torch.") for tensor in chunk.values()],
        "shapes": [list(tensor.shape) for tensor in chunk.values()],
        "ipc_handles": [{uuid: reduce_tensor(tensor)[1]} for tensor in chunk.values()],
    }
    torch.cuda.synchronize(device)  # the copies must be there before another process reads them
    yield {"ipc": base64.b64encode(pickle.dumps(update)).decode()}
    chunk.clear()
    torch.cuda.ipc_collect()


@contextlib.contextmanager
def as_nothing(chunk: Chunk) -> Iterator[Mapping[str, Any]]:
    """The chunk is left to another rank that has the same parameters."""
    yield {}


FILES = Transfer(lambda tensor: tensor.to("cpu", copy=True).contiguous(), as_file)
GPU_HANDLES = Transfer(lambda tensor: tensor.clone().contiguous(), as_gpu_handles)
NOTHING = Transfer(lambda tensor: tensor.new_empty(0), as_nothing)
