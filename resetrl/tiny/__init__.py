"""The tiny policy: a Llama of some 200 thousand parameters that ships with the package.

`formats` is what it reads and writes, `data` what it learned from, `recipe` every number of its
warm start, `warm_start` the building itself. `folder()` is where the shipped weights lie.
"""

from __future__ import annotations

from pathlib import Path

from resetrl.tiny.recipe import Recipe, recipe_hash
from resetrl.tiny.warm_start import build, stored_recipe_hash, weights_hash


def folder() -> Path:
    """The folder of the shipped weights, a Hugging Face model folder."""
    return Path(__file__).parent / "weights"


__all__ = ["Recipe", "build", "folder", "recipe_hash", "stored_recipe_hash", "weights_hash"]
