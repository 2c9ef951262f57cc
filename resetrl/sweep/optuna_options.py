"""Building Optuna's samplers and pruners from options a user wrote."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from typing import Any

from optuna.exceptions import ExperimentalWarning

from resetrl.errors import ConfigError
from resetrl.plugins import list_names


def build(role: str, name: str, cls: type, options: Mapping[str, Any], **given: object) -> Any:
    """An instance of one of Optuna's classes; raises ConfigError naming a wrong option.

    `given` are arguments that are ours to set.
    """
    known = [option for option in inspect.signature(cls).parameters if option not in given]
    for option in options:
        if option not in known:
            raise ConfigError(
                f"hydra.sweeper.{role}_options: {role} {name} has no option {option!r}: its "
                f"options are {list_names(known) or 'none'}"
            )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return cls(**options, **given)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"hydra.sweeper.{role}_options of {name}: {error}") from error
