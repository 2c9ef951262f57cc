"""The KV cache of a batch whose rows come and go.

Rows are contiguous and right-aligned: the newest token of every row sits in the last column, the
empty columns lie to the left and are masked. That layout suits every Hugging Face causal LM,
sliding windows included, and joining two batches is a shift of columns.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

_SPARE_COLUMNS = 64
"""Columns allocated ahead, so that appending a token copies one column and not the cache."""


class RowLayer(DynamicLayer):  # type: ignore[misc]  # transformers' class is untyped
    """One layer's keys and values [rows, heads, columns, head_dim], with spare columns behind."""

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.dtype, self.device = key_states.dtype, key_states.device
        self._key_buffer = _with_spare(key_states[..., :0, :])
        self._value_buffer = _with_spare(value_states[..., :0, :])
        self._show(0)
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start = self.keys.shape[-2]
        end = start + key_states.shape[-2]
        if end > self._key_buffer.shape[-2]:
            spare = end - start + _SPARE_COLUMNS
            self._key_buffer = _with_spare(self.keys, spare)
            self._value_buffer = _with_spare(self.values, spare)
        self._key_buffer[..., start:end, :] = key_states
        self._value_buffer[..., start:end, :] = value_states
        self._show(end)
        return self.keys, self.values

    def replace(self, keys: Tensor, values: Tensor) -> None:
        """Hold other rows."""
        self.dtype, self.device = keys.dtype, keys.device
        self._key_buffer = _with_spare(keys)
        self._value_buffer = _with_spare(values)
        self._show(keys.shape[-2])
        self.is_initialized = True

    def _show(self, columns: int) -> None:
        self.keys = self._key_buffer[..., :columns, :]
        self.values = self._value_buffer[..., :columns, :]


class RowCache(Cache):  # type: ignore[misc]  # transformers' class is untyped
    """A KV cache whose rows can be selected, repeated, trimmed and joined."""

    def __init__(self) -> None:
        super().__init__(layer_class_to_replicate=RowLayer)

    def select(self, rows: Tensor, columns: int) -> None:
        """Keep the given rows (repeats allowed) and the last `columns` columns."""
        for layer in self.layers:
            start = layer.keys.shape[-2] - columns
            layer.replace(
                layer.keys[:, :, start:].index_select(0, rows),
                layer.values[:, :, start:].index_select(0, rows),
            )

    def join(self, other: RowCache) -> None:
        """Append the rows of another cache, the shorter one shifted to the right."""
        for mine, theirs in zip(self.layers, other.layers, strict=True):
            columns = max(mine.keys.shape[-2], theirs.keys.shape[-2])
            mine.replace(
                torch.cat([_shift(mine.keys, columns), _shift(theirs.keys, columns)]),
                torch.cat([_shift(mine.values, columns), _shift(theirs.values, columns)]),
            )


def _with_spare(states: Tensor, spare: int = _SPARE_COLUMNS) -> Tensor:
    rows, heads, columns, head_dim = states.shape
    buffer = states.new_zeros((rows, heads, columns + spare, head_dim))
    buffer[..., :columns, :] = states
    return buffer


def _shift(states: Tensor, columns: int) -> Tensor:
    return torch.nn.functional.pad(states, (0, 0, columns - states.shape[-2], 0))
