"""Errors a user can act on: each message names the object, the value and the remedy.

The command line prints them as one sentence, without a traceback unless `--debug` is given.
"""

from __future__ import annotations


class ResetrlError(Exception):
    """Base of everything resetrl raises on purpose."""


class ConfigError(ResetrlError):
    """The configuration names something unknown or holds a value out of range."""


class PluginError(ResetrlError):
    """A plugin does not load, registers nothing, or collides with another."""


class ModelError(ResetrlError):
    """A model folder is missing, unreadable or lacks what the method needs."""


class CheckpointError(ResetrlError):
    """A checkpoint is missing, damaged, or belongs to another run."""


class TrainingError(ResetrlError):
    """Training cannot go on: a loss or gradient is not finite, a component broke its contract."""


class RunPruned(ResetrlError):
    """The search a run belongs to has ended it early: no failure, the run ends in order."""
