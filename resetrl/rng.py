"""Seeds for every random choice, derived from what the choice is for.

A choice that depends on (run seed, step, prompt uid, purpose, index) alone is the same after a
resume and in any batch, so no generator state has to be carried along.
"""

from __future__ import annotations

import hashlib


def derive_seed(*parts: int | str) -> int:
    """A 63-bit seed that is a fixed function of its parts, equal on every machine.

    Example: `derive_seed(0, 12, "chain-17", "draw", 3)`.
    """
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
