"""What the lab is set to, and what it has found: presets, findings with their verdicts, curves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from resetrl.errors import ConfigError
from resetrl.theory.curves import Curve, Slope

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
    num_tasks: int = 4
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
    ps=(1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32),
    horizon=4,
    horizons=(4, 8, 16),
    action_counts=(4, 8, 16),
    task_ps=(1 / 4, 1 / 8, 1 / 16, 1 / 32),
    gap_ps=(1 / 2, 1 / 4, 1 / 8),
    gap_runs=6,
    num_trees=4,
    num_tasks=2,
    task_problems=4,
    tree_repeats=80,
    chain_repeats=400,
    task_repeats=60,
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
        if not self.slope.width <= WIDEST_INTERVAL:  # NaN included
            return "interval too wide"
        if self.claimed is None:
            return "no claim"
        if self.slope.contains(self.claimed):
            return "agrees"
        return "excluded, below" if self.slope.high < self.claimed else "excluded, above"


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

    def extend(self, other: LabResult) -> None:
        """Adds what another part of the same lab found."""
        self.findings += other.findings
        self.oracle_points += other.oracle_points
        for group, curves in other.curves.items():
            self.curves.setdefault(group, []).extend(curves)

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
