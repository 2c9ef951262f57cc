"""The configuration of a run: its schema, and how the command line becomes one.

Values live in conf/; here is what they may be. A component's fields are its schema, so a plugin
needs no further file: registering it makes `kind=name kind.option=value` typed and checked.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from resetrl.advantages import Scale
from resetrl.models import ModelConfig
from resetrl.plugins import Component, Registry, options_of
from resetrl.run.ledger import Ledger
from resetrl.run.tracking import TrackingConfig
from resetrl.splits import SeedPolicy
from resetrl.types import Limits, Sampling
from resetrl.updates import Updates


@dataclass
class SamplingConfig:
    """How rollouts are drawn: `resetrl.types.Sampling`, which is frozen and so no schema."""

    temperature: float = 0.7
    top_p: float = 0.95

    def __post_init__(self) -> None:
        self.record()

    def record(self) -> Sampling:
        return Sampling(self.temperature, self.top_p)


@dataclass
class LimitsConfig:
    """When a completion ends: `resetrl.types.Limits`, which is frozen and so no schema."""

    max_thoughts: int = 20
    max_thought_len: int = 256
    max_completion_len: int = 5120

    def __post_init__(self) -> None:
        _at_least("limits.max_thoughts", self.max_thoughts, 1)
        self.record()

    def record(self) -> Limits:
        return Limits(self.max_thoughts, self.max_thought_len, self.max_completion_len)


@dataclass
class EvaluationConfig:
    """Answering held-out problems once each, greedily unless a temperature is given.

    every: training steps between evaluations; the first is before any training, the last after.
    problems: how many of the task's held-out problems, 0 for all.
    """

    every: int = 20
    problems: int = 0
    temperature: float = 0.0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        _at_least("evaluation.every", self.every, 1)
        _at_least("evaluation.problems", self.problems, 0)
        Sampling(self.temperature, self.top_p)


@dataclass
class CheckpointConfig:
    """Saving what a resume needs. every: steps between checkpoints; keep: how many are kept."""

    every: int = 20
    keep: int = 2

    def __post_init__(self) -> None:
        _at_least("checkpoint.every", self.every, 1)
        _at_least("checkpoint.keep", self.keep, 1)


@dataclass
class StopConfig:
    """Budgets that end a run before `steps`: after the step that reaches one of them.

    They count from the start of the run, also through resumes, and leave evaluations out.

    after_tokens: tokens generated, localizations included.
    after_rollouts: rollouts drawn, those that were discarded included.
    after_seconds: seconds spent in steps; such a run is not reproducible.
    """

    after_tokens: int | None = None
    after_rollouts: int | None = None
    after_seconds: float | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and not value > 0:
                raise ValueError(f"stop.{name} is {value}: choose more than 0, or null for none")

    def reached(self, ledger: Ledger) -> str | None:
        """Which budget a run has spent, as `120,004 generated tokens of stop.after_tokens=...`."""
        spent = {
            "after_tokens": (ledger.generated_tokens, "generated tokens"),
            "after_rollouts": (ledger.rollouts, "rollouts drawn"),
            "after_seconds": (ledger.seconds, "seconds in steps"),
        }
        for name, (value, what) in spent.items():
            budget = getattr(self, name)
            if budget is not None and value >= budget:
                return f"{value:,.0f} {what} of stop.{name}={budget}"
        return None


@dataclass
class LaunchConfig:
    """The processes of a run, which share its prompts; they change no figure but by rounding.

    nproc: processes to start on this machine; torchrun and others start theirs themselves.
    """

    nproc: int = 1

    def __post_init__(self) -> None:
        _at_least("launch.nproc", self.nproc, 1)


@dataclass
class RunConfig:
    """Everything a run depends on; resolved, it is the identity of the run.

    seed: the run seed, from which every random choice is derived.
    steps: training steps, each with one optimizer step unless `updates` asks for more.
    prompts_per_step: prompts in one step, each with `budget` rollouts.
    budget: rollouts trained a prompt; the split must add up to it.
    verifier_timeout: seconds that verifying one rollout may take; it is then left out. All of a
        wave are verified at once first, within the same time or the verifier's own limits.
    sync_tolerance: nats a token by which an engine with parameters of its own may be off the
        learner's log-probabilities after a weight sync; null is 0.001 for float32 models and 0.05
        for others, whose rounding differs between engine and learner.
    save_rollouts_every: steps between saved rollouts, for `resetrl show`.
    num_threads: CPU threads of torch. One is fastest for the tiny policy and keeps parallel runs
        out of each other's way; another number may change the last bits of every figure.
    """

    method: str = "srpo"
    seed: int = 0
    steps: int = 80
    prompts_per_step: int = 16
    budget: int = 8
    task: Any = None
    model: ModelConfig = field(default_factory=ModelConfig)
    engine: Any = None
    learner: Any = None
    verifier: Any = None
    verifier_timeout: float = 60.0
    sampler: Any = None
    split: Any = None
    reset_selector: Any = None
    loss: Any = None
    seed_policy: SeedPolicy = field(default_factory=SeedPolicy)
    advantage: str = "population_std"
    binarise_rewards: bool = False
    mask_prefix: bool = True
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    updates: Updates = field(default_factory=Updates)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    stop: StopConfig = field(default_factory=StopConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    launch: LaunchConfig = field(default_factory=LaunchConfig)
    sync_tolerance: float | None = None
    save_rollouts_every: int = 10
    num_threads: int = 1
    plugin_paths: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("steps", "prompts_per_step", "save_rollouts_every", "num_threads"):
            _at_least(name, getattr(self, name), 1)
        _at_least("budget", self.budget, 2)
        if not self.verifier_timeout > 0:
            raise ValueError(f"verifier_timeout is {self.verifier_timeout}: choose more than 0")
        if self.sync_tolerance is not None and not self.sync_tolerance > 0:
            raise ValueError(f"sync_tolerance is {self.sync_tolerance}: choose more than 0")
        _at_least("seed", self.seed, 0)
        if self.advantage not in get_args(Scale):
            raise ValueError(
                f"advantage is {self.advantage!r}: choose {', '.join(get_args(Scale))}"
            )
        if self.updates.mini_batches > self.prompts_per_step:
            raise ValueError(
                f"updates.mini_batches is {self.updates.mini_batches} but prompts_per_step="
                f"{self.prompts_per_step}: a mini-batch needs a prompt, so choose at most "
                f"{self.prompts_per_step}"
            )


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise ValueError(f"{name} is {value}: choose at least {least}")


def config_dir() -> Path:
    """The folder of the shipped configuration: inside the wheel, or beside a source checkout."""
    package = Path(__file__).parents[1]
    return next(path for path in (package / "conf", package.parent / "conf") if path.is_dir())


def component_schema(component: Component, registry: Registry) -> type:
    """A dataclass hydra can read: the component's name and its options with their defaults.

    OmegaConf has no Literal: such options are strings to it and are checked by
    `Component.build`. What an option that is a component is by default says its defaults list.
    """
    hints = get_type_hints(component.cls)
    fields: list[tuple[str, Any, Any]] = [("name", str, component.name)]
    choices: list[Any] = ["_self_"]
    for option in options_of(component.cls):
        if option.name in component.nested:
            fields.append((option.name, Any, None))
            choices.append({option.name: registry.nested_default(component, option.name)})
            continue
        hint = str if get_origin(hints[option.name]) is Literal else hints[option.name]
        fields.append((option.name, hint, _schema_default(option, component)))
    if component.nested:
        fields.append(("defaults", list[Any], field(default_factory=lambda: choices)))
    return dataclasses.make_dataclass(f"{component.cls.__name__}Options", fields)


def _schema_default(option: dataclasses.Field[object], component: Component) -> Any:
    if "composed" in option.metadata:  # an interpolation that other options go into
        return field(default=option.metadata["composed"])
    if option.name in component.defaults:
        value = component.defaults[option.name]
        return field(default_factory=lambda: value)
    if option.default is not dataclasses.MISSING:
        return field(default=option.default)
    if option.default_factory is not dataclasses.MISSING:
        return field(default_factory=option.default_factory)
    return field(default="???")
