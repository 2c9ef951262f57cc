"""The lab from beginning to end: every measurement and what the paper claims of it.

Claims: Samanta et al., arXiv 2605.25507, Theorem 1. Samples per iteration O(|Y| H^2 R^2 / (tau^2
p^2)) for RR and O(|Y| H^2 R^2 / tau^2) for CARO; improvement per iteration Omega(tau^2 p^2 / (H
R)) and Omega(tau^2 p / (H R)). "Implied" marks what follows from these two together.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace

import numpy as np

from resetrl.theory import measure, trials
from resetrl.theory.chain_task import first_wrong_thought_states
from resetrl.theory.cpi import PERFECT_ORACLE, RANDOM_RESETS, ResetOracle
from resetrl.theory.curves import Curve
from resetrl.theory.generators import Entry, rare_decision_chain
from resetrl.theory.mdp import improvable, solve
from resetrl.theory.measure import Effort, Sweep
from resetrl.theory.over_p import (
    chain,
    chain_effort,
    over_p_background,
    over_p_chain,
    over_p_task,
    over_p_trees,
    task,
    tree,
    tree_effort,
)
from resetrl.theory.results import LabResult, OraclePoint, Preset

ALGORITHMS = (("RR", RANDOM_RESETS), ("CARO", PERFECT_ORACLE))
GAP_SHARE = 0.5  # a run is over when half of the first optimality gap is closed
GAP_TAU, GAP_ADVANTAGE = 0.06, 0.36  # far apart: the decision stays improvable until then
CHECKER_P = 1 / 8

Stage = tuple[str, Callable[[LabResult], None]]


def run_lab(
    preset: Preset, rng_seed: int, finished: Callable[[str], None], num_processes: int = 2
) -> LabResult:
    """Returns all findings; `finished` is told the name of each stage when it is done.

    Stages share nothing but preset and seed, so the numbers do not depend on `num_processes`.
    Raises ConfigError before the first stage when the preset's MDPs cannot be had.
    """
    check(preset, rng_seed)
    result = LabResult(preset, rng_seed)
    started = time.perf_counter()
    with ProcessPoolExecutor(num_processes, multiprocessing.get_context("spawn")) as pool:
        running = {pool.submit(run_stage, name, preset, rng_seed): name for name, _ in stages()}
        try:
            for done in as_completed(running):
                done.result()
                finished(running[done])
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    for part in running:
        result.extend(part.result())
    result.seconds = time.perf_counter() - started
    return result


def run_stage(name: str, preset: Preset, rng_seed: int) -> LabResult:
    """Returns what one stage finds."""
    result = LabResult(preset, rng_seed)
    dict(stages())[name](result)
    return result


def stages() -> Sequence[Stage]:
    """Returns the lab's parts in order, each with its name for the progress bar."""
    return (
        ("random trees over p", over_p_trees),
        ("rare-decision chain over p", over_p_chain),
        ("trees with small advantages", over_p_background),
        ("chain task over p", over_p_task),
        ("tau", over_tau),
        ("horizon", over_horizon),
        ("number of actions", over_actions),
        ("samples to an optimality gap", over_gap),
        ("imperfect oracles", over_oracles),
    )


def check(preset: Preset, rng_seed: int) -> None:
    """Raises ConfigError when the preset's trees and chains cannot be had."""
    for p in (*preset.ps, preset.fixed_p):
        for instance in range(preset.num_trees):
            tree(preset, rng_seed + instance, p)
        chain(preset, p)


def over_tau(result: LabResult) -> None:
    preset, effort = result.preset, tree_effort(result)
    taus = preset.tau * np.array(preset.tau_shares)
    instances = range(result.rng_seed, result.rng_seed + preset.num_trees)
    cases = [
        [tree(replace(preset, tau=tau), seed, preset.fixed_p) for seed in instances] for tau in taus
    ]
    for name, oracle in ALGORITHMS:
        sweep = Sweep("1/tau", 1 / taus, cases)
        _find_samples(result, sweep, oracle, f"samples {name}, tree", effort, 2.0)
        sweep = Sweep("tau", taus, cases)
        _find_improvement(result, sweep, oracle, f"improvement {name}, tree", effort, 2.0)


def over_horizon(result: LabResult) -> None:
    preset, effort = result.preset, chain_effort(result)
    habit = (
        "the policy's habit in the decision lane, 1 - 1/(2H), comes closer to certainty with H and "
        "the candidate differs more from it"
    )
    outcome = "the bound allows for returns up to H R; an outcome reward has returns up to R"
    step = "the conservative step for returns up to R does not shrink with H"
    families = (
        ("returns up to H R", True, habit, ""),
        ("one outcome reward R", False, outcome, step),
    )
    for family, grows, why_samples, why_improvement in families:
        cases = [
            [chain(replace(preset, horizon=horizon), preset.fixed_p, horizon if grows else 1.0)]
            for horizon in preset.horizons
        ]
        sweep = Sweep("H", np.array(preset.horizons, dtype=float), cases)
        for name, oracle in ALGORITHMS:
            label = f"samples {name}, chain, {family}"
            _find_samples(result, sweep, oracle, label, effort, 2.0, why_samples)
            label = f"improvement {name}, chain, {family}"
            _find_improvement(result, sweep, oracle, label, effort, -1.0, why_improvement)


def over_actions(result: LabResult) -> None:
    preset, effort = result.preset, chain_effort(result)
    cases = [
        [chain(replace(preset, num_actions=num), preset.fixed_p)] for num in preset.action_counts
    ]
    sweep = Sweep("|Y|", np.array(preset.action_counts, dtype=float), cases)
    reason = "the noise outside the improvable set grows as |Y| - 1, not |Y|"
    for name, oracle in ALGORITHMS:
        _find_samples(result, sweep, oracle, f"samples {name}, chain", effort, 1.0, reason)


def over_gap(result: LabResult) -> None:
    preset = result.preset
    effort = Effort(preset.gap_runs, preset.bootstraps, result.rng_seed)
    by_prompt = (
        "the noise of improvable and other states differs, as in the samples per iteration, and "
        "few iterations are rounded up to whole ones"
    )
    by_thought = (
        "both learn to enter the lane that they learn to win: p rises along the run and the p of "
        "the start decides little"
    )
    entries: tuple[tuple[Entry, str], ...] = (("prompt", by_prompt), ("thought", by_thought))
    for entry, reason in entries:
        cases = [
            [rare_decision_chain(p, GAP_TAU, 4, 4, advantage=GAP_ADVANTAGE, entered_by=entry)]
            for p in preset.gap_ps
        ]
        sweep = Sweep("1/p", 1 / np.array(preset.gap_ps), cases)
        rr, caro = (
            measure.gap_curves(f"{name}, by {entry}", sweep, oracle, effort, GAP_SHARE)
            for name, oracle in ALGORITHMS
        )
        names = ("samples to gap", "states drawn to gap", "iterations to gap")
        for name, above, below, claimed in zip(names, rr, caro, (3.0, 2.0, 1.0), strict=True):
            result.add(name, above)
            result.add(name, below)
            ratio = above.over(below, f"{name} RR/CARO, chain, entered by {entry}")
            result.find(ratio, claimed, "implied", reason)


def over_oracles(result: LabResult) -> None:
    preset, effort = result.preset, chain_effort(result)
    sweep = Sweep("p", np.array([preset.oracle_p]), [[chain(preset, preset.oracle_p)]])
    trial = trials.advantage_is_accurate
    samples = measure.samples_curve("", sweep, RANDOM_RESETS, trial, effort)
    gain = measure.improvement_curve("", sweep, RANDOM_RESETS, effort)
    for true_rate in preset.true_positive_rates:
        for false_rate in preset.false_positive_rates:
            oracle = ResetOracle(true_rate, false_rate)
            fewer = samples.over(measure.samples_curve("", sweep, oracle, trial, effort), "")
            more = measure.improvement_curve("", sweep, oracle, effort).over(gain, "")
            point = OraclePoint("chain", true_rate, false_rate, *_ends(fewer), *_ends(more))
            result.oracle_points.append(point)
    result.oracle_points.append(_step_checker(preset, result.rng_seed))


def _step_checker(preset: Preset, rng_seed: int) -> OraclePoint:
    """Returns the gains, all exact, of resetting where the chain task's step checker points."""
    case = task(preset, rng_seed, CHECKER_P)
    solution = solve(case.mdp, case.policy)
    mask, named = improvable(solution, case.tau), first_wrong_thought_states(case)
    rng = np.random.default_rng(rng_seed)
    samples, gains = [], []
    for acceptance in (np.ones(case.mdp.num_states), named.astype(float)):
        setup = trials.Setup(case, solution, acceptance, mask)
        samples.append(trials.exact_samples(setup, trials.advantage_is_accurate, rng))
        gains.append(trials.exact_gain(setup))
    unmeasured = (float("nan"),) * 3
    return OraclePoint(
        "chain task, step checker",
        float(solution.resets[named & mask].sum() / solution.resets[mask].sum()),
        float(solution.resets[named & ~mask].sum() / solution.resets[~mask].sum()),
        *unmeasured,
        samples[0] / samples[1],
        *unmeasured,
        gains[1] / gains[0],
    )


def _find_samples(
    result: LabResult,
    sweep: Sweep,
    oracle: ResetOracle,
    label: str,
    effort: Effort,
    claimed: float,
    reason: str = "",
) -> None:
    curve = measure.samples_curve(label, sweep, oracle, trials.advantage_is_accurate, effort)
    result.find(result.add(f"samples over {sweep.x_name}", curve), claimed, "paper", reason)


def _find_improvement(
    result: LabResult,
    sweep: Sweep,
    oracle: ResetOracle,
    label: str,
    effort: Effort,
    claimed: float,
    reason: str = "",
) -> None:
    curve = measure.improvement_curve(label, sweep, oracle, effort)
    result.find(result.add(f"improvement over {sweep.x_name}", curve), claimed, "paper", reason)


def _ends(curve: Curve) -> tuple[float, float, float, float]:
    low, high = curve.interval()
    return float(curve.y[0]), float(low[0]), float(high[0]), float(curve.exact[0])
