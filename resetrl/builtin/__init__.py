"""The built-in components, each written exactly as a third-party plugin would be."""

from __future__ import annotations

from resetrl.hookspecs import Components, hookimpl


@hookimpl
def resetrl_reset_selectors() -> Components:
    from resetrl.builtin import selectors

    return {
        "uniform": selectors.Uniform,
        "self_localization": selectors.SelfLocalization,
        "oracle": selectors.Oracle,
        "fixed_fraction": selectors.FixedFraction,
        "last": selectors.Last,
        "offset": selectors.Offset,
    }


@hookimpl
def resetrl_verifiers() -> Components:
    from resetrl.builtin.math_verifier import Math
    from resetrl.builtin.verifiers import Exact, MultipleChoice, ShortAnswer, YesNo

    return {
        "exact": Exact,
        "math": Math,
        "multiple_choice": MultipleChoice,
        "yes_no": YesNo,
        "short_answer": ShortAnswer,
    }


@hookimpl
def resetrl_group_splits() -> Components:
    from resetrl.splits import GroupSplit

    return {
        "grpo": GroupSplit(8),
        "1x4": GroupSplit(4, (4,)),
        "2x4": GroupSplit(0, (4, 4)),
        "1x8": GroupSplit(0, (8,)),
    }


@hookimpl
def resetrl_losses() -> Components:
    from resetrl.builtin.losses import Clipped, SuffixMean, TruncatedIS

    return {"suffix_mean": SuffixMean, "clipped": Clipped, "truncated_is": TruncatedIS}


@hookimpl
def resetrl_tasks() -> Components:
    from resetrl.builtin.chain import Chain
    from resetrl.builtin.local import Local
    from resetrl.builtin.reasoning_gym import ReasoningGym, dataset_names
    from resetrl.hub.manifest import shipped_names
    from resetrl.hub.task import Hub

    gym = {f"reasoning_gym/{name}": ReasoningGym(dataset=name) for name in dataset_names()}
    published = {name: Hub(manifest=name) for name in shipped_names()}
    return {"chain": Chain, "local": Local, "hub": Hub, **published, **gym}


@hookimpl
def resetrl_engines() -> Components:
    from resetrl.builtin.engines import Transformers, Vllm

    return {"transformers": Transformers, "vllm": Vllm}


@hookimpl
def resetrl_learners() -> Components:
    from resetrl.builtin.learners import DeepSpeed, Torch

    return {"deepspeed": DeepSpeed, "torch": Torch}
