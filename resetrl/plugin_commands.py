"""`resetrl plugins`: what is there to choose from, and help with writing more.

Nothing here imports torch before `check` runs a contract that needs it.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from resetrl.errors import ConfigError, PluginError
from resetrl.plugin_sources import Source, distribution_name, plugins_at
from resetrl.plugins import KINDS, Component, Registry, list_names, load_plugins, options_of

app = typer.Typer(
    help="List, explain, write and check plugins.", no_args_is_help=True, add_completion=False
)

PluginPaths = Annotated[
    list[str] | None,
    typer.Option("--plugin-path", help="Also load this .py file or folder; may be repeated."),
]


@app.command("list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    kind: Annotated[str | None, typer.Option(help="Only one kind, such as reset_selector.")] = None,
    plugin_path: PluginPaths = None,
) -> None:
    """Show every component and every plugin, with where each comes from."""
    if kind is not None and kind not in KINDS:
        raise ConfigError(f"kind {kind!r} is unknown: choose {', '.join(KINDS)}")
    registry = load_plugins(plugin_path or ())
    components = [component for component in registry if kind in (None, component.kind)]
    if as_json:
        typer.echo(json.dumps(_as_json(registry, components), indent=2))
        return
    console = Console(highlight=False)
    console.print(_component_table(components))
    console.print(_plugin_table(registry))


@app.command()
def info(
    name: Annotated[str, typer.Argument(help="A component: its name, or kind/name.")],
    plugin_path: PluginPaths = None,
) -> None:
    """Explain one component: what it does, its options, where it is, how to choose it."""
    component = find(load_plugins(plugin_path or ()), name)
    text, helps = split_doc(component)
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{component.kind} {component.name}", style="bold", markup=False)
    console.print(f"\n{text or 'It has no docstring.'}\n", markup=False)
    options = option_rows(component, helps)
    if options:
        table = _table("option", "type", "default", "help")
        for row in options:
            table.add_row(*row)
        Console(highlight=False).print(table)
    _, line = inspect.getsourcelines(component.cls)
    console.print(f"from    {component.source.distribution} {component.source.version}")
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
    installed = distribution_name(path)
    registry = load_plugins([path], leave_out=[installed] if installed else [])
    sources = {plugin.source for plugin in plugins_at(path)}
    components = [component for component in registry if component.source in sources]
    console = Console(highlight=False)
    for plugin, source in registry.sources.items():
        if source in sources:
            console.print(f"{plugin}: {', '.join(registry.hooks_of(plugin))}", markup=False)
    results = [result for component in components for result in run_contract(component)]
    table = _table("", "component", "check")
    for result in results:
        mark = "[red]✗[/]" if result.reason else "[green]✓[/]"
        table.add_row(mark, result.component, result.check)
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


@dataclass(frozen=True)
class Result:
    """One check of one component; the reason is empty if it passed."""

    component: str
    check: str
    reason: str


def run_contract(component: Component) -> Iterator[Result]:
    """The result of each check, on the component with its default options."""
    from resetrl.testing.contracts import contract_for, title

    name = f"{component.kind} {component.name}"
    undocumented = "" if component.doc else "give the class a docstring: it is the help text"
    yield Result(name, "has a docstring", undocumented)
    try:
        built = component.build({})
    except ConfigError as error:
        yield Result(
            name, "can be built from its defaults", f"{error}; give every option a default"
        )
        return
    yield Result(name, "can be built from its defaults", "")
    for contract_check in contract_for(component.kind):
        try:
            contract_check(built)
        except AssertionError as error:
            reason = str(error) or "AssertionError without a message"
        except Exception as error:  # a plugin may fail in any way; all are reported alike
            reason = f"raised {type(error).__name__}: {error}{_place_in(component, error)}"
        else:
            reason = ""
        yield Result(name, title(contract_check), reason)


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
    import difflib

    names = sorted({component.name for component in registry})
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}" if near else f"choose {list_names(names)}"
    raise ConfigError(f"no component is called {name!r}: {hint}; `resetrl plugins list` shows all")


def split_doc(component: Component) -> tuple[str, Mapping[str, str]]:
    """The docstring without its `option: text` lines, and those by option."""
    names = "|".join(option.name for option in options_of(component.cls))
    pattern = re.compile(rf"^({names}): (.*(?:\n[ \t]+\S.*)*)\n?", re.MULTILINE)
    if not names:
        return component.doc, {}
    helps = {name: " ".join(text.split()) for name, text in pattern.findall(component.doc)}
    return pattern.sub("", component.doc).strip(), helps


def option_rows(component: Component, helps: Mapping[str, str]) -> list[tuple[str, str, str, str]]:
    """Name, type, default and help of each option, as texts."""
    return [
        (
            option.name,
            option.type if isinstance(option.type, str) else inspect.formatannotation(option.type),
            _default(component, option),
            helps.get(option.name, ""),
        )
        for option in options_of(component.cls)
    ]


def override(component: Component, options: Sequence[tuple[str, str, str, str]]) -> str:
    """What to append to `resetrl train` to choose a component, with one option as an example."""
    parts = [f"{component.kind}={component.name}"]
    if component.source.distribution == "plugin_paths":
        parts.insert(0, f"'plugin_paths=[{component.source.file}]'")
    parts += [
        f"{component.kind}.{name}={default}" for name, _, default, _ in options[:1] if default
    ]
    return " ".join(parts)


def _default(component: Component, option: dataclasses.Field[object]) -> str:
    """The default as a configuration writes it, empty where an option must be given."""
    if option.name in component.defaults:
        value = component.defaults[option.name]
    elif option.default is not dataclasses.MISSING:
        value = option.default
    elif option.default_factory is not dataclasses.MISSING:
        value = option.default_factory()
    else:
        return ""
    if isinstance(value, str):
        return value or "''"
    return json.dumps(value, default=repr)


def _place_in(component: Component, error: Exception) -> str:
    """The last line of the plugin's own file that an error came through."""
    traceback, place = error.__traceback__, ""
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == inspect.getsourcefile(component.cls):
            place = f" (line {traceback.tb_lineno} of {component.source.file.name})"
        traceback = traceback.tb_next
    return place


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _component_table(components: Sequence[Component]) -> Table:
    table = _table("kind", "name", "what it does", "from")
    families: dict[tuple[str, str], list[Component]] = {}
    for component in components:
        families.setdefault((component.kind, _family(component)), []).append(component)
    for (kind, family), members in families.items():
        first = members[0]
        what = first.summary.split(". ")[0]
        if len(members) > 1:
            what = f"{len(members)} components, such as {first.name}: {what}"
        source = first.source
        table.add_row(kind, family, what, f"{source.distribution} {source.version}")
    return table


def _family(component: Component) -> str:
    """One name for the components that share a folder and a class: `reasoning_gym/*`."""
    folder, slash, _ = component.name.rpartition("/")
    return f"{folder}/*" if slash else component.name


def _plugin_table(registry: Registry) -> Table:
    table = _table("plugin", "distribution", "version", "file", "hooks")
    for plugin, source in registry.sources.items():
        hooks = ", ".join(hook.removeprefix("resetrl_") for hook in registry.hooks_of(plugin))
        table.add_row(plugin, source.distribution, source.version, str(source.file), hooks)
    return table


def _as_json(registry: Registry, components: Sequence[Component]) -> dict[str, object]:
    return {
        "components": [
            {
                "kind": component.kind,
                "name": component.name,
                "summary": component.summary,
                "class": f"{component.cls.__module__}.{component.cls.__qualname__}",
                "options": {
                    name: {"type": type_, "default": default, "help": text}
                    for name, type_, default, text in option_rows(
                        component, split_doc(component)[1]
                    )
                },
                **_source_as_json(component.source),
            }
            for component in components
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
