"""Errors a user can act on: each message names the object, the value and the remedy.

The command line prints them as one sentence, without a traceback unless `--debug` is given.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class ResetrlError(Exception):
    """Base of everything resetrl raises on purpose."""


class ConfigError(ResetrlError):
    """The configuration names something unknown or holds a value out of range."""


class PluginError(ResetrlError):
    """A plugin does not load, registers nothing, or collides with another."""


class DataError(ResetrlError):
    """A data file is missing, has changed, or holds a problem that cannot be used."""


class ModelError(ResetrlError):
    """A model folder is missing, unreadable or lacks what the method needs."""


class CheckpointError(ResetrlError):
    """A checkpoint is missing, damaged, or belongs to another run."""


class EngineError(ResetrlError):
    """The process of an engine did not start, died, hangs, or refuses what it is asked."""


class SyncError(ResetrlError):
    """The policy does not draw from the learner's parameters: a sync was dropped or partial."""


class TrainingError(ResetrlError):
    """Training cannot go on: a loss or gradient is not finite, a component broke its contract.

    `component` is the one to blame, if there is one; a run adds its name and where it is from.
    """

    def __init__(self, message: str, component: object = None) -> None:
        super().__init__(message)
        self.component = unwrapped(component)


def unwrapped(component: object) -> object:
    """The component that errors name: what stands around another says so by `__wrapped__`."""
    return getattr(component, "__wrapped__", component)


@contextmanager
def blaming(component: object, kind: str, uids: Sequence[str]) -> Iterator[None]:
    """Turn whatever a component raises into a TrainingError that names it, the place, the prompts.

    `uids` are the prompts it was working on. What is one of our own errors already only learns
    which component it came from.
    """
    try:
        yield
    except TrainingError as error:
        error.component = error.component or unwrapped(component)
        raise
    except (ResetrlError, OSError):
        raise
    except Exception as error:  # a plugin may fail in any way; all are reported alike
        frame = traceback.extract_tb(error.__traceback__)[-1]
        name = type(unwrapped(component)).__name__
        raise TrainingError(
            f"{kind} {name} failed ({frame.filename}:{frame.lineno}): "
            f"{type(error).__name__}: {error}; it was given prompt {list_names(uids)}",
            component,
        ) from error


def list_names(names: Sequence[str], most: int = 12) -> str:
    """`a, b, c` or, of many, the first few and a count; each name once."""
    names = list(dict.fromkeys(names))
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


class RunPruned(ResetrlError):
    """The search a run belongs to has ended it early: no failure, the run ends in order."""


class ResetrlWarning(UserWarning):
    """Something a run gets over, and a user should know; one sentence, as errors are."""
