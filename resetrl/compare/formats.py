"""A comparison's tables as Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io
import re

from resetrl.compare.analysis import Comparison, Result
from resetrl.compare.tables import INTERVAL, Table, tables
from resetrl.estimate import Estimate


def to_markdown(comparison: Comparison) -> str:
    """All tables and cautions as Markdown."""
    parts = []
    for table in tables(comparison):
        texts = [table.headers, *table.rows]
        lines = ["| " + " | ".join(map(_markdown, row)) + " |" for row in texts]
        marks = ["---"] * table.num_factors + ["---:"] * (len(table.headers) - table.num_factors)
        lines.insert(1, f"|{'|'.join(marks)}|")
        parts.append(f"**{_markdown(table.title)}**\n\n" + "\n".join(lines))
    notes = [f"- **{each.title}**: {_markdown(each.text)}" for each in comparison.cautions]
    return "\n\n".join([*parts, *(["\n".join(notes)] if notes else [])]) + "\n"


def _markdown(text: str) -> str:
    return re.sub(r"([\\|*_<>`])", r"\\\1", text.replace("\n", " "))


def to_latex(comparison: Comparison) -> str:
    """A LaTeX table of each table (they need the package booktabs), cautions as comments above."""
    lines = [f"% {each.title}: {' '.join(each.text.split())}" for each in comparison.cautions]
    return "\n".join([*lines, "% \\usepackage{booktabs}", *map(_latex_table, tables(comparison))])


def _latex_table(table: Table) -> str:
    columns = "l" * table.num_factors + "r" * (len(table.headers) - table.num_factors)
    rows = [
        [*map(_latex, row[: table.num_factors]), *map(_latex_number, row[table.num_factors :])]
        for row in table.rows
    ]
    with_intervals = any(INTERVAL in header for header in table.headers)
    headers = [_latex(header.replace(f" {INTERVAL}", "")) for header in table.headers]
    note = "; 95 \\% intervals in brackets" if with_intervals else ""
    return f"""\\begin{{table}}
  \\centering\\footnotesize\\setlength{{\\tabcolsep}}{{4pt}}
  \\caption{{{_latex(table.title)}{note}.}}
  \\begin{{tabular}}{{@{{}}{columns}@{{}}}}
    \\toprule
    {" & ".join(headers)} \\\\
    \\midrule
    {f" {_END}".join(" & ".join(row) for row in rows)} \\\\
    \\bottomrule
  \\end{{tabular}}
\\end{{table}}
"""


_END = "\\\\\n    "


def _latex_number(text: str) -> str:
    """`0.930 [0.900, 0.960]` with a small interval, signs in math mode."""
    estimate, bracket, ends = text.partition(" [")
    shown = re.sub(r"[-+<>]", lambda sign: f"${sign[0]}$", _latex(estimate, signs=True))
    if not bracket:
        return shown
    small = re.sub(r"[-+<>]", lambda sign: f"${sign[0]}$", _latex(ends, signs=True))
    return f"{shown} {{\\scriptsize [{small}}}"


def _latex(text: str, signs: bool = False) -> str:
    special = {
        "\\": "\\textbackslash{}",
        "~": "\\textasciitilde{}",
        "^": "\\textasciicircum{}",
        **({} if signs else {"<": "\\textless{}", ">": "\\textgreater{}"}),
        **{mark: f"\\{mark}" for mark in "&%$#_{}"},
    }
    return "".join(special.get(letter, letter) for letter in text)


def to_csv(comparison: Comparison) -> str:
    """One row a group, every number in full."""
    stream = io.StringIO()
    made = rows(comparison)
    names = list(dict.fromkeys(name for row in made for name in row))
    writer = csv.DictWriter(stream, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(made)
    return stream.getvalue()


def rows(comparison: Comparison) -> list[dict[str, object]]:
    """The results as flat rows, for CSV and for other programs."""
    return [_flat(result, comparison) for result in comparison.results]


def _flat(result: Result, comparison: Comparison) -> dict[str, object]:
    row: dict[str, object] = dict(
        zip(comparison.question.by, result.group.values, strict=True), runs=len(result.group.runs)
    )
    row |= _ends("mean", result.final) | _ends("iqm", result.iqm)
    if result.difference is not None:
        found = result.difference
        row |= {"baseline": found.baseline, **_ends("difference", found.interval)}
        row |= {"p": found.p, "p_holm": found.p_holm, **_ends("improvement", found.improvement)}
        row |= {"paired_run_seeds": found.num_pairs, "paired_problems": found.num_problems}
    if result.arrivals is not None:
        row |= {"reached": result.arrivals.num_reached, **_ends("time", result.arrivals.median)}
    return row | {f"cost_{name}": value for name, value in result.costs.items()}


def _ends(name: str, each: Estimate) -> dict[str, object]:
    return {name: each.value, f"{name}_low": each.low, f"{name}_high": each.high}
