"""What the data file of a task says: where its rows are and how they become problems."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resetrl.errors import ConfigError

FOLDER = Path(__file__).with_name("manifests")
PIN_FILE = "pin.yaml"
PINNED = ("revision", "rows", "problems", "sha256")
"""The keys that tell one state of the data; a pin file has these alone."""


@dataclass
class Manifest:
    """A published data set as a task.

    hub: its id on the hub, `openai/gsm8k`; revision: the commit, or `local` for a folder.
    subsets: the configurations to take, none for the default one.
    files: take these files of the repository, JSON Lines or Parquet, in place of subsets.
    splits: the hub's splits for `train` and `eval`. With `train` alone some of its problems are
        held out; with `eval` alone the data set is for evaluation only.
    where: fields and the values a row may have there; `a.b` is field b within field a.
    question, answer, choices, id: fields; choices is `{label: [...], text: [...]}`, and an answer
        that is a truth value becomes yes or no.
    answer_after: the answer stands behind the last of these marks, such as `####`.
    answer_in_box: the answer is what the last closed box of the field holds.
    instruction: a sentence put behind every question.
    tests, entry_point: as in the task `local`, the fields of a program's tests and of the function
        to call; tests is `livecodebench` if the rows hold them as that data set does.
    only_verifiable: as in the task `local`.
    skip_unusable: leave out rows that lack a question, an answer or a choice, as some data sets
        have them; without it such a row is an error.
    train_size, eval_size: how many problems, chosen by the hash of their questions; 0 for all,
        and for eval_size, where nothing else is held out, a tenth.
    rows, problems: how many there are in each of the hub's splits, and how many of these are left;
        sha256: of the problems. What is not known is left out and not checked.
    """

    hub: str
    splits: dict[str, str]
    question: str
    verifier: str
    revision: str | None = None
    subsets: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    where: dict[str, list[str]] = field(default_factory=dict)
    answer: str = ""
    choices: str = ""
    id: str = ""
    answer_after: str = ""
    answer_in_box: bool = False
    instruction: str = ""
    tests: str = ""
    entry_point: str = ""
    only_verifiable: bool = False
    skip_unusable: bool = False
    train_size: int = 0
    eval_size: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    problems: dict[str, int] = field(default_factory=dict)
    sha256: str | None = None

    def __post_init__(self) -> None:
        if not self.splits or set(self.splits) - {"train", "eval"}:
            raise ValueError(
                f"splits is {self.splits}: give the hub's split for train, eval or both"
            )
        if len(self.hub_splits) < len(self.splits):
            raise ValueError(f"splits is {self.splits}: train and eval cannot be one split")
        if bool(self.answer) == bool(self.tests):
            raise ValueError(
                "give answer, the field of the reference, or tests, that of test cases"
            )
        if self.entry_point and self.tests in ("", "livecodebench"):
            raise ValueError("entry_point goes with tests, the field of the test cases")
        if min(self.train_size, self.eval_size) < 0:
            raise ValueError("train_size and eval_size are numbers of problems, 0 for all")

    @property
    def hub_splits(self) -> list[str]:
        """The hub's splits that are read, each once."""
        return list(dict.fromkeys(self.splits.values()))


@functools.cache
def shipped_names() -> tuple[str, ...]:
    """The data sets that have a manifest here, sorted."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


def manifest_file(name: str) -> Path:
    """The data file of a shipped name, or the path itself."""
    return FOLDER / f"{name}.yaml" if name in shipped_names() else Path(name)


def read_manifest(name: str, pins: Path | None) -> Manifest:
    """The manifest of that name or path, with the figures of a pin file in place of its own.

    Raises ConfigError that names the file.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    file = manifest_file(name)
    try:
        values = {**_read(file), **({} if pins is None else _pinned(pins))}
        manifest = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Manifest), values))
    except (OmegaConfBaseException, ValueError) as error:
        raise ConfigError(f"manifest {file}: {str(error).splitlines()[0]}") from error
    assert isinstance(manifest, Manifest)
    return manifest


def _pinned(file: Path) -> dict[str, Any]:
    values = _read(file)
    for key in values:
        if key not in PINNED:
            raise ConfigError(f"{file} has {key!r}: a pin file holds {', '.join(PINNED)}")
    return {key: values.get(key, {} if key in ("rows", "problems") else None) for key in PINNED}


def _read(file: Path) -> Any:
    """The mapping in a YAML file; raises ConfigError."""
    import yaml

    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"manifest {file} does not exist: give a file, or one of {', '.join(shipped_names())}"
        ) from None
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"manifest {file} is not readable: {reason}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"manifest {file} is no mapping: write `hub: ...` and so on")
    return values
