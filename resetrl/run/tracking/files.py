"""Writing the small files of a run folder, so that a crash or a full disk destroys nothing."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from resetrl.errors import ResetrlError


def write_atomically(path: Path, data: bytes, resume: str = "resume") -> None:
    """Replace a file by new content; raises ResetrlError, the old content kept, if it cannot.

    `resume` is the key that goes on with the folder of the file.
    """
    draft = path.with_name(f".draft_{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise cannot_write(path, error, resume) from error


def free_folder(folder: Path) -> Path:
    """The folder itself or, if it is there already, with the first free number behind it.

    Example: `comparisons/mine-by-method-2`
    """
    free, number = folder, 2
    while free.exists():
        free, number = folder.with_name(f"{folder.name}-{number}"), number + 1
    return free


def cannot_write(path: Path, error: OSError, resume: str = "resume") -> ResetrlError:
    """The error of a file that the disk refuses, with the way to go on."""
    return ResetrlError(
        f"{path} cannot be written ({error.strerror or error}): free some space, then go on with "
        f"{resume}={path.parent}; nothing written before is lost"
    )
