"""Methods that plugins bring: what a file of conf/method/ says, as a mapping.

`{"defaults": [{"override /sampler": "mine"}, {"override /split": None}], "advantage": "none"}`
chooses the sampler `mine`, no split, and sets a value; `method=` itself need not be set. Values
are checked when a run is composed, components when the plugin is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from resetrl.errors import PluginError
from resetrl.plugin_sources import Source

METHODS_HOOK = "resetrl_methods"
_OVERRIDE = "override /"


@dataclass(frozen=True)
class MethodPreset:
    """A method of a plugin: `choices` maps kinds of components to names, or None for none."""

    name: str
    choices: Mapping[str, str | None]
    values: Mapping[str, object]
    source: Source

    @property
    def summary(self) -> str:
        """What it chooses and sets, as one writes it: `sampler=score loss=score advantage=none`."""
        chosen = [f"{kind}={name}" for kind, name in self.choices.items() if name is not None]
        return " ".join([*chosen, *_written(self.values)])

    def node(self) -> dict[str, object]:
        """The mapping hydra composes."""
        defaults = [{f"{_OVERRIDE}{kind}": name} for kind, name in self.choices.items()]
        return {"defaults": defaults, **self.values, "method": self.name}


def shipped_methods() -> list[str]:
    """The names of the methods of conf/method/."""
    from resetrl.run.config import config_dir

    return sorted(path.stem for path in (config_dir() / "method").glob("*.yaml"))


def read_preset(name: str, given: object, source: Source) -> MethodPreset:
    """The preset a plugin gave under a name; raises PluginError if it is none, or is shipped."""
    where = f"method {name!r} of {source}"
    if name in shipped_methods():
        raise PluginError(f"{where}: resetrl ships a method of that name: choose another")
    if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
        raise PluginError(
            f"{where} is {given!r}: return a mapping like a file of conf/method/, for example "
            '{"defaults": [{"override /loss": "clipped"}], "advantage": "none"}'
        )
    values = {key: value for key, value in given.items() if key not in ("defaults", "method")}
    return MethodPreset(name, _choices(given.get("defaults", []), where), values, source)


def _choices(defaults: object, where: str) -> dict[str, str | None]:
    entries = defaults if isinstance(defaults, list) else [defaults]
    choices: dict[str, str | None] = {}
    for entry in entries:
        key, chosen = next(iter(entry.items())) if isinstance(entry, Mapping) and entry else ("", 0)
        if not str(key).startswith(_OVERRIDE) or not isinstance(chosen, str | None):
            raise PluginError(
                f"{where} has {entry!r} among its defaults: each is {{'override /KIND': name}}, "
                "with None for no such component"
            )
        choices[key.removeprefix(_OVERRIDE)] = chosen
    return choices


def _written(values: Mapping[str, object], parent: str = "") -> list[str]:
    written: list[str] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            written += _written(value, f"{parent}{key}.")
        else:
            written.append(f"{parent}{key}={value}")
    return written
