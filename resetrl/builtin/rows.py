"""Rows of data files, each with the place it stands at, for tasks that read problems from files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from resetrl.errors import DataError

Row = Mapping[str, Any]

Placed = tuple[str, Row]
"""A row and where it stands, such as `train.jsonl:7`."""


def file_rows(path: Path) -> Iterator[Placed]:
    """The rows of a JSON Lines file, or of a Parquet one if its name ends in `.parquet`.

    Raises DataError that names the file, and the line if one is at fault.
    """
    return _parquet_rows(path) if path.suffix == ".parquet" else _json_rows(path)


def value_of(row: Row, name: str, place: str, remedy: str) -> Any:
    """The field of a row; `a.b` is field b within field a. Raises DataError if it is missing."""
    value: Any = row
    for part in [name] if name in row else name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            raise DataError(
                f"{place} has no field {name!r}: its fields are {', '.join(map(str, row))}; "
                f"{remedy}"
            )
        value = value[part]
    return value


def text_of(row: Row, name: str, place: str, remedy: str) -> str:
    """The field of a row as text, "" where it is null; raises DataError if it is no plain value."""
    value = value_of(row, name, place, remedy)
    if value is not None and not isinstance(value, str | int | float):
        raise DataError(f"{place}: the field {name!r} is {type(value).__name__}, no text: {remedy}")
    return "" if value is None else str(value).strip()


def question_key(question: str) -> str:
    """What makes two questions the same: their words, whatever the space between them."""
    return " ".join(question.split())


def _json_rows(path: Path) -> Iterator[Placed]:
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    place = f"{path}:{number}"
                    yield place, _json_row(line, place)
    except OSError as error:
        raise _unreadable(path, error) from None


def _json_row(line: bytes, place: str) -> Row:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DataError(f"{place} is no JSON ({error}): write one object a line") from None
    if not isinstance(row, dict):
        raise DataError(f"{place} is {type(row).__name__}, no object: write {{field: value, ...}}")
    return row


def _parquet_rows(path: Path) -> Iterator[Placed]:
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        for batch in pyarrow.parquet.ParquetFile(path).iter_batches():
            for row in batch.to_pylist():
                number += 1
                yield f"{path} row {number}", row
    except (OSError, pyarrow.ArrowException) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> DataError:
    if isinstance(error, FileNotFoundError):
        return DataError(f"{path.absolute()} does not exist: give task.file or task.eval_file")
    return DataError(f"{path} is not readable: {str(error).splitlines()[0]}")
