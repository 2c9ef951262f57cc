"""The command line: `resetrl train`, `eval`, `compare`, `show`, `plugins` and so on.

Imports here are light and each command brings its own, so that `--help` is instant.
"""

from __future__ import annotations

import os
import sys
import warnings
from typing import Annotated, Any

import typer
import typer.core
import typer.main

from resetrl import __version__
from resetrl.analysis.command import app as analysis_app
from resetrl.compare.command import compare, diff
from resetrl.errors import PluginError, ResetrlError, ResetrlWarning
from resetrl.evaluate.command import correct, evaluate
from resetrl.hub.command import app as hub_app
from resetrl.plugin_commands import app as plugins_app
from resetrl.run.tracking.command import app as tracking_app
from resetrl.run.tracking.config import ENVIRONMENT as tracking_environment
from resetrl.show.command import show
from resetrl.theory.command import theory
from resetrl.tiny.command import app as tiny_app


class Commands(typer.core.TyperGroup):
    """Our commands, and those of plugins, which are loaded only if none of ours has the name.

    The help lists both; for it plugins are asked for nothing but their commands.
    """

    def get_command(self, context: Any, name: str) -> Any:
        return super().get_command(context, name) or _plugin_command(name)

    def format_help(self, context: Any, formatter: Any) -> None:
        for name, command in _plugin_commands().items():
            if name not in self.commands:
                self.add_command(command, name)
        super().format_help(context, formatter)


def _plugin_commands() -> dict[str, Any]:
    """The commands of plugins; one that does not load is told, and costs the help nothing else."""
    from resetrl.plugins import commands_of_plugins

    try:
        return {name: _as_command(name, *found) for name, found in commands_of_plugins().items()}
    except PluginError as error:
        _print_sentence("[bold yellow]warning:[/] ", f"commands of plugins are left out: {error}")
        return {}


def _plugin_command(name: str) -> Any:
    from resetrl.plugins import load_plugins

    found = load_plugins().commands.get(name)
    if found is None:
        return None
    return _as_command(name, *found)


def _as_command(name: str, command: object, source: object) -> Any:
    if not isinstance(command, typer.Typer):
        raise PluginError(f"command {name!r} of {source} is {command!r}: register a typer.Typer")
    group = typer.main.get_group(command)
    group.name = name
    return group


app = typer.Typer(
    cls=Commands,
    epilog="Plugins may add commands; resetrl plugins list shows which are installed.",
    help="Experiments with reset-based reinforcement learning of language models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
LAUNCHER_ENVIRONMENT = {**tracking_environment, "TOKENIZERS_PARALLELISM": "false"}
"""Set for libraries that read the environment; nothing of it changes what a run computes."""


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"resetrl {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the full traceback of an error.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Experiments with reset-based reinforcement learning of language models."""


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    epilog="Choices of each group: resetrl train --choices. What would run: resetrl train --cfg.",
)
def train(
    context: typer.Context,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="OVERRIDE",
            help="Hydra overrides: method=srpo|rrpo|grpo|oracle, task=..., split=1x4, seed=0, "
            "steps=80, learner.lr=2e-4, ... or resume=RUN (its folder, MLflow id, or enough of "
            "its name); @FILE for the overrides a YAML file lists.",
        ),
    ] = None,
    multirun: Annotated[
        bool,
        typer.Option(
            "-m",
            "--multirun",
            help="Run every combination: -m method=grpo,srpo. With hydra/sweeper=resetrl_optuna "
            "search instead: -m hydra/sweeper=resetrl_optuna learner.lr='interval(1e-5,1e-3)'.",
        ),
    ] = False,
    cfg: Annotated[
        bool, typer.Option("--cfg", help="Print the composed configuration and stop.")
    ] = False,
    choices: Annotated[
        bool, typer.Option("--choices", help="Print what each group can be and stop.")
    ] = False,
) -> None:
    """Train: SRPO on the chain task with the built-in policy, unless told otherwise.

    Examples: `resetrl train`, `resetrl train method=rrpo seed=1 steps=40`,
    `resetrl train resume=runs/2026-01-31_12-00-00-srpo-seed0 steps=200`.
    """
    from resetrl.run import command

    command.train([*(overrides or []), *context.args], multirun=multirun, cfg=cfg, choices=choices)


app.command("eval")(evaluate)
app.command("correct")(correct)
app.command("compare")(compare)
app.command("diff")(diff)
app.command("show")(show)
app.command("theory")(theory)
app.add_typer(analysis_app, name="analyze")
app.add_typer(plugins_app, name="plugins")
app.add_typer(hub_app, name="task")
app.add_typer(tiny_app, name="tiny")
app.add_typer(tracking_app, name="tracking")


def main() -> None:
    """Run the command line; an error a user can act on is one sentence and exit status 1."""
    for name, value in LAUNCHER_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    print_our_warnings()
    debug = "--debug" in sys.argv
    if debug:
        sys.argv.remove("--debug")
    try:
        app()
    except ResetrlError as error:
        if debug:
            raise
        _fail(str(error), 1)
    except KeyboardInterrupt:
        _fail("interrupted", 130)
    except OSError as error:
        if debug or (error.filename is None and error.errno is None):
            raise
        where = f" ({error.filename})" if error.filename else ""
        _fail(f"{error.strerror}{where}: free space or choose another folder, then go on", 1)


def print_our_warnings() -> None:
    """Show warnings of resetrl as its errors are shown, without a place in the code."""
    show_others = warnings.showwarning

    def show_warning(
        message: Warning | str, category: type[Warning], *place: Any, **more: Any
    ) -> None:
        if issubclass(category, ResetrlWarning):
            _print_sentence("[bold yellow]warning:[/] ", str(message))
        else:
            show_others(message, category, *place, **more)

    warnings.showwarning = show_warning


def _fail(sentence: str, status: int) -> None:
    _print_sentence("[bold red]error:[/] ", sentence)
    sys.exit(status)


def _print_sentence(kind: str, sentence: str) -> None:
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    console.print(kind, end="")
    console.print(sentence, markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()
