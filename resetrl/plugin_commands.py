"""`resetrl plugins`: what is there to choose from, and help with writing more.

Nothing here imports torch before `check` runs a contract that needs it.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args, get_origin, get_type_hints

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from resetrl.errors import ConfigError, PluginError
from resetrl.method_presets import MethodPreset
from resetrl.plugin_sources import distribution_name
from resetrl.plugins import (
    KINDS,
    Component,
    Registry,
    Source,
    list_names,
    load_plugins,
    options_of,
)

app = typer.Typer(
    help="List, explain, write and check plugins.", no_args_is_help=True, add_completion=False
)

PluginPaths = Annotated[
    list[str] | None,
    typer.Option("--plugin-path", help="Also load this .py file or folder; may be repeated."),
]


@app.command("list")
def list_(
    kind: Annotated[
        str | None, typer.Argument(help="Only one kind, such as reset_selector.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    plugin_path: PluginPaths = None,
) -> None:
    """Show every component and method of every plugin, with where each comes from."""
    kinds = (*KINDS, "method")
    if kind is not None and kind not in kinds:
        near = difflib.get_close_matches(kind, kinds, n=1)
        hint = f"did you mean {near[0]}? Kinds are" if near else "choose"
        raise ConfigError(f"kind {kind!r} is unknown: {hint} {', '.join(kinds)}")
    registry = load_plugins(plugin_path or ())
    components = [component for component in registry if kind in (None, component.kind)]
    methods = list(registry.methods.values()) if kind in (None, "method") else []
    if as_json:
        typer.echo(json.dumps(_as_json(registry, components, methods), indent=2, default=str))
        return
    console = Console(highlight=False)
    console.print(_component_table(components, methods))
    if kind is None:
        console.print()
        console.print(_plugin_table(registry))


@app.command()
def info(
    name: Annotated[str, typer.Argument(help="A component: its name, or kind/name.")],
    plugin_path: PluginPaths = None,
) -> None:
    """Explain one component: what it does, its options, where it is, how to choose it."""
    registry = load_plugins(plugin_path or ())
    component = find(registry, name)
    text, helps = split_doc(component)
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{component.kind} {component.name}", style="bold", markup=False)
    console.print(f"\n{text or 'It has no docstring.'}\n", markup=False)
    options = options_with_help(registry, component, helps)
    if options:
        table = _table("option", "type", "default", "help")
        for option in options:
            add_row(table, option.name, option.type, option.written_default, option.help)
        Console(highlight=False).print(table)
    _, line = inspect.getsourcelines(component.cls)
    console.print(
        f"from    {component.source.distribution} {component.source.version}", markup=False
    )
    console.print(f"source  {inspect.getsourcefile(component.cls)}:{line}", markup=False)
    console.print(f"choose  resetrl train {override(component, options)}", markup=False)


@app.command()
def new(
    kind: Annotated[str, typer.Argument(help=f"One of {', '.join(KINDS)}.")],
    name: Annotated[str, typer.Argument(help="What a configuration will call it.")],
    folder: Annotated[Path, typer.Option(help="Where to put the new folder.")] = Path("."),
) -> None:
    """Write a plugin that works, with a test, to start from."""
    from resetrl.scaffold import write_plugin

    created = write_plugin(kind, name, folder)
    typer.echo(f"wrote {created}: edit {created / f'resetrl_{name}.py'}, then run")
    typer.echo(f"  resetrl plugins check {created}")
    typer.echo(f"  resetrl train 'plugin_paths=[{created}]' {kind}={name}")


@app.command()
def check(
    path: Annotated[Path, typer.Argument(help="A .py file, a folder, or a distribution's folder.")],
) -> None:
    """Load a plugin and run the contract of its kind on every component it registers."""
    from resetrl.testing.contracts.results import run_contract

    installed = distribution_name(path)
    registry = load_plugins([path], leave_out=[installed] if installed else [])
    place = path.expanduser().resolve()
    sources = [s for s in registry.sources.values() if s.file.resolve().is_relative_to(place)]
    components = [component for component in registry if component.source in sources]
    console = Console(highlight=False)
    for plugin, source in registry.sources.items():
        if source in sources:
            console.print(f"{plugin}: {', '.join(registry.hooks_of(plugin))}", markup=False)
    results = [result for component in components for result in run_contract(component)]
    table = _table("", "component", "check")
    for result in results:
        add_row(table, "✗" if result.reason else "✓", result.component, result.check)
    if results:
        console.print(table)
    failures = [result for result in results if result.reason]
    for failure in failures:
        console.print(f"✗ {failure.component}: {failure.reason}", markup=False, soft_wrap=True)
    if failures:
        raise PluginError(
            f"{len(failures)} of {len(results)} checks of {path} failed, the first: "
            f"{failures[0].component} {failures[0].check}: {failures[0].reason}"
        )
    console.print(f"{path}: {len(results)} checks of {len(components)} components passed")


def find(registry: Registry, name: str) -> Component:
    """The component called `name` or `kind/name`; raises ConfigError with the choices."""
    kind, _, rest = name.partition("/")
    if kind in KINDS and rest:
        return registry.get(kind, rest)
    found = [component for component in registry if component.name == name]
    if len(found) == 1:
        return found[0]
    if found:
        choices = [f"{component.kind}/{component.name}" for component in found]
        raise ConfigError(f"{name!r} is of several kinds: choose {' or '.join(choices)}")
    near = difflib.get_close_matches(name, [component.name for component in registry], n=1)
    families = sorted({_family(component) for component in registry})
    hint = f"did you mean {near[0]!r}" if near else f"choose {list_names(families, 20)}"
    raise ConfigError(f"no component is called {name!r}: {hint}; `resetrl plugins list` shows all")


def split_doc(component: Component) -> tuple[str, Mapping[str, str]]:
    """The docstring without its `option: text` lines, and those by option."""
    names = "|".join(option.name for option in options_of(component.cls))
    pattern = re.compile(rf"^({names}): (.*(?:\n[ \t]+\S.*)*)\n?", re.MULTILINE)
    if not names:
        return component.doc, {}
    helps = {name: " ".join(text.split()) for name, text in pattern.findall(component.doc)}
    return pattern.sub("", component.doc).strip(), helps


@dataclass(frozen=True)
class Option:
    """An option of a component as it is shown; `default` is MISSING if it must be given."""

    name: str
    type: str
    default: object
    help: str

    @property
    def written_default(self) -> str:
        """The default as a configuration writes it, empty where there is none."""
        if self.default is dataclasses.MISSING:
            return ""
        if isinstance(self.default, str):
            return self.default or "''"
        return json.dumps(self.default, default=repr)


def options_with_help(
    registry: Registry, component: Component, helps: Mapping[str, str]
) -> list[Option]:
    """The options of a component in the order of its fields."""
    hints = get_type_hints(component.cls)
    options = []
    for option in options_of(component.cls):
        written, default = _written_type(hints[option.name]), _default(component, option)
        if option.name in component.nested:
            written = component.nested[option.name]
            default = registry.nested_default(component, option.name)
        options.append(Option(option.name, written, default, helps.get(option.name, "")))
    return options


def override(component: Component, options: Sequence[Option]) -> str:
    """What to append to `resetrl train` to choose a component, with one option as an example."""
    parts = [f"{component.kind}={component.name}"]
    if component.source.distribution == "plugin_paths":
        parts.insert(0, f"'plugin_paths=[{component.source.file}]'")
    if options and options[0].written_default:
        separator = "/" if options[0].name in component.nested else "."
        parts.append(f"{component.kind}{separator}{options[0].name}={options[0].written_default}")
    return " ".join(parts)


def _written_type(hint: object) -> str:
    if get_origin(hint) is Literal:
        return " | ".join(map(str, get_args(hint)))
    return inspect.formatannotation(hint)


def _default(component: Component, option: dataclasses.Field[object]) -> object:
    if option.name in component.defaults:
        return component.defaults[option.name]
    if option.default_factory is not dataclasses.MISSING:
        return option.default_factory()
    return option.default


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def add_row(table: Table, *cells: str) -> None:
    """A row of plain texts: brackets in them are no markup."""
    table.add_row(*(Text(cell) for cell in cells))


def _component_table(components: Sequence[Component], methods: Sequence[MethodPreset]) -> Table:
    """A line for each component or family of them, under a heading for each kind."""
    rows: dict[str, list[tuple[str, str, Source]]] = {}
    families: dict[tuple[str, str], list[Component]] = {}
    for component in components:
        families.setdefault((component.kind, _family(component)), []).append(component)
    like: dict[type, Component] = {}
    for (kind, family), members in families.items():
        first = members[0]
        what = _what(first, like.setdefault(first.cls, first))
        if len(members) > 1:
            what = f"{len(members)} components, such as {first.name}: {what}"
        rows.setdefault(kind, []).append((family, what, first.source))
    for method in methods:
        rows.setdefault("method", []).append((method.name, method.summary, method.source))
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(overflow="fold")
    table.add_column()
    for kind, listed in rows.items():
        if table.row_count:
            table.add_row()
        table.add_row(Text(kind, "bold"))
        for name, what, source in listed:
            of_plugin = source.distribution != "resetrl"
            origin = f" ({source.distribution})" if of_plugin else ""
            table.add_row(Text(f"  {name}"), Text.assemble(what, (origin, "dim")))
    return table


def _what(component: Component, like: Component) -> str:
    """What a component does; of one like an earlier one only what is other about it."""
    changed = [
        f"{name}={json.dumps(value)}"
        for name, value in component.defaults.items()
        if like.defaults.get(name) != value
    ]
    if changed and like is not component:
        return f"like {like.name}, with {', '.join(changed)}"
    return re.split(r"\.\s+(?=[A-Z])", component.summary)[0].rstrip(".")


def _family(component: Component) -> str:
    """One name for the components that share a folder and a class: `reasoning_gym/*`."""
    folder, slash, _ = component.name.rpartition("/")
    return f"{folder}/*" if slash else component.name


def _plugin_table(registry: Registry) -> Table:
    """What each plugin is, where it lies, and the hooks it has."""
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_row(Text("plugins", "bold"))
    for plugin, source in registry.sources.items():
        hooks = ", ".join(hook.removeprefix("resetrl_") for hook in registry.hooks_of(plugin))
        about = Text(f"{source.distribution} {source.version}: {hooks}")
        about.append(f"\n{source.file}", "dim")
        about.overflow = "fold"
        table.add_row(Text(f"  {plugin}"), about)
    return table


def _as_json(
    registry: Registry, components: Sequence[Component], methods: Sequence[MethodPreset]
) -> dict[str, object]:
    return {
        "components": [
            {
                "kind": component.kind,
                "name": component.name,
                "summary": component.summary,
                "class": f"{component.cls.__module__}.{component.cls.__qualname__}",
                "options": [
                    {
                        "name": option.name,
                        "type": option.type,
                        "required": option.default is dataclasses.MISSING,
                        "default": None
                        if option.default is dataclasses.MISSING
                        else option.default,
                        "help": option.help,
                    }
                    for option in options_with_help(registry, component, split_doc(component)[1])
                ],
                **_source_as_json(component.source),
            }
            for component in components
        ],
        "methods": [
            {
                "name": method.name,
                "choices": dict(method.choices),
                "values": dict(method.values),
                **_source_as_json(method.source),
            }
            for method in methods
        ],
        "plugins": [
            {"plugin": plugin, "hooks": registry.hooks_of(plugin), **_source_as_json(source)}
            for plugin, source in registry.sources.items()
        ],
    }


def _source_as_json(source: Source) -> dict[str, str]:
    return {
        "distribution": source.distribution,
        "version": source.version,
        "file": str(source.file),
    }
