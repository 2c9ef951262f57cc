"""Fresh resets of the tiny policy: several selectors in the same seeds, and the command's way."""

from __future__ import annotations

import csv
import json
import re
import shlex
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

from resetrl.analysis.command import app
from resetrl.analysis.config import LOCALIZE
from resetrl.errors import ConfigError, ResetrlError
from resetrl.evaluate.setup import set_up
from resetrl.run.rollouts import read_groups
from resetrl.run.tracking import read_journal

SMALL = ["problems=16", "draws=2", "suffixes=2", "task.min_hard=2", "tracking.enabled=false"]


def fresh(folder: Path, *overrides: str) -> Path:
    arguments = ["localization", "--fresh", *SMALL, *overrides, "--out", str(folder)]
    assert CliRunner().invoke(app, arguments, catch_exceptions=False).exit_code == 0
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fresh(tmp_path_factory.mktemp("fresh") / "all")


def resets(folder: Path) -> Mapping[str, list[dict[str, str]]]:
    found = defaultdict(list)
    with (folder / "resets.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            found[row.pop("run")].append(row)
    return found


def test_every_selector_goes_back_in_the_same_seeds(folder: Path) -> None:
    found = resets(folder)
    assert list(found) == ["self_localization", "uniform", "oracle"]
    seeds = [[(row["uid"], row["first_wrong"]) for row in rows] for rows in found.values()]
    assert len(seeds[0]) > 4 and seeds[0] == seeds[1] == seeds[2]
    assert len({uid for uid, _ in seeds[0]}) == len(seeds[0])  # one seed a problem
    assert all(row["num_suffixes"] == "2" for rows in found.values() for row in rows)


def test_the_oracle_is_always_exact(folder: Path) -> None:
    oracle = json.loads((folder / "results.json").read_text())["selectors"]["oracle"]
    assert oracle["exact"]["value"] == 1.0 and oracle["late"]["value"] == 0.0
    assert "corrected_from_erroneous" not in oracle


def test_figures_and_resets_are_kept_in_every_form(folder: Path) -> None:
    assert (folder / "localization.png").read_bytes().startswith(b"\x89PNG")
    assert "Resets of which some suffix is right" in (folder / "localization.md").read_text()
    results = json.loads((folder / "results.json").read_text())
    uniform = results["selectors"]["uniform"]
    (record,) = read_journal(folder / "metrics.jsonl")
    assert record.metrics["localization/uniform/exact"] == uniform["exact"]["value"]
    table = json.loads((folder / "evaluation_rollouts.json").read_text())
    assert table["columns"][:3] == ["selector", "uid", "step"]
    assert len(table["data"]) == 3 * uniform["resets"]


def test_the_rollouts_are_saved_as_those_of_a_run_and_can_be_analysed_again(
    folder: Path, tmp_path: Path
) -> None:
    (first, *_) = read_groups(folder / "uniform" / "rollouts" / "step_000000.jsonl.gz")
    assert first.group.kind == "reset" and first.first_wrong is not None
    arguments = ["localization", str(folder / "uniform"), "--out", str(tmp_path / "out")]
    assert CliRunner().invoke(app, arguments, catch_exceptions=False).exit_code == 0
    assert resets(tmp_path / "out")["uniform"] == resets(folder)["uniform"]


def test_what_is_drawn_does_not_depend_on_the_other_selectors(folder: Path, tmp_path: Path) -> None:
    alone = fresh(tmp_path / "alone", "selectors=[uniform]")
    assert resets(alone)["uniform"] == resets(folder)["uniform"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fresh", "task=local"], "task local does not say which thought is wrong: choose one"),
        (["--fresh", "selectors=[best]"], "reset_selector 'best' is unknown"),
        (["--fresh", "selectors=[uniform,uniform]"], "selectors is .*each once"),
        (["--fresh", "sampling.temperature=0"], "sampling.temperature is 0: all suffixes"),
        (["--fresh", "draws=0"], "draws is 0: choose at least 1"),
        (["--fresh", "--from-step", "3"], "choose saved steps: leave out --fresh"),
        (["task=chain"], "give the folders of runs, or --fresh"),
        ([], "give the folders of runs, or --fresh"),
    ],
)
def test_what_cannot_be_done_is_said(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CliRunner().invoke(app, ["localization", *arguments], catch_exceptions=False)


def test_problems_without_a_wrong_thought_are_said_to_be_too_easy(tmp_path: Path) -> None:
    easy = ["task.max_operations=1", "task.min_operations=1", "problems=1", "draws=1"]
    arguments = [*easy, "task.min_hard=0", "task.rng_seed=1", "tracking.enabled=false"]
    with pytest.raises(ResetrlError, match="none of 1 draws of 1 problems has a wrong thought"):
        CliRunner().invoke(
            app,
            ["localization", "--fresh", *arguments, "--out", str(tmp_path)],
            catch_exceptions=False,
        )


def test_the_commands_of_the_page_are_understood() -> None:
    page = (Path(__file__).parents[2] / "docs" / "localization.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\$ resetrl analyze localization --fresh(.*)$", page, re.MULTILINE)
    for line in lines:
        set_up([word for word in shlex.split(line) if word != "srpo"], LOCALIZE)
    assert len(lines) == 3
