"""A prompt's reset tree as one HTML file that needs nothing else."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from resetrl.show.find import ShowError
from resetrl.show.tree import signed
from resetrl.show.view import PromptView

STRONGEST = 2.0
"""Advantages from this size on have the full colour."""


def render_page(view: PromptView) -> str:
    """The page as text; everything that comes from the run is escaped."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["signed"] = signed
    environment.filters["strength"] = strength
    template = files("resetrl.show").joinpath("page.html.jinja").read_text(encoding="utf-8")
    return environment.from_string(template).render(view=view).lstrip()


def write_page(file: Path, view: PromptView) -> None:
    """Write the page; raises ShowError if the file cannot be written."""
    page = render_page(view)
    try:
        file.write_text(page, encoding="utf-8")
    except OSError as error:
        raise ShowError(
            f"--html {file} could not be written: {error.strerror or error}; give a file in an "
            "existing folder with free space"
        ) from error


def strength(advantage: float) -> str:
    """How strongly an advantage is coloured, in percent: `12` to `45`, `0` for none."""
    if not advantage:
        return "0"
    return f"{12 + 33 * min(abs(advantage) / STRONGEST, 1):.0f}"
