"""From the command line's overrides to a checked `RunConfig`, by hydra."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from hydra import initialize_config_dir
from hydra._internal.hydra import Hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from resetrl.builtin.local import sha256_of
from resetrl.errors import CheckpointError, ConfigError
from resetrl.hub.task import sha256_of_hub
from resetrl.method_presets import shipped_methods
from resetrl.models import ModelConfig
from resetrl.plugins import KINDS, Component, Registry, list_names
from resetrl.run.config import RunConfig, component_schema, config_dir
from resetrl.run.names import CONFIG_FILE
from resetrl.run.overrides import parsed


@dataclass(frozen=True)
class Primary:
    """A command's configuration: its file in conf/ and the schema of its values."""

    name: str
    schema: type


TRAIN = Primary("train", RunConfig)
Typed = TypeVar("Typed")

MAY_CHANGE_ON_RESUME = ("steps", "stop", "tracking", "checkpoint", "launch")
"""Keys that do not change what a step computes; the rest of the configuration is the run."""


def register_schemas(registry: Registry, primary: Primary = TRAIN) -> None:
    """Put the command's schema and every component's into hydra's ConfigStore."""
    global _stored
    store = ConfigStore.instance()
    store.store(name="schema", node=primary.schema)
    if _stored is None or _stored[0] is not store or _stored[1] is not registry:
        _register_components(registry, store)
        _stored = store, registry


_stored: tuple[ConfigStore, Registry] | None = None
"""Whose components are in hydra's ConfigStore, which is one for the process: to store them takes
as long as all the rest of composing a configuration."""


def _register_components(registry: Registry, store: ConfigStore) -> None:
    OmegaConf.register_new_resolver("sha256_of", sha256_of, replace=True)
    OmegaConf.register_new_resolver("sha256_of_hub", sha256_of_hub, replace=True)
    store.store(group="model", name="schema", node=ModelConfig)
    for component in registry:
        *folders, name = component.name.split("/")
        store.store(
            group="/".join([component.kind, *folders]),
            name=name,
            package=component.kind,
            node=component_schema(component, registry),
        )
        for option, kind in component.nested.items():
            _register_nested(registry, component, option, kind)
    for method in registry.methods.values():
        store.store(group="method", name=method.name, package="_global_", node=method.node())


def _register_nested(registry: Registry, outer: Component, option: str, kind: str) -> None:
    """What an option of a component may be: every component of the kind that holds none itself."""
    store = ConfigStore.instance()
    for component in registry:
        if component.kind == kind and not component.nested:
            *folders, name = component.name.split("/")
            store.store(
                group="/".join([outer.kind, option, *folders]),
                name=name,
                package=f"{outer.kind}.{option}",
                node=component_schema(component, registry),
            )


@contextmanager
def opened_hydra(registry: Registry, primary: Primary = TRAIN) -> Iterator[Hydra]:
    """Hydra with our configuration and schemas, closed again on leaving."""
    register_schemas(registry, primary)
    GlobalHydra.instance().clear()
    with initialize_config_dir(
        version_base="1.3", config_dir=str(config_dir()), job_name="resetrl"
    ):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        yield hydra


def run_with_hydra(
    overrides: Sequence[str], registry: Registry, job: Callable[[DictConfig, Path], Any]
) -> Any:
    """Compose the configuration and call `job(config, run folder)`."""

    errors: list[BaseException] = []

    def task(config: DictConfig) -> Any:
        try:
            return job(config, Path(HydraConfig.get().runtime.output_dir))
        except BaseException as error:
            errors.append(error)  # hydra would print lines of its own about it
            return None

    with opened_hydra(registry) as hydra, readable_errors(overrides, registry):
        result = hydra.run(TRAIN.name, task, for_hydra(overrides))
    if errors:
        raise errors[0]
    return result.return_value


def sweep_with_hydra(
    overrides: Sequence[str], registry: Registry, task: Callable[[DictConfig], Any]
) -> Any:
    """Have hydra's sweeper and launcher run `task(config)`, which must be picklable, many times."""
    with opened_hydra(registry) as hydra, readable_errors(overrides, registry):
        return hydra.multirun(TRAIN.name, task, for_hydra(overrides))


def compose(overrides: Sequence[str], registry: Registry, primary: Primary = TRAIN) -> DictConfig:
    """The composed configuration alone, for `--cfg`, tests, tools and other commands."""
    with (
        opened_hydra(registry, primary) as hydra,
        readable_errors(overrides, registry, primary),
    ):
        config = hydra.compose_config(primary.name, for_hydra(overrides), run_mode=_single_run())
        return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


def run_folder(overrides: Sequence[str], registry: Registry) -> str:
    """The folder that hydra would give a run that starts now."""
    (config,) = compose_all([overrides], registry)
    return str(config.hydra.run.dir)


def compose_all(cells: Sequence[Sequence[str]], registry: Registry) -> list[DictConfig]:
    """Some composed configurations, each with hydra's own node."""
    configs = []
    with opened_hydra(registry) as hydra:
        for overrides in cells:
            with readable_errors(overrides, registry):
                config = hydra.compose_config(
                    TRAIN.name, for_hydra(overrides), run_mode=_single_run()
                )
                configs.append(config)
    return configs


def for_hydra(overrides: Sequence[str]) -> list[str]:
    """Hydra deletes a choice with `~kind`; `kind=null` means the same and is what one writes."""
    return [
        f"~{key}" if value == "null" and key.partition("/")[0] in KINDS else item
        for item, (key, _, value) in ((item, item.partition("=")) for item in overrides)
    ]


def _single_run() -> Any:
    from hydra.types import RunMode

    return RunMode.RUN


def to_run_config(config: DictConfig) -> RunConfig:
    """The typed configuration of a run; raises ConfigError as `to_typed` does."""
    return to_typed(config, RunConfig)


def to_typed(config: DictConfig, schema: type[Typed]) -> Typed:
    """The typed configuration; raises ConfigError for a value out of range or missing."""
    merged = OmegaConf.merge(OmegaConf.structured(schema), config)
    missing = OmegaConf.missing_keys(merged)
    if missing:
        key = sorted(missing)[0]
        raise ConfigError(f"{key} has no value: give it, for example {key}=...")
    try:
        typed = OmegaConf.to_object(merged)
    except (ValueError, OmegaConfBaseException) as error:
        raise ConfigError(str(error).splitlines()[0]) from error
    assert isinstance(typed, schema)
    return typed


@contextmanager
def readable_errors(
    overrides: Sequence[str], registry: Registry, primary: Primary = TRAIN
) -> Iterator[None]:
    """Turn hydra's errors into one sentence with the choices listed."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(explain(error, overrides, registry, primary)) from error
    except ValueError as error:
        if not str(error).startswith("Config group override must be a string"):
            raise
        raise ConfigError(_misread_choice(overrides, registry)) from error


def _misread_choice(overrides: Sequence[str], registry: Registry) -> str:
    """What to say of a group's choice that hydra reads as a number or a truth value."""
    groups = (*KINDS, "method", "model")
    for each in parsed(overrides):
        if each.key_or_group in groups and isinstance(each.value(), int | float):
            text = str(each.input_line).partition("=")[2]
            group, name, choices = _choices(f"{each.key_or_group}/{text}", "", registry)
            if name in choices:
                return f"{group}={name} is read as a number: quote the name, {group}='\"{name}\"'"
            return f"{group}={name} is unknown: choose {list_names(choices) or 'from --choices'}"
    return "a choice from a group is read as a number or a truth value: give it by its name"


def explain(
    error: Exception, overrides: Sequence[str], registry: Registry, primary: Primary = TRAIN
) -> str:
    """What hydra said, as one sentence that names the key, the value and what to choose."""
    text = _innermost(error)
    unknown = re.search(r"Could not find '([^']+)'", text)
    if unknown:
        group, name, choices = _choices(unknown.group(1), text, registry)
        near = difflib.get_close_matches(name, choices, n=1)
        hint = f"did you mean {near[0]}? Choose" if near else "choose"
        return f"{group}={name} is unknown: {hint} {list_names(choices)}"
    key = re.search(r"Key '([^']+)' (?:is )?not in", text)
    if key:
        full = re.search(r"full_key: (\S+)", text)
        name = full.group(1) if full else key.group(1)
        known = _keys_of(name.rpartition(".")[0], _without(name, overrides), registry, primary)
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"the keys here are {list_names(known, 30)}"
        return f"{name} is no option of this run: {hint}"
    value = re.search(r"(Value '.*?' .*)", text)
    full = re.search(r"full_key: (\S+)", text)
    scalar = re.search(r"Invalid type assigned: .* is not a subclass of .*\. value: (.*)", text)
    if scalar and full:
        name = full.group(1)
        known = _keys_of(name, _without(name, overrides), registry, primary)
        return (
            f"{name} is a group of options and cannot be {scalar.group(1)}: set {list_names(known)}"
        )
    if value and full:
        return f"{full.group(1)}: {value.group(1)}"
    return " ".join(text.split())


def _innermost(error: BaseException) -> str:
    """The messages of an error and its causes, the deepest first."""
    messages: list[str] = []
    current: BaseException | None = error
    while current is not None:
        messages.insert(0, str(current))
        current = current.__cause__
    return "\n".join(messages)


def _choices(path: str, text: str, registry: Registry) -> tuple[str, str, list[str]]:
    """The group and the name that a path like `split/2x5` is of, and what there is to choose."""
    group, _, name = path.partition("/")
    option, _, nested_name = name.partition("/")
    nested = {
        kind for c in registry for o, kind in c.nested.items() if (c.kind, o) == (group, option)
    }
    if nested_name and nested:
        known = [c for c in registry if c.kind in nested and not c.nested]
        return f"{group}/{option}", nested_name, [component.name for component in known]
    if group in KINDS:
        return group, name, registry.names(group)
    if group == "method":
        return group, name, method_names(registry)
    options = text.partition("Config search path")[0]
    listed = [line.strip() for line in options.splitlines() if line.startswith("\t")]
    return group, name, [each for each in listed if each != "schema"]


def method_names(registry: Registry) -> list[str]:
    """Every choice of `method=`: the shipped ones and those of plugins."""
    return sorted([*shipped_methods(), *registry.methods])


def _without(name: str, overrides: Sequence[str]) -> list[str]:
    """The overrides that do not set this key."""
    return [item for item in overrides if name not in item.lstrip("+~").partition("=")[0]]


def _keys_of(
    parent: str, overrides: Sequence[str], registry: Registry, primary: Primary
) -> list[str]:
    """The full keys of a node of the configuration, of all of it if it has no name."""
    from hydra.types import RunMode

    try:
        with opened_hydra(registry, primary) as hydra:
            # A run's mode would refuse the sweeps among them.
            config = hydra.compose_config(
                primary.name, for_hydra(overrides), run_mode=RunMode.MULTIRUN
            )
    except (HydraException, OmegaConfBaseException):
        return []
    node = OmegaConf.select(config, parent) if parent else config
    keys = [str(key) for key in node if key != "hydra"] if isinstance(node, DictConfig) else []
    return [f"{parent}.{key}" if parent else key for key in keys]


def flat_dict(config: DictConfig) -> Mapping[str, Any]:
    """The resolved configuration as plain nested dictionaries."""
    container = OmegaConf.to_container(config, resolve=True, enum_to_str=True)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def config_hash(config: DictConfig) -> str:
    """Identifies what a run computes: its resolved configuration but for where it is kept."""
    kept = {k: v for k, v in flat_dict(config).items() if k not in MAY_CHANGE_ON_RESUME}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]


def save_config(config: DictConfig, folder: Path, *, is_new: bool = True) -> None:
    """Write the resolved configuration into a run folder, which holds none yet if it is new."""
    path = folder / CONFIG_FILE
    if is_new and path.exists():
        raise ConfigError(
            f"{folder} already holds a run: go on with resume={folder}, or choose another "
            "hydra.run.dir"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(OmegaConf.to_yaml(config, resolve=True), encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{path} could not be written ({error.strerror}): choose another hydra.run.dir"
        ) from error


def load_config(folder: Path, overrides: Sequence[str]) -> DictConfig:
    """A run's configuration for a resume; only keys that change no figure may be overridden."""
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise CheckpointError(f"{folder} is no run folder: it has no {CONFIG_FILE}")
    try:
        stored = OmegaConf.load(path)
        changed = OmegaConf.merge(stored, OmegaConf.from_dotlist(list(overrides)))
    except (OSError, OmegaConfBaseException, yaml.YAMLError) as error:
        raise CheckpointError(f"{path} is not readable: {error}") from error
    assert isinstance(changed, DictConfig)
    for item in overrides:
        key = item.lstrip("+").partition("=")[0]
        if key.partition(".")[0] not in MAY_CHANGE_ON_RESUME:
            raise ConfigError(
                f"{key} cannot change on resume, it would be another run: only "
                f"{', '.join(MAY_CHANGE_ON_RESUME)} can; leave it out or start a new run"
            )
    return changed
