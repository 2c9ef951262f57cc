"""Loads plugins and keeps the components and methods they register, with where each came from.

Sources, in this order: the built-in components, entry points of the group `resetrl.plugins`, and
the files or folders of `plugin_paths`. Nothing is skipped in silence: a plugin that does not
import, a name registered twice and a misspelt hook are errors that name distribution and file.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import inspect
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

import pluggy

from resetrl import hookspecs
from resetrl.errors import ConfigError, PluginError, list_names
from resetrl.interfaces import Loss, ResetSelector, Sampler, Task, Verifier
from resetrl.method_presets import METHODS_HOOK, MethodPreset, read_preset
from resetrl.plugin_sources import (
    ENTRY_POINT_GROUP,
    Plugin,
    Source,
    builtin_plugin,
    installed_plugins,
    plugins_at,
)

KINDS: Mapping[str, str] = {
    "reset_selector": "resetrl_reset_selectors",
    "verifier": "resetrl_verifiers",
    "split": "resetrl_group_splits",
    "sampler": "resetrl_samplers",
    "loss": "resetrl_losses",
    "task": "resetrl_tasks",
    "engine": "resetrl_engines",
    "learner": "resetrl_learners",
}
"""The configuration group of each component kind and the hook that registers it."""

_NESTED_KINDS: Mapping[object, str] = {
    ResetSelector: "reset_selector",
    Verifier: "verifier",
    Sampler: "sampler",
    Loss: "loss",
    Task: "task",
}
"""An option of one of these types is a component itself, chosen as `kind/option=name`."""

COMMANDS_HOOK = "resetrl_commands"

HOOKS = tuple(name for name in vars(hookspecs) if name.startswith("resetrl_"))
"""Every hook: components', methods', commands', observers'."""

_MEMBERS: Mapping[str, tuple[str, ...]] = {
    "reset_selector": ("select",),
    "verifier": ("verify",),
    "split": ("budget",),
    "sampler": ("budget", "sample"),
    "loss": ("loss", "ignores_zero_advantage", "needs_reference"),
    "task": ("problems", "verifier"),
    "engine": ("start",),
    "learner": ("start",),
}
"""What a class of each kind must have, so that a mix-up is noticed when it is registered."""


@dataclass(frozen=True)
class Component:
    """A registered component: its kind, its name, its class, default option values, its source."""

    kind: str
    name: str
    cls: type
    defaults: Mapping[str, object]
    source: Source

    @property
    def doc(self) -> str:
        """The class's docstring, empty if it has none of its own (dataclasses invent one)."""
        doc = inspect.getdoc(self.cls) or ""
        return "" if doc.startswith(f"{self.cls.__name__}(") else doc.strip()

    @property
    def summary(self) -> str:
        """The first paragraph of the class's docstring, as one line."""
        return self.doc.split("\n\n")[0].replace("\n", " ")

    @property
    def nested(self) -> Mapping[str, str]:
        """The options that are components themselves, and the kind of each."""
        hints = _type_hints(self.cls)
        kinds = {
            option.name: _NESTED_KINDS.get(hints[option.name]) for option in options_of(self.cls)
        }
        return {name: kind for name, kind in kinds.items() if kind is not None}

    def build(self, options: Mapping[str, object]) -> object:
        """The component with the given options; raises ConfigError naming option and value."""
        hints = _type_hints(self.cls)
        names = [option.name for option in options_of(self.cls)]
        for name, value in options.items():
            if name not in names:
                raise ConfigError(
                    f"{self.kind} {self.name!r} has no option {name!r}: its options are "
                    f"{list_names(names) or 'none'}"
                )
            choices = get_args(hints[name]) if get_origin(hints[name]) is Literal else ()
            if choices and value not in choices:
                raise ConfigError(
                    f"{self.kind}.{name} is {value!r}: choose {', '.join(map(str, choices))}"
                )
        try:
            return self.cls(**{**self.defaults, **options})
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{self.kind} {self.name!r}: {error}") from error


@dataclass
class Registry:
    """All components and methods, and the plugin manager that calls the observers.

    `methods` are those of plugins; the shipped ones are files of conf/method/. `commands` are those
    that plugins add to the command line, each a typer.Typer, with where it is from.
    """

    manager: pluggy.PluginManager
    components: dict[tuple[str, str], Component] = field(default_factory=dict)
    methods: dict[str, MethodPreset] = field(default_factory=dict)
    commands: dict[str, tuple[object, Source]] = field(default_factory=dict)
    sources: dict[str, Source] = field(default_factory=dict)

    def names(self, kind: str) -> list[str]:
        return sorted(name for of_kind, name in self.components if of_kind == kind)

    def get(self, kind: str, name: str) -> Component:
        """The component of that name; raises ConfigError with the choices listed."""
        try:
            return self.components[kind, name]
        except KeyError:
            names = self.names(kind)
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]!r}? Choose" if near else "choose"
            remedy = f"{hint} {list_names(names)}" if names else "install a plugin that has one"
            raise ConfigError(f"{kind} {name!r} is unknown: {remedy}") from None

    def __iter__(self) -> Iterator[Component]:
        return iter(sorted(self.components.values(), key=lambda c: (c.kind, c.name)))

    def nested_default(self, component: Component, option: str) -> str:
        """The name of the component an option is by default, `???` if it has to be given."""
        (field,) = (field for field in options_of(component.cls) if field.name == option)
        if option in component.defaults:
            default = component.defaults[option]
        elif field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        else:
            return "???"
        for known in self:
            alike = known.kind == component.nested[option] and known.cls is type(default)
            if alike and known.build({}) == default:
                return known.name
        raise PluginError(
            f"{component.kind} {component.name!r} of {component.source}: its option {option!r} is "
            f"{default!r} by default, which is not registered so: take a registered "
            f"{component.nested[option]} with its own defaults"
        )

    def origin(self, component: object) -> str:
        """Which component an object is, and where its code is from, for error messages.

        `reset_selector 'mine' of resetrl-mine 0.1.0 (/path/mine.py)`; what was made by a component,
        like a learner, goes by its class, and what no plugin brought too.
        """
        cls = type(component)
        found = [known for known in self.components.values() if known.cls is cls]
        if found:
            name = repr(found[0].name) if len(found) == 1 else cls.__name__
            return f"{found[0].kind} {name} of {found[0].source}"
        package = cls.__module__.partition(".")[0]
        for plugin, source in self.sources.items():
            hooks = self.manager.get_plugin(plugin)
            module = str(getattr(hooks, "__name__", type(hooks).__module__))
            if module.partition(".")[0] == package:
                return f"{cls.__name__} of {source}"
        return f"{cls.__name__} ({cls.__module__})"

    def hooks_of(self, plugin: str) -> list[str]:
        """The hooks a loaded plugin implements, in the order of `HOOKS`."""
        callers = self.manager.get_hookcallers(self.manager.get_plugin(plugin)) or []
        return sorted((caller.name for caller in callers), key=HOOKS.index)

    def manifest(self) -> list[dict[str, str]]:
        """Name, version and hash of the code of every plugin loaded, to track and to compare."""
        return [
            {
                "plugin": plugin,
                "distribution": source.distribution,
                "version": source.version,
                "sha256": source.sha256(),
            }
            for plugin, source in sorted(self.sources.items())
        ]


def load_plugins(
    plugin_paths: Sequence[str | Path] = (), leave_out: Collection[str] = ()
) -> Registry:
    """Load every plugin and collect its components; raises PluginError.

    `leave_out` names installed distributions to pass over, as `resetrl plugins check` does with
    the installed copy of what it checks.
    """
    manager = pluggy.PluginManager("resetrl")
    manager.add_hookspecs(hookspecs)
    registry = Registry(manager)
    _register(registry, builtin_plugin())
    for plugin in installed_plugins(leave_out):
        _register(registry, plugin)
    for path in plugin_paths:
        for plugin in plugins_at(path):
            _register(registry, plugin)
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise PluginError(_unknown_hook(registry, error)) from None
    for kind, hook_name in KINDS.items():
        for implementation in getattr(manager.hook, hook_name).get_hookimpls():
            source = registry.sources[implementation.plugin_name]
            for name, registered in _call(hook_name, implementation.function, source).items():
                _add(registry, kind, name, registered, source)
    for implementation in getattr(manager.hook, METHODS_HOOK).get_hookimpls():
        source = registry.sources[implementation.plugin_name]
        for name, values in _call(METHODS_HOOK, implementation.function, source).items():
            _add_method(registry, name, values, source)
    _add_commands(registry)
    return registry


def commands_of_plugins() -> Mapping[str, tuple[object, Source]]:
    """The commands of installed plugins, with nothing else of them; raises PluginError.

    Takes a tenth of the time of `load_plugins`, for a help text.
    """
    manager = pluggy.PluginManager("resetrl")
    manager.add_hookspecs(hookspecs)
    registry = Registry(manager)
    for plugin in installed_plugins():
        _register(registry, plugin)
    _add_commands(registry)
    return registry.commands


def _add_commands(registry: Registry) -> None:
    for implementation in getattr(registry.manager.hook, COMMANDS_HOOK).get_hookimpls():
        source = registry.sources[implementation.plugin_name]
        for name, command in _call(COMMANDS_HOOK, implementation.function, source).items():
            _add_command(registry, name, command, source)


def _register(registry: Registry, plugin: Plugin) -> None:
    manager, name = registry.manager, plugin.name
    other = registry.sources.get(name) or registry.sources.get(manager.get_name(plugin.hooks) or "")
    if other:
        raise PluginError(
            f"plugin {name!r} is registered by both {other} and {plugin.source}: rename or drop one"
        )
    for hook in HOOKS:
        if callable(getattr(plugin.hooks, hook, None)) and not manager.parse_hookimpl_opts(
            plugin.hooks, hook
        ):
            raise PluginError(
                f"plugin {name!r} of {plugin.source}: {hook} is not marked: put "
                "@resetrl.hookspecs.hookimpl above it"
            )
    try:
        manager.register(plugin.hooks, name)
    except pluggy.PluginValidationError as error:
        reason = "; ".join(str(error).splitlines()[1:])
        raise PluginError(f"plugin {name!r} of {plugin.source}: {reason}") from None
    if not manager.get_hookcallers(plugin.hooks):
        raise PluginError(
            f"plugin {name!r} of {plugin.source} registers nothing: mark a function with "
            "@resetrl.hookspecs.hookimpl"
        )
    registry.sources[name] = plugin.source


def _unknown_hook(registry: Registry, error: pluggy.PluginValidationError) -> str:
    source = registry.sources[registry.manager.get_name(error.plugin) or ""]
    named = re.search(r"unknown hook '(\w+)'", str(error))
    hook = named.group(1) if named else str(error)
    near = difflib.get_close_matches(hook, HOOKS, n=1)
    hint = f"did you mean {near[0]}? The" if near else "the"
    return f"{source}: unknown hook {hook!r}: {hint} hooks are {', '.join(HOOKS)}"


def _call(
    hook_name: str, hook: Callable[[], Mapping[str, object]], source: Source
) -> Mapping[str, object]:
    try:
        components = hook()
    except (Exception, SystemExit) as error:  # a plugin may fail in any way
        raise PluginError(
            f"{source}: {hook_name} fails: {type(error).__name__}: {error}; repair it or remove "
            "the plugin"
        ) from error
    if not isinstance(components, Mapping):
        raise PluginError(
            f"{source}: {hook_name} returned {components!r}: return {{name: "
            f"{'values' if hook_name == METHODS_HOOK else 'component class'}}}"
        )
    return components


def _add(registry: Registry, kind: str, name: object, registered: object, source: Source) -> None:
    where = f"{kind} {name!r} of {source}"
    name = _checked_name(name, where)
    if (kind, name) in registry.components:
        other = registry.components[kind, name].source
        raise PluginError(
            f"{kind} {name!r} is registered by both {other} and {source}: rename or drop one"
        )
    cls = registered if isinstance(registered, type) else type(registered)
    if not dataclasses.is_dataclass(cls):
        raise PluginError(f"{where} is {registered!r}: register a dataclass or an instance of one")
    missing = [member for member in _MEMBERS[kind] if not hasattr(cls, member)]
    if missing:
        raise PluginError(f"{where}: {cls.__name__} has no {missing[0]}, as a {kind} must")
    names = [option.name for option in options_of(cls)]
    for taken in {"name", "defaults"} & set(names):
        raise PluginError(f"{where}: the option {taken!r} is taken by the configuration: rename it")
    try:
        _type_hints(cls)
    except (NameError, TypeError) as error:
        raise PluginError(
            f"{where}: the type of an option is not known at run time ({error}): import it outside "
            "of TYPE_CHECKING"
        ) from error
    given = {} if registered is cls else {option: getattr(registered, option) for option in names}
    registry.components[kind, name] = Component(kind, name, cls, given, source)


def _add_method(registry: Registry, name: object, values: object, source: Source) -> None:
    where = f"method {name!r} of {source}"
    preset = read_preset(_checked_name(name, where), values, source)
    other = registry.methods.get(preset.name)
    if other is not None:
        raise PluginError(
            f"method {name!r} is registered by both {other.source} and {source}: rename or drop one"
        )
    for kind, chosen in preset.choices.items():
        if kind not in KINDS:
            raise PluginError(f"{where} overrides {kind!r}: choose {', '.join(KINDS)}")
        if chosen is not None and (kind, chosen) not in registry.components:
            raise PluginError(
                f"{where} chooses {kind} {chosen!r}, which is unknown: choose "
                f"{list_names(registry.names(kind))}"
            )
    registry.methods[preset.name] = preset


def _add_command(registry: Registry, name: str, command: object, source: Source) -> None:
    other = registry.commands.get(name)
    if other is not None:
        raise PluginError(
            f"command {name!r} is registered by both {other[1]} and {source}: rename or drop one"
        )
    registry.commands[name] = command, source


def _checked_name(name: object, where: str) -> str:
    if not isinstance(name, str) or not re.fullmatch(r"[\w.-]+(/[\w.-]+)*", name):
        raise PluginError(f"{where}: a name is made of letters, digits, _, -, . and /")
    return name


@functools.cache
def _type_hints(cls: type) -> Mapping[str, object]:
    return get_type_hints(cls)


def options_of(cls: type) -> list[dataclasses.Field[object]]:
    """The fields of a component that are its options."""
    return [option for option in dataclasses.fields(cls) if option.init]


__all__ = [
    "ENTRY_POINT_GROUP",
    "HOOKS",
    "KINDS",
    "Component",
    "Registry",
    "Source",
    "commands_of_plugins",
    "list_names",
    "load_plugins",
    "options_of",
]
