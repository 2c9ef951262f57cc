"""The component `hub`: a published data set as a task, described by a data file."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from resetrl.errors import DataError, list_names
from resetrl.types import Problem, Purpose

if TYPE_CHECKING:
    from resetrl.hub.manifest import Manifest
    from resetrl.hub.problems import DataSet
    from resetrl.interfaces import Verifier


@dataclass
class Hub:
    """Problems of a published data set, from the Hugging Face hub or from a folder.

    manifest: a shipped one, such as gsm8k, or the path of one of yours: which data set it is, at
        which revision, and how its rows become problems.
    folder: read the files in there in place of the hub's, or those in its folder named as the
        data set.
    pin: a file made by `resetrl task pin`, whose figures the data must meet; empty takes the
        folder's pin.yaml, if there is one, or else the manifest's own.
    train_size: how many problems to train on, 0 for as many as the manifest says.
    eval_size: how many problems to evaluate on, 0 for as many as the manifest says.
    sha256: of manifest, pin and files; filled in when a run is composed, so that it goes on with
        equal data.

    No question is in both the training and the evaluation set. Of problems that ask the same
    question one is left.
    """

    manifest: str = "gsm8k"
    folder: str = ""
    pin: str = ""
    train_size: int = 0
    eval_size: int = 0
    sha256: str = field(
        default="", metadata={"composed": "${sha256_of_hub:${.manifest},${.folder},${.pin}}"}
    )

    def __post_init__(self) -> None:
        for name in ("train_size", "eval_size"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}: choose 0 or more")

    @property
    def label(self) -> str:
        """The data set's name: the manifest's, without its folder."""
        return Path(self.manifest).stem

    def problems(self, purpose: Purpose) -> Sequence[Problem]:
        """The problems to train or to evaluate on, in the order of the data.

        Raises DataError that names file and line, or ConfigError.
        """
        found = self._sets[purpose]
        if not found:
            doing = "train" if purpose == "train" else "evaluate"
            raise DataError(
                f"task {self.label} has no problem to {doing} on: choose another task to {doing} on"
            )
        return found

    def verifier(self) -> Verifier:
        """The verifier that the manifest names; raises ConfigError if it is not installed."""
        from resetrl.builtin.verifiers import verifier_of_task

        return verifier_of_task(self.label, self.read_manifest().verifier)

    def read_manifest(self) -> Manifest:
        """The manifest with the figures the data must meet; raises ConfigError."""
        from resetrl.hub.manifest import read_manifest

        return read_manifest(self.manifest, self._pin_file())

    def read(self, manifest: Manifest) -> DataSet:
        """All problems of the data set, unchecked; raises DataError or ConfigError."""
        from resetrl.hub.problems import read_problems
        from resetrl.hub.source import rows_of

        folder = self.data_folder()
        splits = manifest.hub_splits
        return read_problems(
            self.label,
            manifest,
            {split: rows_of(self.label, manifest, split, folder) for split in splits},
        )

    def data_folder(self) -> Path | None:
        """The folder with the files; raises DataError if it is not there."""
        from resetrl.hub.manifest import shipped_names

        if not self.folder:
            return None
        folder = Path(self.folder)
        mine = folder / self.label
        if not folder.is_dir():
            raise DataError(
                f"task {self.label}: folder {folder.absolute()} does not exist: give task.folder, "
                "or leave it out to read the hub"
            )
        others = [name for name in shipped_names() if (folder / name).is_dir()]
        if others and not mine.is_dir():
            raise DataError(
                f"task {self.label}: folder {folder.absolute()} has folders of other data sets "
                f"({list_names(others)}) but none named {self.label}: put the files there"
            )
        return mine if mine.is_dir() else folder

    @functools.cached_property
    def _sets(self) -> Mapping[Purpose, Sequence[Problem]]:
        from resetrl.hub.problems import divide

        self._check_unchanged()
        manifest = self.read_manifest()
        found = self.read(manifest)
        self._check_figures(manifest, found)
        return divide(
            self.label,
            manifest,
            found,
            self.train_size or manifest.train_size,
            self.eval_size or manifest.eval_size,
        )

    def _check_unchanged(self) -> None:
        found = sha256_of_hub(self.manifest, self.folder, self.pin)
        if self.sha256 and self.sha256 != found:
            raise DataError(
                f"the data of task {self.label} have changed: task.sha256 is {self.sha256[:12]}... "
                f"but theirs is {found[:12]}...; bring back the data of that run, or start a new "
                "run"
            )

    def _check_figures(self, manifest: Manifest, found: DataSet) -> None:
        """Raise DataError if the data are not those the manifest, or a pin file, speaks of."""
        expected: list[tuple[str, object, object]] = [
            *((f"rows of {split}", n, found.rows.get(split)) for split, n in manifest.rows.items()),
            *(
                (f"problems of {split}", n, found.counts.get(split))
                for split, n in manifest.problems.items()
            ),
        ]
        if manifest.sha256 is not None:
            expected.append(("sha256 of problems", manifest.sha256, found.sha256))
        wrong = [(what, says, has) for what, says, has in expected if has != says]
        if wrong:
            what, says, has = wrong[0]
            where = self.data_folder() or f"{manifest.hub}@{str(manifest.revision)[:12]}"
            with_folder = f" --folder {self.folder}" if self.folder else ""
            raise DataError(
                f"{where} is not what the manifest of {self.label} describes: {what} is {has}, not "
                f"{says}; bring back that data, or, if this is what you want, run `resetrl task "
                f"pin {self.manifest}{with_folder}`"
            )

    def _pin_file(self) -> Path | None:
        from resetrl.hub.manifest import PIN_FILE

        if self.pin:
            return Path(self.pin)
        folder = self.data_folder()
        beside = None if folder is None else folder / PIN_FILE
        return beside if beside is not None and beside.is_file() else None


def sha256_of_hub(manifest: str, folder: str, pin: str) -> str:
    """A hash for what a task is made of: manifest, pin and the files of its folder.

    The hub's own data are told by the revision in the manifest. Empty if a file is not readable:
    the task says what is wrong when it reads it.
    """
    from resetrl.builtin.local import sha256_of
    from resetrl.hub.manifest import PIN_FILE, manifest_file
    from resetrl.hub.source import SUFFIXES

    files = [manifest_file(manifest), *([Path(pin)] if pin else [])]
    if folder:
        mine = Path(folder) / Path(manifest).stem
        found = (mine if mine.is_dir() else Path(folder)).rglob("*")
        files += sorted(p for p in found if p.suffix in SUFFIXES or p.name == PIN_FILE)
    return sha256_of(*map(str, files))
