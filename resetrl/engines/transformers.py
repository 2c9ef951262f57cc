"""The in-process engine: continuous batching over any Hugging Face causal LM."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from resetrl.engines.kv_cache import RowCache
from resetrl.engines.llama import LlamaDecoder
from resetrl.engines.sampling import RowSamplings, UniformStream, draw_tokens
from resetrl.errors import ModelError, SyncError
from resetrl.interfaces import EngineCounters, Learner
from resetrl.lora import is_adapted, weights
from resetrl.thoughts import CompletionBuilder, Pieces
from resetrl.types import Completion, Request


@dataclass
class _Row:
    """A request being answered, and where its answer goes."""

    index: int
    request: Request
    builder: CompletionBuilder
    uniforms: UniformStream

    @property
    def context(self) -> tuple[int, ...]:
        return self.request.prompt_ids + self.request.prefix.token_ids


class _Batch:
    """The rows in flight and all that is kept of each as tensors.

    `cache` holds their keys and values [rows, heads, columns, head_dim], right-aligned;
    `attention_mask` [rows, columns] is 1 on cached tokens; `logits` [rows, V] are the next
    token's.
    """

    def __init__(
        self, rows: list[_Row], cache: RowCache, attention_mask: Tensor, logits: Tensor
    ) -> None:
        self.rows = rows
        self.cache = cache
        self.attention_mask = attention_mask
        self.logits = logits
        self._describe_rows()

    def _describe_rows(self) -> None:
        self.lengths = self.attention_mask.sum(dim=1)
        samplings = [row.request.sampling for row in self.rows]
        self.samplings = RowSamplings.of(samplings, self.logits.device)

    def keep(self, places: list[int]) -> None:
        """Drop all rows but these, and the columns that only the others needed."""
        chosen = torch.tensor(places, device=self.logits.device)
        self.rows = [self.rows[place] for place in places]
        mask = self.attention_mask[chosen]
        columns = int(mask.sum(dim=1).max())
        self.attention_mask = mask[:, mask.shape[1] - columns :]
        self.cache.select(chosen, columns)
        self._describe_rows()

    def join(self, other: _Batch) -> None:
        """Append the rows of another batch."""
        masks = (self.attention_mask, other.attention_mask)
        columns = max(mask.shape[1] for mask in masks)
        pad = torch.nn.functional.pad
        self.attention_mask = torch.cat([pad(m, (columns - m.shape[1], 0)) for m in masks])
        self.rows += other.rows
        self.cache.join(other.cache)
        self.logits = torch.cat([self.logits, other.logits])
        self._describe_rows()

    def append_column(self) -> None:
        """One more token in every row."""
        ones = self.attention_mask.new_ones((len(self.rows), 1))
        self.attention_mask = torch.cat([self.attention_mask, ones], dim=1)
        self.lengths = self.lengths + 1


class TransformersPolicy:
    """Generates with the model it was started with, in the trainer's process.

    Mostly that is the one the learner trains: then nothing is copied and nothing goes stale.

    Requests with equal context (prompt and prefix) share one prefill, so the prefix of a reset
    state is computed once for all its suffixes. A finished row leaves the batch at once and
    waiting requests take its place.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        delimiter: str,
        max_batch: int,
    ) -> None:
        self.counters = EngineCounters()
        self._model = model
        self._device = model.device
        self._delimiter = delimiter
        self._max_batch = max_batch
        self._pieces = Pieces(tokenizer)
        self._decode = LlamaDecoder(model) if LlamaDecoder.fits(model) else self._forward
        self._pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
        self._eos_ids = frozenset(eos_ids(model, tokenizer))
        self._context_len = int(model.config.max_position_embeddings)

    @torch.inference_mode()
    def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """The completions of all requests, in their order, generated together."""
        was_training = self._model.training
        self._model.eval()
        completions: list[Completion | None] = [None] * len(requests)
        waiting = deque(self._rows_by_context(requests, completions))
        batch: _Batch | None = None
        while batch or waiting:
            free = self._max_batch - (len(batch.rows) if batch else 0)
            # Admission joins caches, so it waits until a fair share of the slots is free.
            if waiting and (batch is None or free >= min(len(waiting), self._max_batch // 8 + 1)):
                admitted = [waiting.popleft() for _ in range(min(free, len(waiting)))]
                new = self._prefill(admitted)
                if batch is None:
                    batch = new
                else:
                    batch.join(new)
            assert batch is not None
            tokens = self._draw(batch)
            batch = self._drop_finished(batch, tokens, completions)
        self._model.train(was_training)
        return [completion for completion in completions if completion is not None]

    @torch.no_grad()
    def sync(self, learner: Learner) -> bool:
        """Copy the learner's parameters, unless it trains the very model that is read here."""
        if learner.trains(self._model):
            return False
        own = {weight.name: weight.tensor for weight in weights(self._model)}
        if is_adapted(self._model):  # what comes has the learner's adapters in it
            self._model.disable_adapter_layers()
        for name, tensor in learner.weights():
            if name not in own or own[name].shape != tensor.shape:
                raise SyncError(
                    f"the learner's parameter {name} {list(tensor.shape)} has no place in the "
                    "engine's model: start both with the same model"
                )
            own.pop(name).copy_(tensor)
        if own:
            raise SyncError(
                f"the learner left out {len(own)} parameters of the engine's model, such as "
                f"{next(iter(own))}: its weights() must yield every one"
            )
        return True

    def _rows_by_context(
        self, requests: Sequence[Request], completions: list[Completion | None]
    ) -> list[_Row]:
        """Rows in the order of their contexts' first appearance, equal contexts side by side.

        A request with no room for a first thought is completed here, without a token.
        """
        by_context: dict[tuple[int, ...], list[_Row]] = {}
        for index, request in enumerate(requests):
            room = self._context_len - len(request.prompt_ids)
            if room < 1:
                raise ModelError(
                    f"a prompt of {len(request.prompt_ids)} tokens does not fit the model's "
                    f"context of {self._context_len}: shorten it or choose another model"
                )
            builder = CompletionBuilder(
                request.limits, self._delimiter, self._eos_ids, room, request.prefix
            )
            if builder.stop is not None:
                completions[index] = builder.completion(self._pieces)
                continue
            row = _Row(index, request, builder, UniformStream(request.rng_seed))
            by_context.setdefault(row.context, []).append(row)
        self.counters.requests += len(requests)
        return [row for rows in by_context.values() for row in rows]

    def _prefill(self, rows: list[_Row]) -> _Batch:
        """Compute each distinct context once, then give every row its copy."""
        contexts: dict[tuple[int, ...], int] = {}
        places = [contexts.setdefault(row.context, len(contexts)) for row in rows]
        columns = max(map(len, contexts))
        token_ids = torch.full((len(contexts), columns), self._pad_id)
        attention_mask = torch.zeros((len(contexts), columns), dtype=torch.long)
        for place, context in enumerate(contexts):
            token_ids[place, columns - len(context) :] = torch.tensor(context)
            attention_mask[place, columns - len(context) :] = 1
        token_ids, attention_mask = token_ids.to(self._device), attention_mask.to(self._device)
        positions = (attention_mask.cumsum(dim=1) - 1).clamp(min=0)
        cache = RowCache()
        logits = self._forward(token_ids, positions, attention_mask, cache)
        computed = sum(map(len, contexts))
        self.counters.prompt_tokens += computed
        self.counters.cached_tokens += sum(len(row.context) for row in rows) - computed
        chosen = torch.tensor(places, device=self._device)
        cache.select(chosen, columns)
        return _Batch(rows, cache, attention_mask[chosen], logits[chosen])

    def _forward(
        self, token_ids: Tensor, positions: Tensor, attention_mask: Tensor, cache: RowCache
    ) -> Tensor:
        """Next-token logits [rows, V] after new columns: ids and positions [rows, new columns]."""
        output = self._model(
            input_ids=token_ids,
            attention_mask=attention_mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: Tensor = output.logits[:, -1]
        return logits

    def _draw(self, batch: _Batch) -> Tensor:
        """Draw one token for each row, [rows], and hand it to the row's completion."""
        uniforms = torch.tensor(
            [row.uniforms.next() for row in batch.rows], dtype=torch.float64, device=self._device
        )
        drawn, logprobs = draw_tokens(batch.logits, uniforms, batch.samplings)
        for row, token, logprob in zip(batch.rows, drawn.tolist(), logprobs.tolist(), strict=True):
            row.builder.push(token, logprob, self._pieces[token])
        self.counters.generated_tokens += len(batch.rows)
        return drawn

    def _drop_finished(
        self, batch: _Batch, tokens: Tensor, completions: list[Completion | None]
    ) -> _Batch | None:
        """Complete the finished rows and feed the new tokens of the others to the model."""
        going = []
        for place, row in enumerate(batch.rows):
            if row.builder.stop is None:
                going.append(place)
            else:
                completions[row.index] = row.builder.completion(self._pieces)
        if not going:
            return None
        if len(going) < len(batch.rows):
            batch.keep(going)
            tokens = tokens[going]
        positions = batch.lengths[:, None]
        batch.append_column()
        batch.logits = self._decode(tokens[:, None], positions, batch.attention_mask, batch.cache)
        return batch


def eos_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Every id that ends a completion, by the tokenizer and by the model's generation config."""
    configured = getattr(model.generation_config, "eos_token_id", None)
    ids = set(configured if isinstance(configured, list) else [configured])
    ids.add(tokenizer.eos_token_id)
    ids.discard(None)
    if not ids:
        raise ModelError("the model has no end-of-sequence token: set tokenizer.eos_token")
    return ids
