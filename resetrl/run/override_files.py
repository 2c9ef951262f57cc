"""`@file` on the command line stands for the overrides that a YAML file lists."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from resetrl.errors import ConfigError


def expand(overrides: Sequence[str]) -> list[str]:
    """The overrides with each `@file` replaced by the list in that file.

    Example: `["@best.yaml", "seed=1"]` where best.yaml holds `- learner.lr=1e-4` becomes
    `["learner.lr=1e-4", "seed=1"]`. Raises ConfigError for a file that holds no such list.
    """
    expanded: list[str] = []
    for override in overrides:
        expanded += _read(Path(override[1:])) if override.startswith("@") else [override]
    return expanded


def _read(path: Path) -> list[str]:
    try:
        listed = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"@{path} cannot be read ({error.strerror}): name a YAML file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"@{path} is no YAML: {reason}") from error
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        raise ConfigError(f"@{path} holds no list of overrides: write lines such as - seed=1")
    return listed
