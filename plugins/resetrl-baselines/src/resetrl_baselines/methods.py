"""The methods of this plugin, in the form of the files of conf/method/."""

from __future__ import annotations

from resetrl.hookspecs import Methods


def _defaults(sampler: str, loss: str) -> list[dict[str, str | None]]:
    return [
        {"override /sampler": sampler},
        {"override /split": None},
        {"override /reset_selector": None},
        {"override /loss": loss},
    ]


METHODS: Methods = {
    "score": {"defaults": _defaults("score", "score"), "advantage": "none"},
    "critique_grpo": {
        "defaults": _defaults("critique_grpo", "critique_grpo"),
        "advantage": "mean_only",
        "loss": {"response_len": "${limits.max_completion_len}"},
    },
    "spo_tree": {"defaults": _defaults("spo_tree", "spo_tree"), "advantage": "mean_only"},
    "vineppo": {"defaults": _defaults("vineppo", "clipped"), "advantage": "none"},
}
