"""Where plugins come from: the built-ins, installed distributions, and paths.

A path is a `.py` file, a folder of them (those that begin with `_` are helpers and are left
out), a package, or the folder of a distribution whose pyproject.toml names the entry points.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import sys
import tomllib
import types
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import resetrl
from resetrl.errors import PluginError

ENTRY_POINT_GROUP = "resetrl.plugins"


@dataclass(frozen=True)
class Source:
    """Where a plugin came from: `Source("resetrl-example", "0.1.0", Path(".../last_k.py"))`."""

    distribution: str
    version: str
    file: Path

    def __str__(self) -> str:
        return f"{self.distribution} {self.version} ({self.file})"

    def sha256(self) -> str:
        """The hash of the plugin's code: its file, or every file of the package it is in."""
        package = None
        folder = self.file.parent
        while (folder / "__init__.py").is_file():
            package, folder = folder, folder.parent
        digest = hashlib.sha256()
        for file in sorted(package.rglob("*.py")) if package else [self.file]:
            digest.update(str(file.relative_to(folder)).encode() + b"\0" + file.read_bytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Plugin:
    """An imported plugin, a module or an object with hooks, under the name of its entry point."""

    name: str
    hooks: object
    source: Source


def builtin_plugin() -> Plugin:
    """The components resetrl ships, which register as any plugin does."""
    module = importlib.import_module("resetrl.builtin")
    return Plugin("builtin", module, Source("resetrl", resetrl.__version__, _file_of(module)))


def installed_plugins(leave_out: Collection[str] = ()) -> Iterator[Plugin]:
    """The plugins of installed distributions, but for those of the distributions named."""
    for entry_point in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
        distribution = entry_point.dist
        name = distribution.name if distribution else "an unnamed distribution"
        if name in leave_out:
            continue
        version = distribution.version if distribution else "unversioned"
        try:
            hooks = entry_point.load()
        except (Exception, SystemExit) as error:  # a plugin may fail in any way
            raise _does_not_import(
                f"plugin {entry_point.name!r} of {name} {version} ({entry_point.value})",
                error,
                f"uninstall {name}",
            ) from error
        yield Plugin(entry_point.name, hooks, Source(name, version, _file_of(hooks)))


def plugins_at(path: str | Path) -> Iterator[Plugin]:
    """The plugins of one element of `plugin_paths`; raises PluginError."""
    place = Path(path).expanduser().resolve()
    if not place.exists():
        raise PluginError(f"plugin_paths: {place} does not exist: give a .py file or a folder")
    if place.is_file():
        if place.suffix != ".py":
            raise PluginError(f"plugin_paths: {place} is no .py file")
        yield _plugin_file(place)
    elif (place / "pyproject.toml").is_file():
        yield from _distribution_folder(place)
    elif (place / "__init__.py").is_file():
        yield _plugin_file(place / "__init__.py")
    else:
        files = sorted(file for file in place.glob("*.py") if not file.name.startswith("_"))
        if not files:
            raise PluginError(f"plugin_paths: {place} holds no .py file")
        yield from map(_plugin_file, files)


def distribution_name(path: Path) -> str | None:
    """The name in the pyproject.toml of a distribution's folder, None where there is none."""
    file = path / "pyproject.toml"
    return str(_read_project(file).get("name")) if file.is_file() else None


def _plugin_file(file: Path) -> Plugin:
    # The path is part of the name, so that two files called alike stay two modules.
    stem = file.parent.name if file.name == "__init__.py" else file.stem
    name = f"resetrl_path_{stem}_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"
    module = _import_file(name, file, f"plugin file {file}")
    return Plugin(name, module, Source("plugin_paths", "unversioned", file))


def _distribution_folder(folder: Path) -> Iterator[Plugin]:
    file = folder / "pyproject.toml"
    project = _read_project(file)
    name, version = str(project.get("name")), str(project.get("version", "unversioned"))
    groups = project.get("entry-points", {})
    entry_points = groups.get(ENTRY_POINT_GROUP, {}) if isinstance(groups, Mapping) else {}
    if not entry_points:
        raise PluginError(
            f"plugin_paths: {file} declares no plugin: add a table "
            f'[project.entry-points."{ENTRY_POINT_GROUP}"]'
        )
    for plugin, value in entry_points.items():
        module_name, _, attribute = str(value).partition(":")
        what = f"plugin {plugin!r} of {name} {version} ({value} in {folder})"
        hooks = _import_from(folder, module_name.strip(), what)
        try:
            for part in filter(None, attribute.strip().split(".")):
                hooks = getattr(hooks, part)
        except AttributeError as error:
            raise _does_not_import(what, error, "take it out of plugin_paths") from error
        yield Plugin(plugin, hooks, Source(name, version, _file_of(hooks)))


def _read_project(file: Path) -> Mapping[str, object]:
    try:
        project = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PluginError(f"{file} is no valid TOML: {error}") from error
    assert isinstance(project, Mapping)
    return project


def _import_from(folder: Path, module_name: str, what: str) -> object:
    """Import a module of a distribution that is not installed, under its own name."""
    top = module_name.partition(".")[0]
    places = [base / part for base in (folder / "src", folder) for part in (top, f"{top}.py")]
    files = [place / "__init__.py" if place.suffix != ".py" else place for place in places]
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        raise PluginError(f"{what} has no module {top!r}: neither in {folder} nor in its src/")
    known = sys.modules.get(top)
    if known is None:
        _import_file(top, file, what)
    elif _file_of(known) != file:
        raise PluginError(
            f"{what}: a module {top!r} is loaded already, from {_file_of(known)}: rename one, or "
            "uninstall the other"
        )
    try:
        return importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # a plugin may fail in any way
        raise _does_not_import(what, error, "take it out of plugin_paths") from error


def _import_file(name: str, file: Path, what: str) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a plugin may fail in any way
        del sys.modules[name]
        raise _does_not_import(what, error, "take it out of plugin_paths") from error
    return module


def _does_not_import(what: str, error: BaseException, otherwise: str) -> PluginError:
    return PluginError(
        f"{what} does not import: {type(error).__name__}: {error}; repair it or {otherwise}"
    )


def _file_of(hooks: object) -> Path:
    if isinstance(hooks, types.ModuleType) and hooks.__file__:
        return Path(hooks.__file__)
    return Path(inspect.getfile(hooks if isinstance(hooks, type) else type(hooks)))
