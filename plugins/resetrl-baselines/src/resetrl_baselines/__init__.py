"""Registers the baselines with resetrl: samplers, losses, and the methods that combine them."""

from __future__ import annotations

from resetrl.hookspecs import Components, Methods, hookimpl


@hookimpl
def resetrl_samplers() -> Components:
    from resetrl_baselines.critique_grpo import CritiqueGRPO
    from resetrl_baselines.score import SCoRe
    from resetrl_baselines.spo_tree import SPOTree
    from resetrl_baselines.vineppo import VinePPO

    return {
        "score": SCoRe,
        "critique_grpo": CritiqueGRPO,
        "spo_tree": SPOTree,
        "vineppo": VinePPO,
    }


@hookimpl
def resetrl_losses() -> Components:
    from resetrl_baselines.critique_grpo import CritiqueLoss
    from resetrl_baselines.score import SCoReLoss
    from resetrl_baselines.spo_tree import SPOTreeLoss

    return {"score": SCoReLoss, "critique_grpo": CritiqueLoss, "spo_tree": SPOTreeLoss}


@hookimpl
def resetrl_methods() -> Methods:
    from resetrl_baselines.methods import METHODS

    return METHODS
