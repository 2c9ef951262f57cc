"""The recipe of the tiny policy: every number its weights depend on, and its hash."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from random import Random

from resetrl.tiny.data import draw_examples
from resetrl.tiny.tokenizer import VOCABULARY


@dataclass(frozen=True)
class Recipe:
    """Shape, data and optimizer of the warm start.

    The first `steps - late_steps` steps draw `localization_share` of their examples as
    localizations, the late ones `late_localization_share`. The learning rate rises over
    `warmup_steps`, stays, and falls to 0 over the late steps. One thread is about as fast as
    two on a model this small, and does not wait for other work on the machine.
    """

    rng_seed: int = 0
    threads: int = 1
    layers: int = 3
    width: int = 64
    heads: int = 4
    head_dim: int = 32
    mlp_width: int = 192
    context_len: int = 640
    rope_theta: float = 10000.0
    init_range: float = 0.08
    steps: int = 2200
    late_steps: int = 900
    warmup_steps: int = 50
    examples_per_step: int = 64
    buckets: int = 4
    localization_share: float = 0.5
    late_localization_share: float = 0.65
    drifted_share: float = 0.5
    long_share: float = 0.04
    lr: float = 3e-3
    weight_decay: float = 0.01
    beta2: float = 0.98
    max_grad_norm: float = 1.0


def recipe_hash(recipe: Recipe | None = None) -> str:
    """A hash of the recipe, of the vocabulary and of a sample of the data it draws.

    The sample makes it change when the code that writes the examples does.
    """
    recipe = recipe or Recipe()
    rng = Random(recipe.rng_seed)
    sample = draw_examples(rng, 64, 0.5, recipe.drifted_share, recipe.long_share)
    content = [
        dataclasses.asdict(recipe),
        VOCABULARY,
        [dataclasses.astuple(example) for example in sample],
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
