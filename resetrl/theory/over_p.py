"""The lab's sweeps over p: both ratios of the claim, and what each of them is made of."""

from __future__ import annotations

import numpy as np

from resetrl.theory import measure, trials
from resetrl.theory.chain_task import ChainCase, chain_task
from resetrl.theory.cpi import PERFECT_ORACLE, RANDOM_RESETS
from resetrl.theory.curves import Curve
from resetrl.theory.generators import Case, random_tree, rare_decision_chain
from resetrl.theory.measure import Effort, Sweep
from resetrl.theory.results import LabResult, Preset

FAR_SMALLER = 64  # how much smaller p is where the exact slope is computed but not measured
TASK_TAU = 0.1
TASK_OPERATIONS = 5
TASK_HARD = 3  # hard facts in each question that has any
BACKGROUND = 0.5  # largest advantage outside the improvable set, as a share of tau


def over_p_trees(result: LabResult) -> None:
    """Random trees: the claim's two ratios and their parts."""
    _over_p(result, _tree_sweep(result, result.preset.ps), "tree", tree_effort(result))


def over_p_chain(result: LabResult) -> None:
    """The rare-decision chain: the same, and the improvement where the best step is known."""
    sweep, effort = _chain_sweep(result, result.preset.ps), chain_effort(result)
    _over_p(result, sweep, "chain", effort)
    rr, caro = (
        measure.line_search_curve("", sweep, oracle, effort)
        for oracle in (RANDOM_RESETS, PERFECT_ORACLE)
    )
    ratio = result.add("improvement", caro.over(rr, "improvement CARO/RR, chain, best step known"))
    result.find(ratio, None, "none", "with the best step both gain the same: the 1/p is the step's")


def over_p_background(result: LabResult) -> None:
    """Random trees whose other states have advantages too, below tau."""
    sweep, effort = _tree_sweep(result, result.preset.ps, BACKGROUND), tree_effort(result)
    name = "tree with small advantages"
    reason = (
        "advantages below tau outside the improvable set give RR a signal that does not vanish "
        "with p; the claim counts them as nothing"
    )
    _samples_ratio(result, sweep, name, effort, reason)
    _improvement_ratio(result, sweep, name, effort, reason)


def over_p_task(result: LabResult) -> None:
    """The built-in chain task."""
    preset = result.preset
    cases = [
        [task(preset, result.rng_seed + instance, p) for instance in range(preset.num_tasks)]
        for p in preset.task_ps
    ]
    sweep = Sweep("1/p", 1 / np.array(preset.task_ps), cases)
    effort = Effort(preset.task_repeats, preset.bootstraps, result.rng_seed)
    reason = (
        "outside the improvable set candidate and policy agree and add no noise, but for questions "
        "where a later factor forgives any result"
    )
    _samples_ratio(result, sweep, "chain task", effort, reason)
    _improvement_ratio(result, sweep, "chain task", effort, "")


def tree(preset: Preset, tree_seed: int, p: float, background: float = 0.0) -> Case:
    """Returns the preset's random tree of one seed."""
    rng = np.random.default_rng(tree_seed)
    return random_tree(
        p, preset.tau, preset.horizon, preset.num_actions, rng, background=background
    )


def chain(preset: Preset, p: float, reward_bound: float = 1.0) -> Case:
    """Returns the preset's rare-decision chain; it has at least 3 actions."""
    num_actions = max(3, preset.num_actions)
    return rare_decision_chain(p, preset.tau, preset.horizon, num_actions, reward_bound)


def task(preset: Preset, rng_seed: int, p: float) -> ChainCase:
    """Returns the chain task's MDP over the preset's number of problems."""
    return chain_task(p, TASK_TAU, TASK_OPERATIONS, TASK_HARD, preset.task_problems, rng_seed)


def tree_effort(result: LabResult) -> Effort:
    return Effort(result.preset.tree_repeats, result.preset.bootstraps, result.rng_seed)


def chain_effort(result: LabResult) -> Effort:
    return Effort(result.preset.chain_repeats, result.preset.bootstraps, result.rng_seed)


def _over_p(result: LabResult, sweep: Sweep, name: str, effort: Effort) -> None:
    limit = _exact_limit(result, name)
    constants = (
        "improvable and other states differ in noise, a factor that still moves at large p: "
        f"{FAR_SMALLER} times further down the exact slope is {limit:.3f}"
    )
    rr, caro = _samples_ratio(result, sweep, name, effort, constants)
    ratio = rr.over(caro.times(sweep.x, ""), f"states drawn RR/CARO, {name}")
    why = "CARO draws 1/p states for each one that its oracle accepts"
    result.find(result.add("samples", ratio), 1.0, "implied", f"{why}; {constants}")

    trial = trials.advantage_is_accurate_abstaining
    careful = measure.samples_curve("", sweep, RANDOM_RESETS, trial, effort)
    ratio = careful.over(caro, f"samples RR/CARO, {name}, RR abstains")
    why = "a candidate that leaves other states alone has no noise there; one power of 1/p is left"
    result.find(result.add("samples", ratio), None, "none", why)

    rr, caro = (
        measure.samples_curve("", sweep, oracle, trials.improvement_is_had, effort)
        for oracle in (RANDOM_RESETS, PERFECT_ORACLE)
    )
    ratio = rr.over(caro, f"samples RR/CARO, {name}, whole iteration")
    why = "choosing the candidate state by state costs RR only 1/p more, which counts at large p"
    result.find(result.add("samples", ratio), 2.0, "paper", f"{why}; {constants}")
    _improvement_ratio(result, sweep, name, effort, "")


def _samples_ratio(
    result: LabResult, sweep: Sweep, name: str, effort: Effort, reason: str
) -> tuple[Curve, Curve]:
    rr, caro = (
        measure.samples_curve(
            f"samples {algorithm}, {name}", sweep, oracle, trials.advantage_is_accurate, effort
        )
        for algorithm, oracle in (("RR", RANDOM_RESETS), ("CARO", PERFECT_ORACLE))
    )
    ratio = result.add("samples", rr.over(caro, f"samples RR/CARO, {name}"))
    result.find(ratio, 2.0, "paper", reason)
    result.add("samples per iteration", rr)
    result.add("samples per iteration", caro)
    return rr, caro


def _improvement_ratio(
    result: LabResult, sweep: Sweep, name: str, effort: Effort, reason: str
) -> None:
    rr, caro = (
        measure.improvement_curve(f"improvement {algorithm}, {name}", sweep, oracle, effort)
        for algorithm, oracle in (("RR", RANDOM_RESETS), ("CARO", PERFECT_ORACLE))
    )
    ratio = result.add("improvement", caro.over(rr, f"improvement CARO/RR, {name}"))
    result.find(ratio, 1.0, "paper", reason)
    result.add("improvement per iteration", rr)
    result.add("improvement per iteration", caro)


def _exact_limit(result: LabResult, name: str) -> float:
    """Returns the exact slope of the samples ratio at p far below the measured ones."""
    ps = tuple(p / FAR_SMALLER for p in result.preset.ps)
    sweep = _tree_sweep(result, ps) if name == "tree" else _chain_sweep(result, ps)
    rng = np.random.default_rng(result.rng_seed)
    logs = [np.mean([np.log(_exact_ratio(case, rng)) for case in row]) for row in sweep.cases]
    return float(np.polyfit(np.log(sweep.x), logs, 1)[0])


def _exact_ratio(case: Case, rng: np.random.Generator) -> float:
    rr, caro = (
        trials.exact_samples(trials.set_up(case, oracle), trials.advantage_is_accurate, rng)
        for oracle in (RANDOM_RESETS, PERFECT_ORACLE)
    )
    return rr / caro


def _tree_sweep(result: LabResult, ps: tuple[float, ...], background: float = 0.0) -> Sweep:
    instances = range(result.rng_seed, result.rng_seed + result.preset.num_trees)
    cases = [[tree(result.preset, seed, p, background) for seed in instances] for p in ps]
    return Sweep("1/p", 1 / np.array(ps), cases)


def _chain_sweep(result: LabResult, ps: tuple[float, ...]) -> Sweep:
    return Sweep("1/p", 1 / np.array(ps), [[chain(result.preset, p)] for p in ps])
