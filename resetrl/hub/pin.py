"""Writes down what state a data set is in, so that later runs can check that it is the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from resetrl.errors import ResetrlError
from resetrl.hub.manifest import PIN_FILE, PINNED, read_manifest, shipped_names
from resetrl.hub.source import newest_revision
from resetrl.hub.task import Hub


def pin_data_set(name: str, folder: str, out: Path | None) -> Iterator[str]:
    """Read all of a data set and write its pin file; yields what to tell the user.

    Without a folder the hub is read, at the manifest's revision or, if it has none, the newest.
    """
    import yaml

    hub = Hub(manifest=name, folder=folder)
    manifest = read_manifest(name, pins=None)
    data_folder = hub.data_folder()
    if data_folder is not None:
        manifest = dataclasses.replace(manifest, revision="local")
    elif manifest.revision is None:
        manifest = dataclasses.replace(manifest, revision=newest_revision(hub.label, manifest))
    found = hub.read(manifest)
    pinned = dataclasses.replace(
        manifest, rows=dict(found.rows), problems=found.counts, sha256=found.sha256
    )
    file = out or (Path(f"{hub.label}.pin.yaml") if data_folder is None else data_folder / PIN_FILE)
    values = {key: getattr(pinned, key) for key in PINNED}
    text = yaml.safe_dump(values, sort_keys=False, default_flow_style=None)
    try:
        file.write_text(f"# {hub.label}: {manifest.hub}\n{text}", encoding="utf-8")
    except OSError as error:
        raise ResetrlError(
            f"{file} cannot be written ({error.strerror}): choose another --out"
        ) from error
    for split, count in found.counts.items():
        yield f"{split}: {count:,} problems of {found.rows[split]:,} rows"
    yield f"wrote {file}"
    if data_folder is None or file != data_folder / PIN_FILE:
        task = name if name in shipped_names() else f"hub task.manifest={name}"
        yield f"check it with `task={task} task.pin={file}`"
