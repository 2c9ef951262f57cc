"""The files of a comparison: made from it in memory, then written so that nothing foreign is lost.

A file in the output folder is ours if it is as `report.json` there says we wrote it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from resetrl.compare.analysis import Comparison
from resetrl.compare.formats import rows, to_csv, to_latex, to_markdown
from resetrl.compare.methods import methods
from resetrl.compare.records import (
    AXES,
    CompareError,
    Question,
    RunData,
    from_json,
    plain,
    to_json,
)
from resetrl.compare.tables import amount, number_format, tables, value_name

REPORT = "report.json"
FORMAT = "resetrl comparison 1"
NAMES = (
    "table.csv",
    "table.md",
    "table.tex",
    "curves.png",
    "curves.pdf",
    "intervals.png",
    "intervals.pdf",
    "report.html",
    REPORT,
)


def make_files(comparison: Comparison) -> dict[str, bytes]:
    """Every file of a comparison by its name; the same comparison gives the same bytes."""
    from resetrl.compare.plots import draw

    figures = draw(comparison)
    made = {
        "table.csv": to_csv(comparison).encode(),
        "table.md": to_markdown(comparison).encode(),
        "table.tex": to_latex(comparison).encode(),
        **figures,
        "report.html": render_page(comparison, figures).encode(),
    }
    data = {
        "format": FORMAT,
        **to_json(comparison.question, comparison.runs),
        "results": plain(rows(comparison)),
        "cautions": [[each.title, each.text] for each in comparison.cautions],
        "excluded": [[each.name, each.why] for each in comparison.excluded],
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in made.items()},
    }
    return {**made, REPORT: json.dumps(data, separators=(",", ":"), allow_nan=False).encode()}


def read_report(file: Path) -> tuple[Question, list[RunData]]:
    """Question and runs of a `report.json` (or of its folder); raises CompareError."""
    file = file / REPORT if file.is_dir() else file
    data = _read(file)
    if data is None:
        raise CompareError(f"{file} is no {REPORT} of `resetrl compare`: give one that it wrote")
    try:
        return from_json(data)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise CompareError(
            f"{file} is damaged ({type(error).__name__}: {error}): compare the runs again"
        ) from error


def check_free(folder: Path) -> None:
    """Raise CompareError if writing there would replace a file that is not ours as it stands."""
    if folder.exists() and not folder.is_dir():
        raise CompareError(f"--out {folder} is a file: name a folder")
    there = [name for name in NAMES if (folder / name).exists()]
    if not there:
        return
    data = _read(folder / REPORT) if (folder / REPORT).is_file() else None
    hashes = {} if data is None else dict(data.get("files", {}))
    foreign = [
        name
        for name in there
        if not (data is not None and name == REPORT)
        and hashes.get(name) != hashlib.sha256((folder / name).read_bytes()).hexdigest()
    ]
    if foreign:
        raise CompareError(
            f"{folder} holds {', '.join(foreign)}, not written by `resetrl compare` or changed "
            "since: nothing was written; choose another --out, or move it"
        )


def write_files(folder: Path, made: Mapping[str, bytes]) -> list[Path]:
    """Write the files into a folder that `check_free` has found free; the report comes last.

    Raises CompareError if the disk refuses.
    """
    check_free(folder)
    paths = [folder / name for name in made]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, content in zip(paths, made.values(), strict=True):
            draft = path.with_name(f".draft_{path.name}")
            draft.write_bytes(content)
            draft.replace(path)
    except OSError as error:
        raise CompareError(
            f"{folder} could not be written ({error.strerror or error}): choose another --out, "
            "or free some space"
        ) from error
    return paths


def render_page(comparison: Comparison, figures: Mapping[str, bytes]) -> str:
    """The report as one page that needs nothing else; all text from runs is escaped."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = files("resetrl.compare").joinpath("page.html.jinja").read_text(encoding="utf-8")
    images = {
        name.removesuffix(".png"): base64.b64encode(content).decode()
        for name, content in figures.items()
        if name.endswith(".png")
    }
    return environment.from_string(template).render(
        comparison=comparison,
        question=comparison.question,
        title=f"{comparison.question.metric} by {', '.join(comparison.question.by)}",
        value_name=value_name(comparison),
        axis=AXES[comparison.question.x],
        tables=tables(comparison),
        methods=methods(comparison),
        run_rows=_run_rows(comparison),
        images=images,
        widths={name: _css_width(figures[f"{name}.png"]) for name in images},
    )


def _css_width(png: bytes) -> int:
    """The width at which a figure of 200 dots an inch has its natural size, 130 an inch."""
    return int.from_bytes(png[16:20]) * 130 // 200


def _run_rows(comparison: Comparison) -> list[list[str]]:
    """Every run that counts: group, stratum, run seed, value, steps, tokens, name, id."""
    show = number_format([each.final for each in comparison.results], comparison.question.metric)
    listed = []
    for result in comparison.results:
        for stratum, runs in result.group.strata.items():
            for run, value in zip(runs, result.finals[stratum], strict=True):
                tokens = run.totals.get("generated_tokens")
                listed.append(
                    [
                        result.group.label,
                        ", ".join(stratum),
                        run.run_seed or "",
                        show(float(value)),
                        str(run.steps[-1]),
                        "" if tokens is None else amount(tokens),
                        run.name,
                        run.run_id,
                    ]
                )
    return listed


def _read(file: Path) -> dict[str, Any] | None:
    """A report of ours, None if the file holds something else; raises CompareError if missing."""
    try:
        data = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise CompareError(f"{file} does not exist: give the {REPORT} of a comparison") from None
    except OSError as error:
        raise CompareError(f"{file} cannot be read ({error.strerror})") from error
    except ValueError:
        return None
    return data if isinstance(data, dict) and data.get("format") == FORMAT else None
