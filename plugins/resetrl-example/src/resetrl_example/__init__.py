"""Registers the reset selector `least_confident` with resetrl."""

from __future__ import annotations

from resetrl.hookspecs import Components, hookimpl


@hookimpl
def resetrl_reset_selectors() -> Components:
    from resetrl_example.selectors import LeastConfident

    return {"least_confident": LeastConfident}
