"""Which processes of a run share one vLLM, and which GPUs that has.

Without `engine.devices` a vLLM lies on the GPUs of the processes it serves, as many as
`engine.tensor_parallel`. With it, those GPUs hold as many engines as there is room for, and the
processes of a machine are shared out over them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resetrl.errors import ConfigError

if TYPE_CHECKING:
    from resetrl.builtin.engines import Vllm
    from resetrl.engines.vllm.setup import Installation
    from resetrl.ranks import Ranks


@dataclass(frozen=True)
class Placement:
    """One vLLM among the processes of its machine.

    ranks: the ranks that draw from it; the first one starts it.
    gpus: places among the GPUs that the processes see; none on a CPU, or to leave it to vLLM.
    on_learner: every one of its GPUs is that of the learner of one of its ranks.
    """

    ranks: tuple[int, ...]
    gpus: tuple[int, ...] = ()
    on_learner: bool = False

    def visible(self) -> dict[str, str]:
        """The variable that shows vLLM its GPUs, by the names that the processes know them by."""
        if not self.gpus:
            return {}
        names = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
        if names and max(self.gpus) >= len(names):
            raise ConfigError(
                f"vLLM is to have GPU {max(self.gpus)}, but CUDA_VISIBLE_DEVICES="
                f"{','.join(names)} shows {len(names)}, counted from 0: change engine.devices"
            )
        chosen = [names[place] if names else str(place) for place in self.gpus]
        return {"CUDA_VISIBLE_DEVICES": ",".join(chosen)}


def place(options: Vllm, installation: Installation, ranks: Ranks, device: str) -> Placement:
    """The vLLM of this rank, whose model lies on a device such as `cuda:1` or `cpu`.

    Every rank calls it. Raises ConfigError where engines and processes cannot be shared out.
    """
    here = ranks.on_this_machine()
    mine, parallel = here.index(ranks.rank), options.tensor_parallel
    is_shared = device.startswith("cuda") and not installation.cpu
    gpu = int(device.partition(":")[2] or 0)
    if options.devices:
        learners = set(range(len(here)) if len(here) > 1 else [gpu]) if is_shared else set()
        return _on_devices(options, here, mine, learners)
    if len(here) == 1 and parallel > 1:  # on GPUs besides the learner's, which vLLM numbers itself
        return Placement(here)
    if len(here) == 1:
        return Placement(here, (gpu,) if is_shared else (), on_learner=is_shared)
    if len(here) % parallel:
        raise ConfigError(
            f"engine.tensor_parallel is {parallel}, which does not divide the {len(here)} "
            "processes of this machine, whose GPUs it would share: choose a divisor, or a multiple "
            f"of {parallel} for launch.nproc"
        )
    start = mine - mine % parallel
    gpus = tuple(range(start, start + parallel)) if is_shared else ()
    return Placement(here[start : start + parallel], gpus, on_learner=is_shared)


def _on_devices(options: Vllm, here: tuple[int, ...], mine: int, learners: set[int]) -> Placement:
    """One of the engines that fit the named GPUs, each serving as many of the processes."""
    gpus, parallel = options.gpus, options.tensor_parallel
    named = f"engine.devices={options.devices} names {len(gpus)} GPUs"
    if learners & set(gpus):
        raise ConfigError(
            f"engine.devices={options.devices} names the GPU of a learner "
            f"({', '.join(map(str, sorted(learners & set(gpus))))}): name others, or leave it out "
            "for vLLM to be where the learners are"
        )
    if len(gpus) % parallel:
        raise ConfigError(
            f"{named}, which is no multiple of engine.tensor_parallel={parallel}: change one"
        )
    num = len(gpus) // parallel
    if len(here) % num:
        raise ConfigError(
            f"{named} and so {num} vLLMs of engine.tensor_parallel={parallel}, which the "
            f"{len(here)} processes of this machine cannot share evenly: change one of them"
        )
    share = len(here) // num
    engine = mine // share
    return Placement(
        ranks=here[engine * share : (engine + 1) * share],
        gpus=gpus[engine * parallel : (engine + 1) * parallel],
    )
