"""Slopes, verdicts and the command, on sweeps small enough for a test."""

from __future__ import annotations

import csv
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from resetrl.errors import ConfigError
from resetrl.theory import measure, session, trials
from resetrl.theory.command import theory
from resetrl.theory.cpi import PERFECT_ORACLE, RANDOM_RESETS
from resetrl.theory.curves import Curve, Slope, crossing, fit_slopes
from resetrl.theory.generators import rare_decision_chain
from resetrl.theory.lab import check, run_stage
from resetrl.theory.measure import Effort, Sweep
from resetrl.theory.results import FULL, QUICK, Finding
from resetrl.theory.trials import set_up

TINY = replace(
    QUICK,
    ps=(1 / 2, 1 / 4, 1 / 8),
    horizons=(4, 6, 8),
    action_counts=(4, 5, 6),
    tau_shares=(1 / 4, 1 / 2, 1.0),
    task_ps=(1 / 4, 1 / 8, 1 / 16),
    gap_ps=(0.5, 0.4, 0.3),
    gap_runs=2,
    num_trees=2,
    num_tasks=1,
    task_problems=2,
    tree_repeats=20,
    chain_repeats=40,
    task_repeats=20,
    bootstraps=30,
    true_positive_rates=(1.0,),
    false_positive_rates=(0.0, 1.0),
)


def app() -> typer.Typer:
    result = typer.Typer()
    result.command("theory")(theory)
    return result


def refusal(*arguments: str) -> str:
    """What the command refuses with, before it writes anything."""
    outcome = CliRunner().invoke(app(), ["--quick", *arguments])
    assert isinstance(outcome.exception, ConfigError)
    return str(outcome.exception)


def test_a_slope_is_the_exponent() -> None:
    x = np.array([1.0, 2.0, 4.0])
    np.testing.assert_allclose(fit_slopes(x, np.stack([3 * x**2, 5 / x])), [2.0, -1.0])
    with pytest.raises(ConfigError, match="over 2 settings"):
        fit_slopes(x[:2], x[:2])


def test_the_crossing_is_where_the_share_is_ninety_percent() -> None:
    from scipy.special import ndtr

    levels = 2.0 ** np.arange(4, 14)
    spans = 1.6448536 * np.sqrt(levels / 700)  # 90 % at exactly 700 samples
    assert crossing(levels, 2 * ndtr(spans) - 1, 0.9) == pytest.approx(700, rel=1e-6)
    leap = np.array([0.0, 0.0, 1.0, 1.0])
    assert crossing(np.array([1.0, 2.0, 4.0, 8.0]), leap, 0.9) == 4.0


def test_ratio_and_interval_of_curves() -> None:
    x = np.array([1.0, 2.0, 4.0])
    replicates = np.stack([x, 2 * x, 3 * x])
    curve = Curve("a", "x", x, 2 * x, replicates, 2 * x)
    ratio = curve.over(replace(curve, y=x, exact=x), "ratio")
    np.testing.assert_allclose(ratio.y, 2.0)
    np.testing.assert_allclose(curve.interval(), [[1.05, 2.1, 4.2], [2.95, 5.9, 11.8]])
    assert curve.slope().value == pytest.approx(1.0)
    assert curve.times(x, "").exact_slope() == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("slope", "claimed", "verdict"),
    [
        (Slope(1.97, 1.9, 2.04), 2.0, "agrees"),
        (Slope(1.9, 1.85, 1.95), 2.0, "excluded, below"),
        (Slope(2.1, 2.05, 2.2), 2.0, "excluded, above"),
        (Slope(2.0, 1.8, 2.2), 2.0, "interval too wide"),
        (Slope(1.0, 0.9, 1.1), None, "no claim"),
        (Slope(2.0, float("nan"), float("nan")), 2.0, "interval too wide"),
    ],
)
def test_verdicts(slope: Slope, claimed: float | None, verdict: str) -> None:
    assert Finding("q", "1/p", claimed, "paper", slope, 2.0).verdict == verdict


def test_measured_samples_and_gains_agree_with_their_exact_counterparts() -> None:
    cases = [[rare_decision_chain(p, 0.1, 4, 4)] for p in (0.5, 0.25, 0.125)]
    sweep = Sweep("1/p", np.array([2.0, 4.0, 8.0]), cases)
    effort = Effort(repeats=300, bootstraps=50, rng_seed=0)
    for oracle in (RANDOM_RESETS, PERFECT_ORACLE):
        curve = measure.samples_curve("", sweep, oracle, trials.advantage_is_accurate, effort)
        np.testing.assert_allclose(curve.y, curve.exact, rtol=0.2)
        curve = measure.improvement_curve("", sweep, oracle, effort)
        # the safe step is 1.96 / (1.645 / 0.5) / sqrt(16) = 15 % short of the noise-free one
        np.testing.assert_allclose(curve.y, 0.85 * curve.exact, rtol=0.05)


def test_one_exact_sample_size_by_hand() -> None:
    # Var / A^2 of the only improvable lane: terms |Y| (pi' - pi) G, G in {0, 1}
    case = rare_decision_chain(0.25, 0.1, 4, 4)
    setup = set_up(case, PERFECT_ORACLE)
    habit = np.array([1 - 1 / 8, *[1 / 24] * 3])
    chance = np.array([0.5, 0.62, 0.44, 0.44])
    second = 4 * ((np.array([0, 1, 0, 0]) - habit) ** 2 @ chance)
    expected = (1.6448536 / 0.5) ** 2 * (second - 0.12**2) / 0.12**2
    rng = np.random.default_rng(0)
    exact = trials.exact_samples(setup, trials.advantage_is_accurate, rng)
    assert exact == pytest.approx(expected, rel=1e-4)


def test_stages_do_not_depend_on_the_order_they_run_in() -> None:
    once = run_stage("number of actions", TINY, 0)
    run_stage("tau", TINY, 0)
    again = run_stage("number of actions", TINY, 0)
    assert once.findings == again.findings
    assert once.findings != run_stage("number of actions", TINY, 1).findings


def test_the_command_leaves_table_files_plots_and_a_tracked_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "QUICK", TINY)
    out = tmp_path / "lab"
    outcome = CliRunner().invoke(app(), ["--quick", "--out", str(out)], catch_exceptions=False)
    assert outcome.exit_code == 0
    assert "95 % interval" in outcome.output
    assert "MLflow run" in outcome.output
    assert {path.name for path in out.glob("*.png")} == {
        "samples-over-p.png",
        "improvement-over-p.png",
        "scaling.png",
        "gap.png",
        "oracles.png",
    }
    with (out / "slopes.csv").open() as file:
        rows = list(csv.DictReader(file))
    claims = {row["quantity"]: row["claimed"] for row in rows if row["dial"] == "1/p"}
    assert claims["samples RR/CARO, tree"] == "2"
    assert claims["improvement CARO/RR, tree"] == "1"
    assert len(rows) == 35
    assert {row["dial"] for row in rows} == {"1/p", "1/tau", "tau", "H", "|Y|"}

    from resetrl.run.tracking.store import Store

    client = Store(f"sqlite:///{out / 'mlflow.db'}").connect()
    experiment = client.get_experiment_by_name("resetrl-theory")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert any(name.startswith("slope/") for name in run.data.metrics)
    assert {"slopes.csv", "scaling.png"} <= {
        artifact.path for artifact in client.list_artifacts(run.info.run_id)
    }


def test_bad_dials_are_one_sentence_with_the_numbers(tmp_path: Path) -> None:
    out = ("--out", str(tmp_path / "lab"))
    assert "p = 0 was given" in refusal("--p", "0", "--p", "0.5", "--p", "0.25", *out)
    assert "p = 1 was given" in refusal("--p", "1", "--p", "0.5", "--p", "0.25", *out)
    assert "2 values of p" in refusal("--p", "0.5", "--p", "0.25", *out)
    assert "tau = 0.9 is above every advantage" in refusal("--tau", "0.9", *out)
    assert "states and 3 actions; its tables need" in refusal("--horizon", "20", *out)
    assert "states and 1,000 actions; its tables need" in refusal("--num-actions", "1000", *out)
    assert not (tmp_path / "lab").exists()


def test_an_output_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lab").write_text("")
    assert "is a file: name a folder" in refusal("--out", str(tmp_path / "lab"))


def test_the_command_module_brings_nothing_heavy() -> None:
    code = (
        "import sys, resetrl.theory.command; heavy = {'numpy', 'scipy', 'matplotlib', 'mlflow'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_presets_can_be_had() -> None:
    for preset in (FULL, QUICK):
        for rng_seed in range(0, 200, 8):
            check(preset, rng_seed)
