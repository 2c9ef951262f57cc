"""The command `resetrl analyze`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from resetrl.analysis.localization import Reset

app = typer.Typer(help="Look into what runs have saved.", no_args_is_help=True)


@app.callback()
def analyze() -> None:
    """Look into what runs have saved."""


@app.command("localization")
def localization(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN|OVERRIDE",
            help="Folders, MLflow ids, or enough of the names of runs. With --fresh one run at "
            "most, whose newest checkpoint is asked, and hydra overrides.",
        ),
    ] = None,
    fresh: Annotated[
        bool,
        typer.Option(
            "--fresh", help="Make resets anew, of a run or a model, by several selectors."
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for tables and picture: by default a new one in localizations, or with "
            "--fresh one named by what is computed.",
            metavar="FOLDER",
        ),
    ] = None,
    from_step: Annotated[int, typer.Option(help="Leave out steps before this one.", min=0)] = 0,
    to_step: Annotated[
        int | None, typer.Option(help="Leave out steps behind this one.", min=0)
    ] = None,
    min_words: Annotated[
        int,
        typer.Option(help="Thoughts of fewer words do not count in deviations.", min=0),
    ] = 0,
    cfg: Annotated[
        bool, typer.Option("--cfg", help="Print what --fresh would compute and stop.")
    ] = False,
) -> None:
    """Where resets went back to against the first wrong thought, and what came of it.

    For tasks that check steps, such as chain. Of the rollouts that runs have saved: `resetrl
    analyze localization SRPO_RUN RRPO_RUN`. Of a policy: `resetrl analyze localization --fresh
    RUN 'selectors=[self_localization,uniform,oracle]' draws=4 suffixes=4`.
    """
    from rich.console import Console

    from resetrl.errors import ConfigError

    given = arguments or []
    if fresh or cfg:
        from resetrl.analysis.fresh_session import run_fresh

        if from_step or to_step is not None:
            raise ConfigError("--from-step and --to-step choose saved steps: leave out --fresh")
        folder = [] if out is None else [f"out={out}"]
        run_fresh([*given, *folder], min_words, print_config=cfg)
        return
    if not given or any("=" in word and not Path(word).is_dir() for word in given):
        raise ConfigError("give the folders of runs, or --fresh to make resets anew")
    from resetrl.analysis.report import ROOT, check_free, report
    from resetrl.run.names import find_run
    from resetrl.run.tracking.files import free_folder

    if out is not None:
        check_free(out)
    folders = [find_run(name) for name in given]
    names = [folder.resolve().name for folder in folders]
    found = {
        name if names.count(name) == 1 else str(folder): _resets(
            folder, from_step, to_step, min_words
        )
        for name, folder in zip(names, folders, strict=True)
    }
    name = "-".join(found).replace("/", "-")[:80]
    report(found, out or free_folder(Path(ROOT) / name), Console(highlight=False))


def _resets(folder: Path, from_step: int, to_step: int | None, min_words: int) -> list[Reset]:
    from resetrl.analysis.localization import resets_of
    from resetrl.errors import ResetrlError
    from resetrl.run.rollouts import read_groups, saved_steps

    saved = {
        step: file
        for step, file in saved_steps(folder).items()
        if step >= from_step and (to_step is None or step <= to_step)
    }
    resets = [
        reset
        for step, file in saved.items()
        for reset in resets_of(step, read_groups(file), min_words)
    ]
    if not resets:
        raise ResetrlError(
            f"{folder} has no reset with a known first wrong thought in its {len(saved)} saved "
            "steps: take a run with reset groups of a task that checks steps, such as chain, or "
            "other steps"
        )
    return resets
