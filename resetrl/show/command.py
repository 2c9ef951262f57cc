"""The command `resetrl show`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def show(
    run: Annotated[
        str,
        typer.Argument(help="A run's folder, MLflow id, or enough of its name."),
    ],
    step: Annotated[
        int | None, typer.Option(help="A saved step; the last one if left out.", min=0)
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(
            help="A prompt's uid or the end of it; if left out the first prompt with a reset "
            "group whose rewards differ.",
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(help="Write one self-contained HTML file instead.", metavar="FILE"),
    ] = None,
    list_prompts: Annotated[
        bool, typer.Option("--list", help="List the saved steps and the prompts of one.")
    ] = False,
    full: Annotated[bool, typer.Option("--full", help="Do not shorten long thoughts.")] = False,
) -> None:
    """Show one prompt's reset tree: rollouts, where the seed was reset, suffixes, advantages."""
    import sys

    from rich.console import Console
    from rich.text import Text

    from resetrl.run.rollouts import saved_steps
    from resetrl.show.find import ShowError, choose_prompt, find_saved, open_step
    from resetrl.show.tree import print_list, print_prompt
    from resetrl.show.view import view_prompt

    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # model output may not fit the terminal's encoding
    console = Console(highlight=False)
    folder = find_saved(run)
    if list_prompts:
        if html is not None:
            raise ShowError(
                f"--html {html} draws one prompt and --list lists them: use one of them"
            )
        print_list(console, open_step(folder, step), list(saved_steps(folder)))
        return
    choice = choose_prompt(folder, step, prompt)
    view = view_prompt(folder.resolve().name, choice.tree)
    if html is None:
        print_prompt(console, view, full=full)
    else:
        from resetrl.show.html import write_page

        write_page(html, view)
        console.print(Text(f"Wrote step {view.step}, prompt {view.uid}, to {html}"))
    for note in choice.notes:
        console.print(Text(note))
    if choice.notes:
        console.print(Text(f"All prompts: resetrl show {run} --list"))
