"""A comparison's tables as Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io
import re

from resetrl.compare.analysis import Comparison, Result
from resetrl.compare.bootstrap import Interval
from resetrl.compare.tables import INTERVAL, tables, value_name


def to_markdown(comparison: Comparison) -> str:
    """All tables and cautions as Markdown."""
    parts = []
    for table in tables(comparison):
        rows = [table.headers, *table.rows]
        lines = ["| " + " | ".join(map(_markdown, row)) + " |" for row in rows]
        marks = ["---"] * table.num_factors + ["---:"] * (len(table.headers) - table.num_factors)
        lines.insert(1, f"|{'|'.join(marks)}|")
        parts.append(f"**{_markdown(table.title)}**\n\n" + "\n".join(lines))
    notes = [f"- **{each.title}**: {_markdown(each.text)}" for each in comparison.cautions]
    return "\n\n".join([*parts, *(["\n".join(notes)] if notes else [])]) + "\n"


def _markdown(text: str) -> str:
    return re.sub(r"([\\|*_<>`\[\]])", r"\\\1", text.replace("\n", " "))


def to_latex(comparison: Comparison) -> str:
    """One table for a paper (it needs the package booktabs), the cautions as comments above."""
    lines = [f"% {each.title}: {' '.join(each.text.split())}" for each in comparison.cautions]
    headers, rows = _latex_columns(comparison)
    num_factors = len(comparison.question.by)
    columns = "l" * num_factors + "r" * (len(headers) - num_factors)
    caption = f"{value_name(comparison)}; 95 % intervals in brackets."
    lines += [
        "% \\usepackage{booktabs}",
        "\\begin{table}",
        "  \\centering\\small\\setlength{\\tabcolsep}{4pt}",
        f"  \\caption{{{_latex(caption[0].upper() + caption[1:])}}}",
        f"  \\begin{{tabular}}{{@{{}}{columns}@{{}}}}",
        "    \\toprule",
        f"    {' & '.join(headers)} \\\\",
        "    \\midrule",
        *(f"    {' & '.join(row)} \\\\" for row in rows),
        "    \\bottomrule",
        "  \\end{tabular}",
        "\\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _latex_columns(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """The columns of all tables but the costs, side by side, without what needs a sentence."""
    merged: dict[tuple[str, ...], list[str]] = {r.group.values: [] for r in comparison.results}
    headers: list[str] = []
    num = len(comparison.question.by)
    left_out = ("paired over", "baseline")
    for table in tables(comparison)[:-1]:
        kept = [i for i, name in enumerate(table.headers) if i >= num and name not in left_out]
        headers += [_latex(table.headers[i].replace(f" {INTERVAL}", "")) for i in kept]
        rows = {row[:num]: [_latex_number(row[i]) for i in kept] for row in table.rows}
        for values, cells in merged.items():
            cells += rows.get(values, ["--"] * len(kept))
    names = [_latex(name) for name in comparison.question.by]
    return names + headers, [[*map(_latex, values), *row] for values, row in merged.items()]


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
    rows = [_flat(result, comparison) for result in comparison.results]
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(stream, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


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
    return row | {f"mean_{name}": value for name, value in result.costs.items()}


def _ends(name: str, each: Interval) -> dict[str, object]:
    return {name: each.estimate, f"{name}_low": each.low, f"{name}_high": each.high}
