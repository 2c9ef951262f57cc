"""What the user calls a run, in every command: its folder, its MLflow id, or enough of its name."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from resetrl.errors import ConfigError, list_names
from resetrl.run.rollouts import ROLLOUTS
from resetrl.run.tracking.config import TrackingConfig, redacted, resolve_uri, sqlite_path
from resetrl.run.tracking.facts import RUN_FOLDER_TAG
from resetrl.run.tracking.journal import JOURNAL
from resetrl.run.tracking.spool import RUN_FILE, SWEEP_FILE

ROOTS = (Path("runs"), Path("multirun"))
"""Where `resetrl train` puts runs and sweeps, below the current folder."""

CONFIG_FILE = "config.yaml"
DEPTH = 4
"""How far below a root or a sweep's folder runs may lie."""


def find_run(name: str, uri: str = TrackingConfig.uri, *, or_sweep: bool = False) -> Path:
    """The folder of that path, of that MLflow id, or of the only run whose name fits.

    Names are first those below `runs/` and `multirun/`, of which the end or any other part will
    do (see `matching`), then, whole, those in the MLflow store at `uri`. With `or_sweep` a sweep
    has such names too. Raises ConfigError, with the candidates, if it is none or not the only one.
    """
    folder = Path(name)
    if folder.is_dir() and (is_run(folder) or or_sweep):
        return folder
    if folder.is_dir() and (below := list(runs_below(folder))):
        raise ConfigError(
            f"{folder} is no run but holds {len(below)}: {_listed(below)}; choose one"
        )
    if is_id(name):
        return folder_of_id(name, uri)
    here = folders_here(or_sweep)
    found = matching(name.strip("/"), here) or _stored(name, uri, or_sweep)
    if len(found) == 1:
        return Path(found[0])
    what = "run or sweep" if or_sweep else "run"
    if found:
        raise ambiguous(name, found, what)
    if folder.is_dir():
        raise ConfigError(f"{folder} is no {what}: it holds no {CONFIG_FILE}")
    if not here:
        raise ConfigError(
            f"{what} {name!r} is no folder and no MLflow id, and no {what} lies below "
            f"{' or '.join(f'{root}/' for root in ROOTS)} here: give its folder"
        )
    raise ConfigError(f"{what} {name!r} is unknown: {suggest(name, here)}")


def is_id(name: str) -> bool:
    """Whether it is an MLflow id: 32 hexadecimal digits."""
    return re.fullmatch("[0-9a-f]{32}", name) is not None


def folder_of_id(run_id: str, uri: str) -> Path:
    """The folder of the run or sweep that MLflow knows by an id; raises ConfigError."""
    from resetrl.run.tracking.query import RunQuery

    query = RunQuery(uri)
    run = query.run(run_id)
    if run is None:
        raise ConfigError(
            f"run {run_id} is not in {redacted(query.uri)}: name its store with tracking.uri= (or "
            "--uri), or give its folder"
        )
    return _on_this_machine(f"run {run_id}", run.tags.get(RUN_FOLDER_TAG, ""))


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a run, or of resets made anew, which is read like one."""
    if (folder / SWEEP_FILE).is_file():
        return False
    files = (CONFIG_FILE, RUN_FILE, JOURNAL, ROLLOUTS)
    return any((folder / file).exists() for file in files)


def runs_below(root: Path) -> Iterator[Path]:
    """The folders of runs below a folder, but for those inside of runs and hidden ones."""
    for path, names, files in os.walk(root):
        here = Path(path)
        found = here != root and SWEEP_FILE not in files and {CONFIG_FILE, RUN_FILE} & {*files}
        if found or (here != root and ROLLOUTS in names):
            yield here
            names.clear()
        if len(here.relative_to(root).parts) >= DEPTH:
            names.clear()
        names[:] = sorted(name for name in names if not name.startswith("."))


def folders_here(and_sweeps: bool = False) -> list[str]:
    """The runs, or runs and sweeps, below the roots: the newest first, as their names tell."""
    found = [run for root in ROOTS for run in runs_below(root)]
    if and_sweeps:
        found += [file.parent for root in ROOTS for file in root.glob(f"*/{SWEEP_FILE}")]
    return [folder.as_posix() for folder in sorted(found, reverse=True)]


def matching(wanted: str, names: Iterable[str]) -> list[str]:
    """The names meant: those that are equal, else those that end so, else those that hold it.

    An end that begins a word comes first: of `train-7` and `train-17`, `7` means the former.
    """
    names = list(names)
    for fits in (
        [name for name in names if name == wanted],
        [name for name in names if name.endswith(f"/{wanted}")],
        [name for name in names if re.search(rf"(?<![^\W_]){re.escape(wanted)}$", name)],
        [name for name in names if name.endswith(wanted)],
        [name for name in names if wanted in name],
    ):
        if fits:
            return fits
    return []


def suggest(wanted: str, names: Collection[str]) -> str:
    """`did you mean srpo-seed0?` or, if none is like it, `choose ...`."""
    close = difflib.get_close_matches(wanted, names, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else f"choose {list_names([*names])}"


def ambiguous(name: str, candidates: Sequence[str], what: str = "run") -> ConfigError:
    """The error of a name that several have; the candidates are folders, as far as there are."""
    return ConfigError(
        f"{what} {name!r} could be any of {len(candidates)}: {list_names(candidates, most=8)}; "
        "give more of its name, or its folder"
    )


def _stored(name: str, uri: str, or_sweep: bool) -> list[str]:
    """The folders of the runs that have this whole name in a store, if there is one."""
    from resetrl.run.tracking.query import SWEEP_TAG, RunQuery, quoted

    database = sqlite_path(resolve_uri(uri, Path.cwd()))
    if "/" in name or (database is not None and not database.is_file()):
        return []
    named = RunQuery(uri).search([f"attributes.run_name = {quoted(name)}"], None)
    runs = [run for run in named if or_sweep or SWEEP_TAG not in run.tags]
    if len(runs) == 1:
        folder = runs[0].tags.get(RUN_FOLDER_TAG, "")
        return [str(_on_this_machine(f"run {name} ({runs[0].run_id})", folder))]
    return [run.tags.get(RUN_FOLDER_TAG) or run.run_id for run in runs]


def _on_this_machine(what: str, folder: str) -> Path:
    if folder and Path(folder).is_dir():
        return Path(folder)
    raise ConfigError(
        f"{what} has {f'its folder {folder}' if folder else 'no run folder'}, which is not on "
        "this machine: go on where it ran, or give its folder"
    )


def _listed(folders: Sequence[Path]) -> str:
    return list_names([str(folder) for folder in folders], most=8)
