"""Which tasks an evaluation covers: one, or those of a suite in conf/suite/."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from resetrl.errors import ConfigError
from resetrl.evaluate.config import EvalConfig
from resetrl.interfaces import Task
from resetrl.plugins import Registry
from resetrl.run.build import build_component, component_options
from resetrl.run.config import component_schema
from resetrl.types import Problem


@dataclass(frozen=True)
class LabelledTask:
    """A task of an evaluation; of its held-out problems the first `num_problems` are answered.

    `in_suite` says that other tasks are evaluated with it, so that uids need its label.
    """

    label: str
    task: Task
    problems: Sequence[Problem]
    num_problems: int
    in_suite: bool = False


def suite_file(given: object, overrides: Sequence[str]) -> tuple[Any, list[str]]:
    """The suite in the file that `suite=FILE.yaml` gives, and the overrides without it.

    Any other suite is hydra's to find. Raises ConfigError if the file cannot be read.
    """
    if not str(given).endswith((".yaml", ".yml")):
        return None, list(overrides)
    try:
        suite = OmegaConf.load(str(given))
    except (OSError, yaml.YAMLError) as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise ConfigError(f"suite={given} cannot be read: {reason}") from error
    return suite, [word for word in overrides if not word.startswith("suite=")]


def suite_name(config: EvalConfig) -> str:
    """The suite's name, or that of the only task."""
    return str(component_options(config.suite or config.task).get("name", "unnamed"))


def labelled_tasks(config: EvalConfig, registry: Registry) -> list[LabelledTask]:
    """Every task of the evaluation, built and its problems counted, none of them read yet.

    Raises ConfigError.
    """
    if config.suite is None:
        named: Any = {suite_name(config): component_options(config.task)}
    else:
        named = config.suite.get("tasks") if isinstance(config.suite, Mapping) else {}
    if not isinstance(named, Mapping) or not named:
        raise ConfigError(
            "the suite has no tasks: write its name and its tasks, `name: mine` and "
            "`tasks: {easy: {name: chain, max_operations: 3}}`"
        )
    return [
        _labelled(label, options, config, registry, in_suite=config.suite is not None)
        for label, options in named.items()
    ]


def _labelled(
    label: str, options: Any, config: EvalConfig, registry: Registry, *, in_suite: bool
) -> LabelledTask:
    name = options.get("name") if isinstance(options, Mapping) else None
    if not isinstance(name, str):
        raise ConfigError(f"task {label} of the suite has no name: write {label}: {{name: chain}}")
    schema = OmegaConf.structured(component_schema(registry.get("task", name), registry))
    try:
        typed = OmegaConf.merge(schema, dict(options))
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"task {label} of the suite: {reason}") from error
    task = cast(Task, build_component(registry, "task", typed))
    problems = task.problems("eval")
    count = min(config.problems or len(problems), len(problems))
    return LabelledTask(label, task, problems, count, in_suite)
