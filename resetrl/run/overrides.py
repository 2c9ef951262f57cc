"""What overrides say, read before hydra composes anything from them."""

from __future__ import annotations

from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import OverrideParseException

from resetrl.errors import ConfigError


def parsed(overrides: Sequence[str]) -> list[Override]:
    """The overrides as hydra reads them; raises ConfigError for what is none."""
    try:
        return OverridesParser.create().parse_overrides(list(overrides))
    except OverrideParseException as error:
        key, _, value = str(error.override).lstrip("-").partition("=")
        dashed = str(error.override).startswith("-") and key
        example = f"{key}={value or '...'}, without dashes" if dashed else "for example seed=1"
        raise ConfigError(
            f"{error.override!r} is no override: write key=value, {example}"
        ) from error


def plain_values(overrides: Sequence[str]) -> dict[str, object]:
    """The plain `key=value` overrides by key: `{"seed": 1}` of `["seed=1", "steps=1,2"]`."""
    return {o.key_or_group: o.value() for o in parsed(overrides) if not o.is_sweep_override()}


def plugin_paths(value: object) -> list[str]:
    """The value of `plugin_paths` as a list; raises ConfigError if it is none."""
    if value is None:
        return []
    if isinstance(value, str):
        raise ConfigError(f"plugin_paths={value} is no list: write 'plugin_paths=[{value}]'")
    return [str(path) for path in value]  # type: ignore[attr-defined]
