"""The commands `resetrl eval` and `resetrl correct`."""

from __future__ import annotations

from typing import Annotated

import typer

ARGUMENTS = typer.Argument(
    metavar="RUN|OVERRIDE",
    help="A run's folder, MLflow id, or enough of its name: its newest checkpoint is taken; and "
    "hydra overrides. Without a run the model is that of model=... (the built-in one if left out).",
)
CFG = typer.Option("--cfg", help="Print the composed configuration and stop.")


def evaluate(
    arguments: Annotated[list[str] | None, ARGUMENTS] = None,
    cfg: Annotated[bool, CFG] = False,
) -> None:
    """Answer held-out problems: greedy pass@1, pass@k, maj@k, with intervals. Can be resumed.

    Examples: `resetrl eval runs/2026-01-31_12-00-00-srpo-seed0`, `resetrl eval RUN suite=offline`,
    `resetrl eval model=smollm2 task=reasoning_gym/gcd problems=20 samples=4 'k=[1,4]'`.
    """
    from resetrl.evaluate.eval_session import run_eval

    run_eval(arguments or [], print_config=cfg)


def correct(
    arguments: Annotated[list[str] | None, ARGUMENTS] = None,
    cfg: Annotated[bool, CFG] = False,
) -> None:
    """Correct answers in rounds: localize the error, go back, resample (Thought-ICS).

    Examples: `resetrl correct runs/2026-01-31_12-00-00-srpo-seed0 rounds=5`,
    `resetrl correct RUN reset_selector=uniform`, `resetrl correct model=smollm2 stop=self`.
    """
    from resetrl.evaluate.correct_session import run_correct

    run_correct(arguments or [], print_config=cfg)
