"""Rows of a data set: from the hub at its pinned revision, or from a folder with the same files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from resetrl.builtin.rows import Placed, file_rows
from resetrl.errors import ConfigError, DataError
from resetrl.hub.manifest import Manifest

SUFFIXES = (".jsonl", ".parquet")

FOLDERS = "task.folder=FOLDER with its files (of a suite suite.folder=FOLDER)"

_PROBE_SECONDS = 5.0

_BATCH = 1000
"""Rows taken from `datasets` at once: one by one they take twenty times as long."""


def rows_of(name: str, manifest: Manifest, split: str, folder: Path | None) -> Iterator[Placed]:
    """The rows of one of the hub's splits, in a fixed order, each with its place.

    Raises DataError or ConfigError with one sentence if they cannot be had.
    """
    if folder is None:
        return _hub_rows(name, manifest, split)
    return (placed for file in files_of(manifest, split, folder) for placed in file_rows(file))


def files_of(manifest: Manifest, split: str, folder: Path) -> list[Path]:
    """The files of a split in a folder: those whose name has the split as a word.

    Below folders named as the subsets, where there are such; every file, if the data set has one
    split only. Raises DataError if there is none.
    """
    found = sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES)
    subset = [path for path in found if set(path.relative_to(folder).parts) & set(manifest.subsets)]
    chosen = subset or found
    if len(manifest.hub_splits) > 1:
        word = re.compile(rf"(?:^|[^a-z]){re.escape(split)}(?:[^a-z]|$)", re.IGNORECASE)
        chosen = [path for path in chosen if word.search(path.stem)]
    if not chosen:
        raise DataError(
            f"{folder.absolute()} has no file of the split {split} of {manifest.hub}: put one "
            f"there whose name has {split!r} as a word and ends in .jsonl or .parquet"
        )
    return chosen


def _hub_rows(name: str, manifest: Manifest, split: str) -> Iterator[Placed]:
    number = 0
    for data in _load(name, manifest, split):
        columns = [column for column in _columns(manifest) if column in data.column_names]
        for batch in data.select_columns(columns).iter(batch_size=_BATCH):
            for values in zip(*batch.values(), strict=True):
                number += 1
                row = dict(zip(batch, values, strict=True))
                yield f"{manifest.hub} {split} row {number}", row


def _load(name: str, manifest: Manifest, split: str) -> Iterator[Any]:
    """The loaded subsets of a split, as the library `datasets` has them."""
    try:
        import datasets
    except ImportError:
        raise ConfigError(
            f"task {name} reads the hub with the package datasets: run `pip install resetrl[hub]`, "
            "or give task.folder=FOLDER with the files"
        ) from None
    if manifest.revision in (None, "local"):
        raise ConfigError(
            f"task {name} names no revision of {manifest.hub}: run `resetrl task pin` on its "
            "manifest, which takes the hub's newest, and give the file it writes as task.pin"
        )
    answers = hub_answers()
    at_revision = f"hf://datasets/{manifest.hub}@{manifest.revision}"
    try:
        if manifest.files:
            form = "json" if manifest.files[0].endswith(".jsonl") else "parquet"
            files = [f"{at_revision}/{file}" for file in manifest.files]
            with _from_cache(not answers):
                data = datasets.load_dataset(form, data_files=files, split="train")
            yield data
            return
        for subset in manifest.subsets or [None]:  # type: ignore[list-item]  # the default one
            with _from_cache(not answers):
                data = datasets.load_dataset(
                    manifest.hub, subset, split=split, revision=manifest.revision
                )
            yield data
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        if not answers:
            raise DataError(
                f"task {name}: the hub does not answer, and {manifest.hub} at revision "
                f"{str(manifest.revision)[:12]} was not downloaded before: connect, or give "
                f"{FOLDERS}"
            ) from error
        raise DataError(
            f"task {name}: the hub does not give {manifest.hub} at revision "
            f"{str(manifest.revision)[:12]} ({_reason(error)}): connect, accept its terms and log "
            f"in with `hf auth login` if it is gated, or give {FOLDERS}"
        ) from error


def hub_answers() -> bool:
    """Whether the hub, or a mirror that stands for it, answers anything within seconds."""
    import ssl
    import urllib.error
    import urllib.request

    from huggingface_hub import constants

    try:
        with urllib.request.urlopen(constants.ENDPOINT, timeout=_PROBE_SECONDS):
            return True
    except urllib.error.HTTPError as error:  # an answer; what it forbids is the client's to say
        error.close()
        return True
    except urllib.error.URLError as error:
        return isinstance(error.reason, ssl.SSLError)  # the client may have other certificates
    except OSError:
        return False


@contextmanager
def _from_cache(wanted: bool) -> Iterator[None]:
    """Have the hub's client read what it downloaded before, and not ask again for half a minute.

    It is switched in its constants: it reads the environment only once, when it is imported.
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or wanted
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def newest_revision(name: str, manifest: Manifest) -> str:
    """The commit the hub has now; raises DataError."""
    from huggingface_hub import HfApi

    if not hub_answers():
        raise DataError(
            f"task {name}: the hub does not answer, so the revision of {manifest.hub} is not "
            "known: connect, or give --folder with its files"
        )
    try:
        return str(HfApi().dataset_info(manifest.hub).sha)
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(
            f"task {name}: the hub does not tell the revision of {manifest.hub} "
            f"({_reason(error)}): connect and log in, or give --folder with its files"
        ) from error


def _columns(manifest: Manifest) -> Iterable[str]:
    """The columns a manifest speaks of; reading others would cost most of the time."""
    named = (manifest.question, manifest.answer, manifest.choices, manifest.id, *manifest.where)
    tests = (
        ("starter_code", "public_test_cases", "private_test_cases", "metadata")
        if manifest.tests == "livecodebench"
        else (manifest.tests, manifest.entry_point)
    )
    return dict.fromkeys(
        name for field in (*named, *tests) if field for name in (field, field.partition(".")[0])
    )


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
