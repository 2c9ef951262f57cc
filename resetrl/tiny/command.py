"""`resetrl tiny`: rebuild the shipped policy."""

from __future__ import annotations

import typer

app = typer.Typer(help="The small built-in policy.", no_args_is_help=True)
