"""Which measurements are made, what the paper claims of each, and the verdict.

Claims: Samanta et al., arXiv 2605.25507, Theorem 1. Samples per iteration O(|Y| H^2 R^2 / (tau^2
p^2)) for RR and O(|Y| H^2 R^2 / tau^2) for CARO; improvement per iteration Omega(tau^2 p^2 / (H
R)) and Omega(tau^2 p / (H R)). "Implied" marks what follows from the two together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from resetrl.errors import ConfigError
from resetrl.theory import measure
from resetrl.theory.chain_task import chain_task, first_wrong_thought_states
from resetrl.theory.cpi import PERFECT_ORACLE, RANDOM_RESETS, ResetOracle
from resetrl.theory.curves import Curve, Slope
from resetrl.theory.generators import Case, random_tree, rare_decision_chain
from resetrl.theory.mdp import Floats, improvable, solve
from resetrl.theory.measure import Effort, Setup, Sweep

WIDEST_INTERVAL = 0.3
Source = Literal["paper", "implied", "none"]


@dataclass(frozen=True)
class Preset:
    """How large the lab's MDPs are and how much is sampled; `Preset(ps=(0.5, 0.25, 0.125))`.

    `ps` for the sweeps over p, `fixed_p` for those over tau, H and |Y|; tau, H and |Y| are the
    tree's. Raises ConfigError for fewer than 3 different p.
    """

    ps: tuple[float, ...] = (1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64)
    tau: float = 0.06
    horizon: int = 5
    num_actions: int = 3
    fixed_p: float = 1 / 4
    horizons: tuple[int, ...] = (4, 8, 16, 32)
    action_counts: tuple[int, ...] = (4, 8, 16, 32)
    tau_shares: tuple[float, ...] = (1 / 8, 1 / 4, 1 / 2, 1.0)
    task_ps: tuple[float, ...] = (1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64)
    gap_ps: tuple[float, ...] = (1 / 2, 1 / 4, 1 / 8, 1 / 16)
    gap_runs: int = 24
    num_trees: int = 8
    task_problems: int = 8
    tree_repeats: int = 150
    chain_repeats: int = 1200
    task_repeats: int = 200
    bootstraps: int = 400
    true_positive_rates: tuple[float, ...] = (1.0, 0.7, 0.4)
    false_positive_rates: tuple[float, ...] = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)
    oracle_p: float = 1 / 16

    def __post_init__(self) -> None:
        if len(set(self.ps)) < 3:
            raise ConfigError(
                f"{len(set(self.ps))} values of p were given ({', '.join(map(str, self.ps))}); "
                "a slope needs at least 3 different ones."
            )


FULL = Preset()
QUICK = Preset(
    ps=(1 / 2, 1 / 4, 1 / 8, 1 / 16),
    horizon=4,
    horizons=(4, 8, 16),
    action_counts=(4, 8, 16),
    tau_shares=(1 / 4, 1 / 2, 1.0),
    task_ps=(1 / 4, 1 / 8, 1 / 16, 1 / 32),
    gap_ps=(1 / 2, 1 / 4, 1 / 8),
    gap_runs=12,
    num_trees=4,
    task_problems=4,
    tree_repeats=150,
    chain_repeats=600,
    task_repeats=120,
    bootstraps=300,
    true_positive_rates=(1.0, 0.5),
    false_positive_rates=(0.0, 0.03, 0.3, 1.0),
)


@dataclass(frozen=True)
class Finding:
    """A measured slope beside its claim, for instance
    `Finding("samples RR/CARO, tree", "1/p", 2.0, "paper", Slope(1.97, 1.9, 2.04), 1.95, "...")`.

    `exact` is the slope of the exact counterpart; `reason` says why the slope is what it is where
    it differs from the claim.
    """

    quantity: str
    dial: str
    claimed: float | None
    source: Source
    slope: Slope
    exact: float
    reason: str = ""

    @property
    def verdict(self) -> str:
        if self.slope.width > WIDEST_INTERVAL:
            return "interval too wide"
        if self.claimed is None:
            return "no claim"
        if self.slope.contains(self.claimed):
            return "agrees"
        return "excludes the claim, lies " + ("below" if self.slope.high < self.claimed else "above")


@dataclass(frozen=True)
class OraclePoint:
    """What an oracle of given rates gains over random resets, measured and exact (ratios)."""

    name: str
    true_positive_rate: float
    false_positive_rate: float
    samples_gain: float
    samples_low: float
    samples_high: float
    samples_exact: float
    improvement_gain: float
    improvement_low: float
    improvement_high: float
    improvement_exact: float


@dataclass
class LabResult:
    """Everything the lab found; grows group by group."""

    preset: Preset
    rng_seed: int
    findings: list[Finding] = field(default_factory=list)
    curves: dict[str, list[Curve]] = field(default_factory=dict)
    oracle_points: list[OraclePoint] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, group: str, curve: Curve) -> Curve:
        self.curves.setdefault(group, []).append(curve)
        return curve

    def find(
        self,
        curve: Curve,
        claimed: float | None,
        source: Source,
        reason: str = "",
    ) -> None:
        finding = Finding(
            curve.label, curve.x_name, claimed, source, curve.slope(), curve.exact_slope(), reason
        )
        self.findings.append(finding)


Stage = tuple[str, Callable[[LabResult], None]]


def stages() -> Iterator[Stage]:
    """Yields what the lab does, in order, each with what to call it in the progress bar."""
    yield "random trees over p", over_p_trees
    yield "rare-decision chain over p", over_p_chain
    yield "random trees with small advantages everywhere", over_p_background
    yield "chain task over p", over_p_task
    yield "tau", over_tau
    yield "horizon", over_horizon
    yield "number of actions", over_actions
    yield "samples to an optimality gap", over_gap
    yield "imperfect oracles", over_oracles


def check(preset: Preset, rng_seed: int) -> None:
    """Raises ConfigError when the preset's MDPs cannot be had, before anything is measured."""
    for p in (*preset.ps, preset.fixed_p):
        _tree(preset, rng_seed, p)
        _chain(preset, p)


def over_p_trees(result: LabResult) -> None:
    preset = result.preset
    sweep = _tree_sweep(preset, result.rng_seed, 0.0)
    effort = Effort(preset.tree_repeats, preset.bootstraps, result.rng_seed)
    _over_p(result, sweep, "tree", effort)


def over_p_chain(result: LabResult) -> None:
    preset = result.preset
    sweep = _over("1/p", 1 / np.array(preset.ps), [[_chain(preset, p)] for p in preset.ps])
    effort = Effort(preset.chain_repeats, preset.bootstraps, result.rng_seed)
    _over_p(result, sweep, "chain", effort)
    lines = [
        measure.line_search_curve("", sweep, oracle, effort)
        for oracle in (PERFECT_ORACLE, RANDOM_RESETS)
    ]
    ratio = result.add(
        "improvement", lines[0].over(lines[1], "improvement CARO/RR, chain, best step known")
    )
    result.find(ratio, None, "none", "with the best step both gain the same: the 1/p is the step's")


def over_p_background(result: LabResult) -> None:
    preset = result.preset
    sweep = _tree_sweep(preset, result.rng_seed, 0.5)
    effort = Effort(preset.tree_repeats, preset.bootstraps, result.rng_seed)
    name = "tree with small advantages"
    reason = (
        "advantages below tau outside the improvable set give RR a signal that does not vanish "
        "with p; the claim takes them for nothing"
    )
    _samples_ratio(result, sweep, name, effort, reason)
    _improvement_ratio(result, sweep, name, effort, reason)


def over_p_task(result: LabResult) -> None:
    preset = result.preset
    cases = [
        [_task(preset, result.rng_seed + instance, p) for instance in range(preset.num_trees // 2)]
        for p in preset.task_ps
    ]
    sweep = _over("1/p", 1 / np.array(preset.task_ps), cases)
    effort = Effort(preset.task_repeats, preset.bootstraps, result.rng_seed)
    reason = (
        "outside the improvable set candidate and policy mostly agree and add no noise; what noise "
        "there is comes from questions where a later factor forgives any result, so one power of "
        "1/p is certain and the other depends on the questions"
    )
    _samples_ratio(result, sweep, "chain task", effort, reason)
    _improvement_ratio(result, sweep, "chain task", effort, "")


def over_tau(result: LabResult) -> None:
    preset = result.preset
    taus = preset.tau * np.array(preset.tau_shares)
    cases = [
        [
            _tree(replace(preset, tau=tau), result.rng_seed + instance, preset.fixed_p)
            for instance in range(preset.num_trees)
        ]
        for tau in taus
    ]
    effort = Effort(preset.tree_repeats, preset.bootstraps, result.rng_seed)
    for name, oracle in (("RR", RANDOM_RESETS), ("CARO", PERFECT_ORACLE)):
        sweep = _over("1/tau", 1 / taus, cases)
        _find_samples(result, sweep, oracle, f"samples {name}, tree", effort, 2.0)
        sweep = _over("tau", taus, cases)
        _find_improvement(result, sweep, oracle, f"improvement {name}, tree", effort, 2.0)


def over_horizon(result: LabResult) -> None:
    preset = result.preset
    horizons = np.array(preset.horizons, dtype=float)
    effort = Effort(preset.chain_repeats, preset.bootstraps, result.rng_seed)
    for family, samples_reason, improvement_reason in (
        ("returns up to H R", "", ""),
        (
            "one outcome reward R",
            "the bound allows returns up to H R; an outcome reward has returns up to R",
            "the conservative step for returns up to R does not shrink with H",
        ),
    ):
        cases = [
            [_chain(replace(preset, horizon=h), preset.fixed_p, h if "H R" in family else 1.0)]
            for h in preset.horizons
        ]
        sweep = _over("H", horizons, cases)
        for name, oracle in (("RR", RANDOM_RESETS), ("CARO", PERFECT_ORACLE)):
            label = f"samples {name}, chain, {family}"
            _find_samples(result, sweep, oracle, label, effort, 2.0, samples_reason)
            label = f"improvement {name}, chain, {family}"
            _find_improvement(result, sweep, oracle, label, effort, -1.0, improvement_reason)


def over_actions(result: LabResult) -> None:
    preset = result.preset
    counts = np.array(preset.action_counts, dtype=float)
    cases = [
        [_chain(replace(preset, num_actions=num), preset.fixed_p)] for num in preset.action_counts
    ]
    effort = Effort(preset.chain_repeats, preset.bootstraps, result.rng_seed)
    reason = "the noise outside the improvable set grows as |Y| - 1, not |Y|"
    for name, oracle in (("RR", RANDOM_RESETS), ("CARO", PERFECT_ORACLE)):
        sweep = _over("|Y|", counts, cases)
        _find_samples(result, sweep, oracle, f"samples {name}, chain", effort, 1.0, reason)


def over_gap(result: LabResult) -> None:
    preset = result.preset
    effort = Effort(preset.gap_runs, preset.bootstraps, result.rng_seed)
    by_thought = (
        "RR enters the lane more often as it learns to win there: p rises along the run, so the "
        "starting p decides little"
    )
    by_prompt = (
        "the noise of improvable and other states differs, as in the samples per iteration, and "
        "few iterations are rounded up to whole ones"
    )
    for entered_by, reason in (("prompt", by_prompt), ("thought", by_thought)):
        cases = [
            [
                rare_decision_chain(
                    p, preset.tau, 4, 4, advantage=4 * preset.tau, entered_by=entered_by
                )
            ]
            for p in preset.gap_ps
        ]
        sweep = _over("1/p", 1 / np.array(preset.gap_ps), cases)
        where = f"chain entered by {entered_by}"
        rr = measure.gap_curves(f"RR, {where}", sweep, RANDOM_RESETS, effort, 0.5)
        caro = measure.gap_curves(f"CARO, {where}", sweep, PERFECT_ORACLE, effort, 0.5)
        for curve in (*rr, *caro):
            result.add("gap", curve)
        names = ("samples to half the gap", "states drawn to half the gap", "iterations to half")
        for name, above, below, claimed in zip(names, rr, caro, (3.0, 2.0, 1.0), strict=True):
            result.find(above.over(below, f"{name} RR/CARO, {where}"), claimed, "implied", reason)


def over_oracles(result: LabResult) -> None:
    preset = result.preset
    sweep = _over("p", np.array([preset.oracle_p]), [[_chain(preset, preset.oracle_p)]])
    effort = Effort(preset.chain_repeats, preset.bootstraps, result.rng_seed)
    trial = measure.advantage_is_accurate
    samples = measure.samples_curve("", sweep, RANDOM_RESETS, trial, effort)
    gain = measure.improvement_curve("", sweep, RANDOM_RESETS, effort)
    for true_rate in preset.true_positive_rates:
        for false_rate in preset.false_positive_rates:
            oracle = ResetOracle(true_rate, false_rate)
            fewer = samples.over(measure.samples_curve("", sweep, oracle, trial, effort), "")
            more = measure.improvement_curve("", sweep, oracle, effort).over(gain, "")
            result.oracle_points.append(
                OraclePoint(
                    "chain", true_rate, false_rate, *_ends(fewer), *_ends(more)
                )
            )
    result.oracle_points.append(_step_checker(preset, result.rng_seed))


def _step_checker(preset: Preset, rng_seed: int) -> OraclePoint:
    """Returns the gains, all exact, of resetting where the chain task's step checker points."""
    case = chain_task(preset.task_ps[1], 0.1, 5, 3, preset.task_problems, rng_seed)
    solution = solve(case.mdp, case.policy)
    mask, named = improvable(solution, case.tau), first_wrong_thought_states(case)
    everywhere = np.ones(case.mdp.num_states)
    rng = np.random.default_rng(rng_seed)
    samples, gains = [], []
    for acceptance in (everywhere, named.astype(float)):
        setup = Setup(case, solution, acceptance, mask)
        samples.append(measure.exact_samples(setup, measure.advantage_is_accurate, rng))
        gains.append(measure.exact_gain(setup))
    resets = solution.resets
    nan = float("nan")
    return OraclePoint(
        "chain task, step checker",
        float(resets[named & mask].sum() / resets[mask].sum()),
        float(resets[named & ~mask].sum() / resets[~mask].sum()),
        nan,
        nan,
        nan,
        samples[0] / samples[1],
        nan,
        nan,
        nan,
        gains[1] / gains[0],
    )


def _over_p(result: LabResult, sweep: Sweep, name: str, effort: Effort) -> None:
    limit = _exact_limit(result, name)
    reason = (
        "improvable and other states differ in noise, a factor that still moves at large p; "
        f"computed at p 64 times smaller the slope is {limit:.3f}"
    )
    rr, caro = _samples_ratio(result, sweep, name, effort, reason)
    draws = caro.times(sweep.x, "")
    ratio = result.add("samples", rr.over(draws, f"states drawn RR/CARO, {name}"))
    why = "CARO draws 1/p states for each one its oracle accepts"
    result.find(ratio, 1.0, "implied", f"{why}; {reason}")
    trial = measure.advantage_is_accurate_abstaining
    keen = measure.samples_curve("", sweep, RANDOM_RESETS, trial, effort)
    ratio = result.add("samples", keen.over(caro, f"samples RR/CARO, {name}, RR abstains"))
    why = "a candidate that leaves other states alone has no noise there"
    result.find(ratio, None, "none", why)
    whole = [
        measure.samples_curve("", sweep, oracle, measure.improvement_is_had, effort)
        for oracle in (RANDOM_RESETS, PERFECT_ORACLE)
    ]
    label = f"samples RR/CARO, {name}, whole iteration"
    ratio = result.add("samples", whole[0].over(whole[1], label))
    why = "choosing the candidate state by state costs RR only 1/p and matters at large p"
    result.find(ratio, 2.0, "paper", why)
    _improvement_ratio(result, sweep, name, effort, "")


def _exact_limit(result: LabResult, name: str) -> float:
    """Returns the exact slope of the samples ratio far below the measured p."""
    preset, ps = result.preset, np.array(result.preset.ps) / 64
    small = replace(preset, ps=tuple(ps))
    sweep = (
        _tree_sweep(small, result.rng_seed, 0.0)
        if name == "tree"
        else _over("1/p", 1 / ps, [[_chain(preset, p)] for p in ps])
    )
    rng = np.random.default_rng(result.rng_seed)
    ratios = [
        np.mean([_exact_ratio(case, rng) for case in row])
        for row in sweep.cases
    ]
    return float(np.polyfit(np.log(sweep.x), np.log(ratios), 1)[0])


def _exact_ratio(case: Case, rng: np.random.Generator) -> float:
    trial = measure.advantage_is_accurate
    rr, caro = (measure.set_up(case, oracle) for oracle in (RANDOM_RESETS, PERFECT_ORACLE))
    return measure.exact_samples(rr, trial, rng) / measure.exact_samples(caro, trial, rng)


def _samples_ratio(
    result: LabResult, sweep: Sweep, name: str, effort: Effort, reason: str
) -> tuple[Curve, Curve]:
    rr, caro = (
        measure.samples_curve(
            f"samples {algorithm}, {name}", sweep, oracle, measure.advantage_is_accurate, effort
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


def _find_samples(
    result: LabResult,
    sweep: Sweep,
    oracle: ResetOracle,
    label: str,
    effort: Effort,
    claimed: float,
    reason: str = "",
) -> None:
    trial = measure.advantage_is_accurate
    curve = result.add(
        f"samples over {sweep.x_name}", measure.samples_curve(label, sweep, oracle, trial, effort)
    )
    result.find(curve, claimed, "paper", reason)


def _find_improvement(
    result: LabResult,
    sweep: Sweep,
    oracle: ResetOracle,
    label: str,
    effort: Effort,
    claimed: float,
    reason: str = "",
) -> None:
    curve = result.add(
        f"improvement over {sweep.x_name}",
        measure.improvement_curve(label, sweep, oracle, effort),
    )
    result.find(curve, claimed, "paper", reason)


def _ends(curve: Curve) -> tuple[float, float, float, float]:
    low, high = curve.interval()
    return float(curve.y[0]), float(low[0]), float(high[0]), float(curve.exact[0])


def _tree_sweep(preset: Preset, rng_seed: int, background: float) -> Sweep:
    cases = [
        [_tree(preset, rng_seed + instance, p, background) for instance in range(preset.num_trees)]
        for p in preset.ps
    ]
    return _over("1/p", 1 / np.array(preset.ps), cases)


def _over(x_name: str, x: Floats, cases: list[list[Case]]) -> Sweep:
    return Sweep(x_name, x, cases)


def _tree(preset: Preset, tree_seed: int, p: float, background: float = 0.0) -> Case:
    rng = np.random.default_rng(tree_seed)
    return random_tree(
        p, preset.tau, preset.horizon, preset.num_actions, rng, background=background
    )


def _chain(preset: Preset, p: float, reward_bound: float = 1.0) -> Case:
    num_actions = max(3, preset.num_actions)
    return rare_decision_chain(p, preset.tau, preset.horizon, num_actions, reward_bound)


def _task(preset: Preset, rng_seed: int, p: float) -> Case:
    return chain_task(p, 0.1, 5, 3, preset.task_problems, rng_seed)


