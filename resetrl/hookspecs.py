"""The whole extension surface of resetrl: implement any of these in a plugin.

The first hooks return components by name, `resetrl_methods` presets that choose among them,
`resetrl_commands` subcommands of the command line; the last four observe a run. None is called in
the middle of the step's arithmetic. A component is a plain dataclass (see `resetrl.interfaces`):
its fields are its options and its hydra schema, its docstring its help. In place of a class an
instance may be registered; its values are then the defaults under that name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from resetrl.run.context import Evaluation, RunContext
    from resetrl.types import StepRecord

hookspec = pluggy.HookspecMarker("resetrl")
hookimpl = pluggy.HookimplMarker("resetrl")

Components = Mapping[str, object]
"""Component classes, or instances of them, by the name a configuration uses."""

Methods = Mapping[str, Mapping[str, object]]
"""What a file of conf/method/ holds, as a mapping, by the name of the method."""


Commands = Mapping[str, object]
"""A typer.Typer for each name that may follow `resetrl` on the command line."""


@hookspec
def resetrl_reset_selectors() -> Components:
    """Reset selectors (`resetrl.interfaces.ResetSelector`), for `reset_selector=`."""
    return {}


@hookspec
def resetrl_verifiers() -> Components:
    """Verifiers (`resetrl.interfaces.Verifier`), for `verifier=`."""
    return {}


@hookspec
def resetrl_group_splits() -> Components:
    """Group splits (`resetrl.splits.GroupSplit`), for `split=`."""
    return {}


@hookspec
def resetrl_samplers() -> Components:
    """Samplers (`resetrl.interfaces.Sampler`), whole rollout strategies, for `sampler=`."""
    return {}


@hookspec
def resetrl_losses() -> Components:
    """Losses (`resetrl.interfaces.Loss`), for `loss=`."""
    return {}


@hookspec
def resetrl_tasks() -> Components:
    """Tasks (`resetrl.interfaces.Task`), for `task=`."""
    return {}


@hookspec
def resetrl_engines() -> Components:
    """Engines (`resetrl.interfaces.Engine`), for `engine=`."""
    return {}


@hookspec
def resetrl_learners() -> Components:
    """Learners (`resetrl.interfaces.LearnerSpec`), for `learner=`."""
    return {}


@hookspec
def resetrl_methods() -> Methods:
    """Methods (`resetrl.method_presets`), each the components and values of one, for `method=`."""
    return {}


@hookspec
def resetrl_commands() -> Commands:
    """Commands (`typer.Typer`), for `resetrl NAME`."""
    return {}


@hookspec
def resetrl_run_started(run: RunContext) -> None:
    """A run starts or resumes: its folder and configuration exist, nothing was trained yet."""


@hookspec
def resetrl_step_finished(run: RunContext, record: StepRecord) -> None:
    """A training step is complete; the parameters have changed."""


@hookspec
def resetrl_evaluated(run: RunContext, evaluation: Evaluation) -> None:
    """The held-out problems were answered with the parameters after `evaluation.step` steps."""


@hookspec
def resetrl_run_finished(run: RunContext, error: BaseException | None) -> None:
    """A run ends, with the error that ended it if one did; called exactly once a start."""
