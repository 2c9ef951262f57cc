"""The warm start of the tiny policy: the same recipe gives the same weights, bit for bit."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from resetrl.rng import derive_seed
from resetrl.tiny.data import Example, draw_examples
from resetrl.tiny.recipe import Recipe, recipe_hash
from resetrl.tiny.tokenizer import VOCABULARY, build_tokenizer

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

Progress = Callable[[int, int, float], None]


def build(folder: Path, progress: Progress, recipe: Recipe | None = None) -> None:
    """Warm-start the tiny policy and write it into a folder, which is made if it is missing.

    `progress(step, steps, loss)` is called behind each step. Threads and random state of the
    process are as before afterwards.
    """
    recipe = recipe or Recipe()
    tokenizer = build_tokenizer(recipe.context_len)
    with _reproducibly(recipe):
        model = build_model(recipe)
        _train(model, tokenizer, recipe, progress)
    folder.mkdir(parents=True, exist_ok=True)
    _save(model, tokenizer, folder, recipe)


def build_model(recipe: Recipe) -> LlamaForCausalLM:
    """The untrained policy, drawn from torch's random state."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=recipe.width,
        intermediate_size=recipe.mlp_width,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        head_dim=recipe.head_dim,
        max_position_embeddings=recipe.context_len,
        rope_parameters={"rope_type": "default", "rope_theta": recipe.rope_theta},
        initializer_range=recipe.init_range,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
    )
    model: LlamaForCausalLM = LlamaForCausalLM(config).float()
    return model


@contextlib.contextmanager
def _reproducibly(recipe: Recipe) -> Iterator[None]:
    """Fixed seed, thread count and kernels inside, everything as before behind."""
    import torch

    threads = torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.rng_seed)
        torch.set_num_threads(recipe.threads)
        torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(deterministic)
            torch.set_num_threads(threads)


def _train(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    recipe: Recipe,
    progress: Progress,
) -> None:
    import torch

    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=recipe.lr,
        betas=(0.9, recipe.beta2),
        weight_decay=recipe.weight_decay,
    )
    model.train()
    for step in range(recipe.steps):
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * lr_factor(step, recipe)
        examples = examples_of_step(step, recipe)
        loss = _backward(model, tokenizer, examples, recipe.buckets)
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        progress(step + 1, recipe.steps, loss)
    model.train(False)


def lr_factor(step: int, recipe: Recipe) -> float:
    """The learning rate of a 0-based step as a share of the highest one."""
    rising = (step + 1) / max(1, recipe.warmup_steps)
    falling = (recipe.steps - step) / max(1, recipe.late_steps)
    return min(1.0, rising, falling)


def examples_of_step(step: int, recipe: Recipe) -> list[Example]:
    """The examples of a 0-based step; they depend on the recipe and the step alone."""
    late = step >= recipe.steps - recipe.late_steps
    share = recipe.late_localization_share if late else recipe.localization_share
    rng = Random(derive_seed("warm start", recipe.rng_seed, step))
    return list(
        draw_examples(rng, recipe.examples_per_step, share, recipe.drifted_share, recipe.long_share)
    )


def _backward(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    examples: Sequence[Example],
    num_buckets: int,
) -> float:
    """Add the gradient of the mean loss of all reply tokens; returns that loss.

    Examples of like length go through the model together, so that little of it is padding.
    """
    import torch

    encode = tokenizer.backend_tokenizer.encode_batch
    prompts = [encoded.ids for encoded in encode([example.prompt for example in examples])]
    replies = [encoded.ids for encoded in encode([example.reply for example in examples])]
    pairs = sorted(zip(prompts, replies, strict=True), key=lambda pair: len(pair[0] + pair[1]))
    num_tokens = sum(map(len, replies))
    total = 0.0
    size = -(-len(pairs) // num_buckets)
    for start in range(0, len(pairs), size):
        loss = _loss_sum(model, pairs[start : start + size]) / num_tokens
        torch.autograd.backward(loss)
        total += float(loss.detach())
    return total


def _loss_sum(model: LlamaForCausalLM, pairs: Sequence[tuple[list[int], list[int]]]) -> Tensor:
    """Summed negative log-likelihood of the replies.

    Rows are padded on the right and no token looks ahead, so no attention mask is needed.
    """
    import torch

    longest = max(len(prompt) + len(reply) for prompt, reply in pairs)
    token_ids = torch.zeros(len(pairs), longest, dtype=torch.long)
    targets = torch.full((len(pairs), longest), -100)
    for row, (prompt, reply) in enumerate(pairs):
        end = len(prompt) + len(reply)
        token_ids[row, :end] = torch.tensor(prompt + reply)
        targets[row, len(prompt) - 1 : end - 1] = torch.tensor(reply)
    logits = model(input_ids=token_ids, use_cache=False).logits
    return torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), ignore_index=-100, reduction="sum"
    )


def _save(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path, recipe: Recipe
) -> None:
    from safetensors.torch import save_file

    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    tensors = {
        name: tensor for name, tensor in model.state_dict().items() if name != "lm_head.weight"
    }  # the output weights are the input embedding
    file = folder / "model.safetensors"
    save_file(tensors, file, metadata={"format": "pt", "recipe": recipe_hash(recipe)})
    _sort_metadata(file)


def _sort_metadata(file: Path) -> None:
    """Bring the metadata into alphabetical order; safetensors writes them in any."""
    content = file.read_bytes()
    header_len = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + header_len])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode().ljust(header_len)
    file.write_bytes(content[:8] + text + content[8 + header_len :])


def stored_recipe_hash(folder: Path) -> str | None:
    """The hash of the recipe that a folder's weights were built by, None if it names none."""
    with (folder / "model.safetensors").open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    recipe = header.get("__metadata__", {}).get("recipe")
    return None if recipe is None else str(recipe)


def weights_hash(folder: Path) -> str:
    """A hash of the names, shapes and bits of a folder's weights; equal weights, equal hash."""
    import hashlib

    from safetensors.numpy import load_file

    digest = hashlib.sha256()
    for name, tensor in sorted(load_file(folder / "model.safetensors").items()):
        digest.update(f"{name} {tensor.dtype} {tensor.shape}\n".encode())
        digest.update(tensor.tobytes())
    return digest.hexdigest()
