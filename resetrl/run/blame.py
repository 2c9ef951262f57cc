"""Who is to blame: errors of components and observers name them and where their code is from."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from resetrl.errors import PluginError, ResetrlError, TrainingError
from resetrl.plugins import Registry
from resetrl.ranks import Ranks
from resetrl.verification import GuardedVerifier


@contextmanager
def naming_components(registry: Registry) -> Iterator[None]:
    """Add to an error about a component its registered name and where its code is from."""
    try:
        yield
    except TrainingError as error:
        # The guard around a verifier has named that already.
        if error.component is None or isinstance(error.component, GuardedVerifier):
            raise
        raise TrainingError(f"{registry.origin(error.component)}: {error}") from error


def tell_observers(registry: Registry, hook: str, **news: object) -> None:
    """Call an observer hook; what a plugin raises there becomes a PluginError that names it."""
    try:
        getattr(registry.manager.hook, hook)(**news)
    except (ResetrlError, OSError):
        raise
    except Exception as error:  # a plugin may fail in any way; all are reported alike
        frame = traceback.extract_tb(error.__traceback__)[-1]
        raise PluginError(
            f"an observer failed in {hook} ({frame.filename}:{frame.lineno}): "
            f"{type(error).__name__}: {error}; repair the plugin or leave it out"
        ) from error


def tell_all(ranks: Ranks, registry: Registry, hook: str, **news: object) -> None:
    """Have rank 0 tell the observers; what comes of it, a pruning for one, reaches all ranks."""
    ranks.on_first(lambda: tell_observers(registry, hook, **news))
