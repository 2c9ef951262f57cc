"""`resetrl sandbox`: what this machine allows, and whether it holds."""

from __future__ import annotations

from typing import Annotated

import typer

from resetrl_sandbox.levels import MinLevel, Usable

app = typer.Typer(help="The sandbox that programs of a policy run in.", no_args_is_help=True)


@app.callback()
def options() -> None:
    """The sandbox that programs of a policy run in."""


@app.command()
def check(
    min_level: Annotated[
        MinLevel, typer.Option(help="The least level to accept, as verifier.min_level.")
    ] = "namespaces",
    level: Annotated[
        Usable | None, typer.Option(help="Attack this level instead of the best one.")
    ] = None,
) -> None:
    """Run attacks on this machine's sandbox; exit status 1 if anything got through."""
    from rich.console import Console
    from rich.progress import track
    from rich.table import Table

    from resetrl_sandbox.attacks import ATTACKS
    from resetrl_sandbox.check import run_attacks
    from resetrl_sandbox.levels import SandboxError, level_at_least, reach, why_not

    console = Console(highlight=False)
    reached = level_at_least(min_level) if level is None else level
    if level is not None and (reason := why_not(level)):
        raise SandboxError(f"level {level} is not to be had on this machine: {reason}")
    for refused, reason in ({} if level else reach(min_level).refused).items():
        console.print(f"not {refused}: {reason}", markup=False, soft_wrap=True)
    table = Table("attack", "expected", "what happened", "ok", title=f"level {reached}")
    breaches = 0
    for result in track(
        run_attacks(reached), "attacking", total=len(ATTACKS), console=console, transient=True
    ):
        breaches += bool(result.breach)
        what = f"{result.happened} ({result.seconds:.1f} s)"
        ok = "[red]NO[/]" if result.breach else "yes"
        happened = f"{what}; {result.breach}" if result.breach else what
        table.add_row(result.attack.name, " or ".join(result.attack.held), _shown(happened), ok)
    console.print(table)
    console.print(f"{len(ATTACKS) - breaches} of {len(ATTACKS)} attacks were held")
    raise typer.Exit(1 if breaches else 0)


def _shown(text: str) -> str:
    from rich.markup import escape

    text = " ".join(text.split())
    return escape(text if len(text) <= 120 else f"{text[:120]}...")
