"""What a learner under ZeRO has, read and set whole: master parameters, moments, steps.

On disk it looks as the one-process learner writes it, so that a run goes on with another stage,
another number of processes, or another learner, without converting anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor

from resetrl.errors import CheckpointError
from resetrl.learners.deepspeed.engine import is_split, whole
from resetrl.lora import ADAPTER_WEIGHTS, is_adapted, save_adapters, saved_name

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_MOMENTS = ("exp_avg", "exp_avg_sq")
_MASTERS_FILE = "master_weights.safetensors"
"""The float32 parameters behind those of a bfloat16 model."""


class ZeroState:
    """The state behind the parameters of `module`; `given` is the whole model it was made from."""

    def __init__(self, engine: Any, module: PreTrainedModel, given: PreTrainedModel) -> None:
        self._engine, self._module, self._given = engine, module, given

    @property
    def is_plain(self) -> bool:
        """Whether the optimizer steps the model's own parameters, as in float32 at stage 0."""
        return self._engine.optimizer is self._engine.basic_optimizer

    @property
    def num_steps(self) -> int:
        """Optimizer steps taken so far."""
        return int(next(iter(self._engine.basic_optimizer.state.values()))["step"])

    @num_steps.setter
    def num_steps(self, number: int) -> None:
        for state in self._engine.basic_optimizer.state.values():
            state["step"].fill_(number)

    @cached_property
    def _trained(self) -> dict[str, torch.nn.Parameter]:
        return {name: p for name, p in self._module.named_parameters() if p.requires_grad}

    @cached_property
    def _own(self) -> Mapping[str, Tensor]:
        """What a checkpoint holds of the model: of an adapted one, the adapters."""
        if is_adapted(self._given):
            return self._trained
        state: Mapping[str, Tensor] = self._module.state_dict(keep_vars=True)
        return state

    @cached_property
    def _masters(self) -> Mapping[Tensor, Tensor]:
        """The whole tensor an optimizer steps for each parameter, where there is one (stage 0)."""
        if self.is_plain:
            return {p: p for p in self._trained.values()}
        wrapper = self._engine.optimizer
        groups = getattr(wrapper, "fp32_groups", None)
        if groups is None:
            return {}
        pairs = zip(wrapper.fp16_groups, groups, strict=True)
        return {p: master for ours, theirs in pairs for p, master in zip(ours, theirs, strict=True)}

    def _get(self, parameter: torch.nn.Parameter, moment: str | None) -> Tensor:
        """The float32 parameter, or one of its moments, whole."""
        from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

        master = self._masters.get(parameter)
        if master is not None:
            return master if moment is None else self._moments_of(master)[moment]
        if moment is None:
            value: Tensor = safe_get_full_fp32_param(parameter)
        else:
            value = safe_get_full_optimizer_state(parameter, moment)
        return value

    def _set(self, parameter: torch.nn.Parameter, moment: str | None, value: Tensor) -> None:
        """Set what `_get` gives; the model's own parameters are not touched."""
        from deepspeed import utils

        master = self._masters.get(parameter)
        if master is not None:
            own = master if moment is None else self._moments_of(master)[moment]
            own.data.copy_(value)
        elif is_split(parameter):
            part = _part_of(parameter, value)
            if moment is None:
                utils.safe_set_local_fp32_param(parameter, part)
            else:
                utils.safe_set_local_optimizer_state(parameter, part, moment)
        elif moment is None:
            utils.safe_set_full_fp32_param(parameter, value)
        else:
            utils.safe_set_full_optimizer_state(parameter, value, moment)

    def _moments_of(self, master: Tensor) -> Mapping[str, Tensor]:
        moments: Mapping[str, Tensor] = self._engine.basic_optimizer.state[master]
        return moments

    def save(self, folder: Path) -> None:
        """Write everything, gathered tensor by tensor, from rank 0."""
        writes = dist.get_rank() == 0
        parameters: dict[str, Tensor] = {}
        copies: dict[int, Tensor] = {}  # tied parameters share theirs, as in the model
        for name, tensor in self._own.items():
            with whole(tensor):
                if writes:
                    copy = copies.setdefault(id(tensor), tensor.detach().cpu().clone())
                    parameters[name] = copy
        masters: dict[str, Tensor] = {}
        states: dict[int, dict[str, Tensor]] = {}
        for index, (name, parameter) in enumerate(self._trained.items()):
            moments = {moment: self._get(parameter, moment) for moment in _MOMENTS}
            master = None if parameter.dtype == torch.float32 else self._get(parameter, None)
            if writes:
                step = torch.tensor(float(self.num_steps))
                states[index] = {"step": step} | {k: v.cpu() for k, v in moments.items()}
                if master is not None:
                    masters[name] = master.detach().cpu().contiguous()
        if writes:
            self._write(folder, parameters, masters, states)
        dist.barrier()

    def _write(
        self,
        folder: Path,
        parameters: dict[str, Tensor],
        masters: dict[str, Tensor],
        states: Mapping[int, Mapping[str, Tensor]],
    ) -> None:
        from safetensors.torch import save_file
        from transformers.utils import logging

        logging.disable_progress_bar()
        if is_adapted(self._given):
            save_adapters(self._given, folder, parameters)
        else:
            self._given.save_pretrained(folder, state_dict=parameters)
        if masters:
            save_file(masters, folder / _MASTERS_FILE)
        group = {**self._engine.basic_optimizer.param_groups[0], "params": list(states)}
        torch.save({"state": states, "param_groups": [group]}, folder / "optimizer.pt")

    def load(self, folder: Path) -> None:
        """Read everything on every rank, each keeping its own part."""
        from safetensors.torch import load_file

        saved = self._read(folder)
        for name, tensor in self._own.items():
            if name in saved:
                with whole(tensor, changed=True), torch.no_grad():
                    tensor.data.copy_(saved[name])
        masters = load_file(folder / _MASTERS_FILE) if (folder / _MASTERS_FILE).exists() else saved
        optimizer = torch.load(
            folder / "optimizer.pt", weights_only=True, map_location="cpu", mmap=True
        )
        states = optimizer["state"]
        for index, (name, parameter) in enumerate(self._trained.items()):
            self._set(parameter, None, masters[name].float())
            for moment in _MOMENTS:
                state = states.get(index)
                value = torch.zeros(saved[name].shape) if state is None else state[moment].float()
                self._set(parameter, moment, value)
        self.num_steps = int(states[0]["step"]) if states else 0

    def _read(self, folder: Path) -> dict[str, Tensor]:
        """The saved parameters by name, those of a whole model or of its adapters."""
        from safetensors.torch import load_file

        saved: dict[str, Tensor] = {}
        if is_adapted(self._given):
            names = {saved_name(name): name for name in self._own}
            for name, tensor in load_file(folder / ADAPTER_WEIGHTS).items():
                saved[names.get(name, name)] = tensor
        else:
            for file in sorted(folder.glob("model*.safetensors")):
                saved.update(load_file(file))
        # A tied parameter is saved under one of its names.
        there = {id(self._own[name]) for name in saved if name in self._own}
        missing = sorted(name for name, tensor in self._own.items() if id(tensor) not in there)
        unexpected = sorted(set(saved) - set(self._own))
        if missing or unexpected:
            raise CheckpointError(
                f"{folder} holds another model: it lacks {missing} and adds {unexpected}; resume "
                "with the model it was written by"
            )
        return saved


def _part_of(parameter: Any, value: Tensor) -> Tensor:
    """This rank's part of a whole value, padded as ZeRO pads the last one."""
    size = int(parameter.ds_tensor.ds_numel)
    flat = value.flatten().to(parameter.ds_tensor.device)
    padded = torch.nn.functional.pad(flat, (0, size * dist.get_world_size() - flat.numel()))
    return padded.narrow(0, size * dist.get_rank(), size)
