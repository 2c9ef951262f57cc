"""From a configuration to the objects a run works with."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol, cast

from omegaconf import DictConfig, OmegaConf

from resetrl.advantages import Scale
from resetrl.errors import ConfigError
from resetrl.interfaces import (
    Engine,
    LearnerSpec,
    Loss,
    ModelChecker,
    Policy,
    ResetSelector,
    Sampler,
    Task,
    Verifier,
)
from resetrl.method import Inference, Method, Session
from resetrl.models import LoadedModel, ModelConfig, read_config
from resetrl.plugins import Registry
from resetrl.ranks import ALONE, Ranks
from resetrl.run.config import RunConfig
from resetrl.splits import GroupSplit
from resetrl.step import Resets
from resetrl.verification import GuardedVerifier


def build_component(registry: Registry, kind: str, options: Any, where: str = "") -> Any:
    """The component a configuration node describes, or None where the node is null.

    `where` is the node's place if it is not the kind's own, as of a component within another.
    """
    if options is None:
        return None
    where = where or kind
    # A kind without any registered component is no group to hydra, and its value a plain string.
    is_bare = isinstance(options, str) and not registry.names(kind)
    named = {"name": options} if is_bare else component_options(options, where)
    named.pop("defaults", None)  # hydra's list of a schema with components in it, used up
    name = named.pop("name", None)
    if not isinstance(name, str):
        raise ConfigError(f"{where} has no name: choose one of {', '.join(registry.names(kind))}")
    component = registry.get(kind, name)
    for option, nested_kind in component.nested.items():
        if option in named:
            where = f"{kind}.{option}"
            named[option] = build_component(registry, nested_kind, named[option], where)
    return component.build(named)


def component_options(options: Any, where: str = "a component") -> dict[str, object]:
    """A component's name and options, from whatever form of node the configuration has."""
    if isinstance(options, DictConfig):
        options = OmegaConf.to_container(options, resolve=True)
    if dataclasses.is_dataclass(options) and not isinstance(options, type):
        return dataclasses.asdict(options)
    if isinstance(options, Mapping):
        return dict(options)
    choice = where.replace(".", "/")
    raise ConfigError(f"{where} is {options!r}, which is no component: choose it by {choice}=NAME")


class InferenceConfig(Protocol):
    """What any configuration says that has a policy answer problems."""

    model: ModelConfig
    engine: Any
    verifier: Any
    verifier_timeout: float
    seed: int
    num_threads: int


def build_task(config: RunConfig, registry: Registry) -> Task:
    return cast(Task, build_component(registry, "task", config.task))


def build_method(config: RunConfig, registry: Registry) -> Method:
    """The method; raises ConfigError if its parts do not fit one another or the budget."""
    if config.sampling.temperature == 0:
        raise ConfigError(
            "sampling.temperature is 0: greedy rollouts of a prompt are all alike and teach "
            "nothing; choose a value above 0, such as 0.7"
        )
    return Method(
        sampler=_build_sampler(config, registry),
        loss=cast(Loss, build_component(registry, "loss", config.loss)),
        advantage=cast(Scale, config.advantage),
        binarise_rewards=config.binarise_rewards,
        mask_prefix=config.mask_prefix,
        sampling=config.sampling.record(),
        limits=config.limits.record(),
        updates=config.updates,
    )


def _build_sampler(config: RunConfig, registry: Registry) -> Sampler:
    """The sampler named, or the method's own of split and reset selector."""
    sampler = cast(Sampler | None, build_component(registry, "sampler", config.sampler))
    if sampler is None:
        return _build_resets(config, registry)
    for kind in ("split", "reset_selector"):
        if getattr(config, kind) is not None:
            raise ConfigError(
                f"sampler={config.sampler.name} has no {kind}: add {kind}=null, or leave the "
                "sampler out"
            )
    if sampler.budget != config.budget:
        raise ConfigError(
            f"sampler={config.sampler.name} trains {sampler.budget} rollouts a prompt but budget="
            f"{config.budget}: set budget={sampler.budget}, or the sampler's own options"
        )
    return sampler


def _build_resets(config: RunConfig, registry: Registry) -> Resets:
    split = cast(GroupSplit | None, build_component(registry, "split", config.split))
    selector = cast(
        ResetSelector | None, build_component(registry, "reset_selector", config.reset_selector)
    )
    if split is None:
        raise ConfigError(
            f"neither split nor sampler is given: choose split={', '.join(registry.names('split'))}"
        )
    if split.budget != config.budget:
        sizes = " + ".join(map(str, (split.base, *split.resets)))
        verb = "exceeds" if split.budget > config.budget else "falls short of"
        raise ConfigError(
            f"split {sizes} = {split.budget} {verb} budget={config.budget}: set "
            f"budget={split.budget}, or split.base and split.resets to add up to {config.budget}"
        )
    if split.resets and selector is None:
        raise ConfigError(
            f"split has reset groups {list(split.resets)} but reset_selector is null: choose "
            f"{', '.join(registry.names('reset_selector'))}, or split=grpo"
        )
    if selector is not None and not split.resets:
        raise ConfigError(
            "reset_selector is set but the split has no reset group: choose reset_selector=null, "
            "or a split such as 1x4"
        )
    return Resets(split, config.seed_policy, selector)


def check_engine(config: InferenceConfig, registry: Registry, ranks: Ranks = ALONE) -> None:
    """Let the engine refuse the model, or this machine, before the model's parameters are read."""
    engine = build_component(registry, "engine", config.engine)
    if isinstance(engine, ModelChecker):
        engine.check(read_config(config.model), config.model.device, ranks)


def start_policy(
    config: InferenceConfig, registry: Registry, loaded: LoadedModel, ranks: Ranks = ALONE
) -> Policy:
    """The loaded model as a sampler."""
    engine = cast(Engine, build_component(registry, "engine", config.engine))
    return engine.start(loaded.model, loaded.tokenizer, config.model.delimiter, ranks)


def build_inference(
    config: InferenceConfig, registry: Registry, task: Task, loaded: LoadedModel, policy: Policy
) -> Inference:
    """A policy with the task it answers and the verifier that judges it."""
    return Inference(
        policy=policy,
        verifier=build_verifier(config, registry, task),
        task=task,
        tokenizer=loaded.tokenizer,
        delimiter=config.model.delimiter,
        localization_prompt=config.model.localization_prompt,
        run_seed=config.seed,
        chat=config.model.chat,
        context_len=int(loaded.model.config.max_position_embeddings),
    )


def build_verifier(config: InferenceConfig, registry: Registry, task: Task) -> Verifier:
    """The verifier named, or the task's own, guarded against what it may raise."""
    named = cast(Verifier | None, build_component(registry, "verifier", config.verifier))
    verifier = named or task.verifier()
    return GuardedVerifier(verifier, registry.origin(verifier), config.verifier_timeout)


def build_learner(config: RunConfig, registry: Registry) -> LearnerSpec:
    """The learner's component, which is not started yet."""
    return cast(LearnerSpec, build_component(registry, "learner", config.learner))


def build_session(
    config: RunConfig,
    registry: Registry,
    task: Task,
    loaded: LoadedModel,
    method: Method,
    ranks: Ranks = ALONE,
) -> Session:
    """The running parts: policy and learner on the loaded model, and the verifier."""
    policy = start_policy(config, registry, loaded, ranks)
    spec = build_learner(config, registry)
    inference = build_inference(config, registry, task, loaded, policy)
    learner = spec.start(loaded.model, keep_reference=method.loss.needs_reference)
    tolerance = config.sync_tolerance
    if tolerance is None:
        tolerance = 1e-3 if config.model.dtype == "float32" else 0.05
    return Session(**vars(inference), learner=learner, sync_tolerance=tolerance, ranks=ranks)
