"""Which sweep a command means: a new one, or one that is there already and goes on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hydra.core.override_parser.types import Override, ValueType
from omegaconf import DictConfig

from resetrl.errors import ConfigError
from resetrl.plugins import KINDS, Registry
from resetrl.run.compose import MAY_CHANGE_ON_RESUME, compose_all
from resetrl.run.names import folder_of_id, is_id
from resetrl.run.overrides import parsed, plain_values, plugin_paths
from resetrl.run.tracking import TrackingConfig, runs_below
from resetrl.run.tracking.spool import SWEEP_FILE
from resetrl.sweep.record import SweepRecord, read_sweep

FOLDER = Path("multirun")
"""Where sweeps lie, by their names."""

NAME, RESUME = "sweep.name", "sweep.resume"


@dataclass(frozen=True)
class Plan:
    """The sweep of a command: its record, new or read from its folder, with its overrides."""

    record: SweepRecord
    is_new: bool


def plan_sweep(overrides: Sequence[str]) -> Plan:
    """The sweep that overrides mean; raises ConfigError rather than touch another sweep.

    `sweep.name=NAME` begins the sweep in `multirun/NAME`, or goes on with it if its cells are the
    same. `sweep.resume=` goes on with the sweep of a name, a folder or an MLflow run id, and needs
    no other override.
    """
    options, kept = _split(overrides)
    _check(kept)
    if RESUME in options:
        if NAME in options:
            raise ConfigError(f"{NAME} and {RESUME} exclude each other: {RESUME} knows the name")
        record = read_sweep(_find(options[RESUME], kept))
        record.overrides = _merged(record, kept)
        return Plan(record, is_new=False)
    folder = _folder(options.get(NAME), kept)
    if not (folder / SWEEP_FILE).exists():
        if folder.is_dir() and any(folder.iterdir()):
            raise ConfigError(f"{folder} exists and is no sweep: choose another {NAME}")
        return Plan(SweepRecord(folder, folder.name, tuple(kept)), is_new=True)
    record = read_sweep(folder)
    is_begun = bool(record.cells) or bool(runs_below(folder))
    if is_begun and _cells_of(kept) != _cells_of(record.overrides):
        raise ConfigError(
            f"the sweep {record.name} in {folder} has other cells ({' '.join(record.overrides)}): "
            f"choose another {NAME}, or go on with it by {RESUME}={record.name}"
        )
    record.overrides = tuple(kept)
    return Plan(record, is_new=not is_begun)


def all_plugin_paths(overrides: Sequence[str]) -> list[str]:
    """The plugin paths of all cells together, so that any cell can be composed."""
    paths: list[str] = []
    for override in parsed(overrides):
        if override.key_or_group == "plugin_paths":
            for item in _values(override):
                paths += plugin_paths(plain_values([item])["plugin_paths"])
    return list(dict.fromkeys(paths))


def sample_configs(overrides: Sequence[str], registry: Registry) -> list[DictConfig]:
    """A few composed cells in which every name that is swept over occurs, hydra's node included.

    They show what is misspelt before anything is made; raises ConfigError then.
    """
    columns = [values for override in parsed(overrides) if (values := _values(override))]
    for values in columns:
        if not any(re.search("=.*[a-zA-Z]", value) for value in values):
            del values[1:]  # numbers are all alike
    count = max((len(column) for column in columns), default=1)
    cells = [[column[i % len(column)] for column in columns] for i in range(count)]
    return compose_all(cells, registry)


def _split(overrides: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """The options of the sweep itself, and the overrides that are hydra's."""
    options: dict[str, str] = {}
    kept: list[str] = []
    for item, override in zip(overrides, parsed(overrides), strict=True):
        key = override.key_or_group
        if not key.startswith("sweep."):
            kept.append(item)
        elif key not in (NAME, RESUME):
            raise ConfigError(f"{key} is no option of a sweep: there are {NAME} and {RESUME}")
        elif override.is_sweep_override():
            raise ConfigError(f"{item}: a sweep has one name")
        else:
            options[key] = str(override.value())
    return options, kept


def _check(overrides: Sequence[str]) -> None:
    """Refuse what hydra cannot sweep over, or what would number the cells anew on a resume."""
    for override in parsed(overrides):
        values, line = _values(override), override.input_line
        if override.key_or_group in KINDS and values[1:] and f"{_key(override)}=null" in values:
            raise ConfigError(
                f"{line}: null cannot be one of several values; sweep over methods, which set it "
                "(method=grpo,rrpo), or make it a sweep of its own"
            )
        if getattr(override.value(), "shuffle", False):
            raise ConfigError(f"{line}: a sweep that can be resumed keeps its order; leave it out")
        if override.is_sweep_override() and _key(override).partition(".")[0] == "tracking":
            raise ConfigError(f"{line}: a sweep has one place in MLflow; give tracking one value")


def _values(override: Override) -> list[str]:
    """The overrides that a sweep runs through, none if it cannot be listed: `["seed=0", ...]`."""
    if not override.is_sweep_override():
        return [str(override.input_line)]
    if override.value_type is ValueType.GLOB_CHOICE_SWEEP or not override.is_discrete_sweep():
        return []
    return [f"{_key(override)}={value}" for value in override.sweep_string_iterator()]


def _key(override: Override) -> str:
    return override.get_key_element()


def _folder(name: str | None, overrides: Sequence[str]) -> Path:
    for override in parsed(overrides):
        if override.key_or_group == "hydra.sweep.dir":
            path = str(override.value())
            if name is not None:
                raise ConfigError(f"{NAME} and hydra.sweep.dir both name the folder: give one")
            if override.is_sweep_override() or "${" in path:
                raise ConfigError(f"hydra.sweep.dir is {path}: give one path, or a {NAME}")
            return Path(path)
    if name is None:
        name = f"{datetime.now():%Y-%m-%d_%H-%M-%S}"
        while (FOLDER / name).exists():
            name += "_"
    elif not re.fullmatch(r"[\w.-]*\w[\w.-]*", name):
        raise ConfigError(f"{NAME} is {name!r}: use letters, digits, _, - and .")
    return FOLDER / name


def _find(where: str, overrides: Sequence[str]) -> Path:
    """The folder of the sweep that `sweep.resume=` names."""
    for folder in (Path(where), FOLDER / where):
        if folder.is_dir():
            return folder
    if is_id(where):
        uri = plain_values(overrides).get("tracking.uri", TrackingConfig().uri)
        return folder_of_id(where, str(uri))
    names = sorted((file.parent.name for file in FOLDER.glob(f"*/{SWEEP_FILE}")), reverse=True)
    known = f"the sweeps here are {', '.join(names[:8])}" if names else f"{FOLDER} holds none"
    raise ConfigError(
        f"{RESUME}={where}: there is no such folder, no {FOLDER / where}, and it is no MLflow run "
        f"id; {known}"
    )


def _merged(record: SweepRecord, given: Sequence[str]) -> tuple[str, ...]:
    """The overrides of a sweep with those of them changed that may change."""
    merged = dict(zip(_keys(record.overrides), record.overrides, strict=True))
    swept = {o.key_or_group for o in parsed(record.overrides) if o.is_sweep_override()}
    for item, override in zip(given, parsed(given), strict=True):
        key = override.key_or_group
        if merged.get(key) == item:
            continue
        if key in swept or override.is_sweep_override() or not _may_change(key):
            raise ConfigError(
                f"{item} would make it another sweep than {record.name} "
                f"({' '.join(record.overrides)}): leave it out, or begin one with {NAME}="
            )
        merged[key] = item
    return tuple(merged.values())


def _may_change(key: str) -> bool:
    return re.split("[./]", key)[0] in ("hydra", *MAY_CHANGE_ON_RESUME)


def _keys(overrides: Sequence[str]) -> list[str]:
    return [override.key_or_group for override in parsed(overrides)]


def _cells_of(overrides: Iterable[str]) -> tuple[object, ...]:
    """What decides on the cells of a sweep and their numbers: sweeps in order, the rest as a set.

    `seed=0,1` and `seed=range(2)` are the same.
    """
    fixed: set[str] = set()
    swept: list[tuple[str, ...]] = []
    for override in parsed(list(overrides)):
        key = override.key_or_group
        if override.is_sweep_override():
            swept.append(tuple(_values(override)) or (str(override.input_line),))
        elif not _may_change(key):
            fixed.add(str(override.input_line))
    return frozenset(fixed), tuple(swept)
