"""Checkpoints: written whole or not at all, verified before they are read.

A checkpoint folder holds what the learner saved (a Hugging Face folder with the optimizer beside
it), `state.json` with the step, the ledger and a hash of every file. All random choices derive
from the run seed and the step, so there is no generator state to keep.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError

from resetrl.errors import CheckpointError
from resetrl.interfaces import Learner
from resetrl.ranks import ALONE, Ranks
from resetrl.run.ledger import Ledger

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

STATE_FILE = "state.json"
FORMAT = 2


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint: `Checkpoint(folder, 20, Ledger(...))`."""

    folder: Path
    step: int
    ledger: Ledger


def save_checkpoint(
    run_folder: Path,
    step: int,
    learner: Learner,
    tokenizer: PreTrainedTokenizerBase,
    ledger: Ledger,
    config_hash: str,
    keep: int,
    ranks: Ranks = ALONE,
) -> Path:
    """Write `checkpoints/step_000020` atomically and drop all but the newest `keep`.

    With the tokenizer beside the parameters it is a folder that `model.path` and others load.
    All ranks call it, because the learner needs them; rank 0 writes.
    Raises CheckpointError, with every earlier checkpoint intact, if the disk refuses.
    """
    parent = run_folder / "checkpoints"
    final = parent / f"step_{step:06d}"
    draft = parent / f".draft_{step:06d}"
    if not ranks.is_first:
        learner.save(draft)
        return final
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        learner.save(draft)
        tokenizer.save_pretrained(draft)
        state = {
            "format": FORMAT,
            "step": step,
            "config_hash": config_hash,
            "ledger": asdict(ledger),
            "files": {path.name: _sha256(path) for path in sorted(draft.iterdir())},
        }
        (draft / STATE_FILE).write_text(json.dumps(state, indent=1), encoding="utf-8")
        for path in draft.iterdir():
            _sync(path)
        shutil.rmtree(final, ignore_errors=True)
        draft.rename(final)
        _sync(parent)
    except (OSError, RuntimeError, SafetensorError) as error:
        # torch and safetensors report a full disk as errors of their own.
        shutil.rmtree(draft, ignore_errors=True)
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise CheckpointError(
            f"checkpoint {final} could not be written ({reason[:120]}): free some space and go on "
            f"with resume={run_folder}"
        ) from error
    for old in checkpoints(run_folder)[:-keep]:
        shutil.rmtree(old)
    return final


def latest_checkpoint(run_folder: Path, config_hash: str) -> Checkpoint:
    """The newest checkpoint of a run, verified; raises CheckpointError."""
    folders = checkpoints(run_folder)
    if not folders:
        raise CheckpointError(
            f"{run_folder} has no checkpoint yet: it has not come to its first, so start it again"
        )
    return read_checkpoint(folders[-1], config_hash)


def read_checkpoint(folder: Path, config_hash: str) -> Checkpoint:
    """Verify a checkpoint's files against their hashes and its run against the configuration."""
    path = folder / STATE_FILE
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        if state["format"] != FORMAT:
            raise CheckpointError(
                f"{path} has format {state['format']!r}, this resetrl reads {FORMAT}: resume with "
                "the version that wrote it"
            )
        step, files = int(state["step"]), dict(state["files"])
        ledger, written_by = Ledger(**state["ledger"]), str(state["config_hash"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is not readable ({error}): {_remedy(folder)}") from error
    for name, digest in files.items():
        if not (folder / name).is_file() or _sha256(folder / name) != digest:
            raise CheckpointError(f"{folder / name} is missing or damaged: {_remedy(folder)}")
    if written_by != config_hash:
        raise CheckpointError(
            f"{folder} was written by a run with another configuration: resume the run that "
            "wrote it"
        )
    return Checkpoint(folder, step, ledger)


def _remedy(folder: Path) -> str:
    older = [path for path in checkpoints(folder.parents[1]) if path.name < folder.name]
    if not older:
        return "no older checkpoint is left, so start the run again without resume"
    return f"delete {folder} and resume again, which goes back to {older[-1].name}"


def checkpoints(run_folder: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    return sorted((run_folder / "checkpoints").glob("step_*"))


def weights_hash(learner_folder: Path) -> str:
    """A short hash of the parameters a learner saved."""
    digest = hashlib.sha256()
    for path in sorted(learner_folder.glob("*.safetensors")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
