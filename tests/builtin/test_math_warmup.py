"""What workers of the math verifier have parsed before they judge is mathematics, and no test."""

from __future__ import annotations

import json
from pathlib import Path

from resetrl.builtin.math_verifier import Math
from resetrl.builtin.math_warmup import PAIRS
from resetrl.testing import make_prompt, make_rollout

TABLE = Path(__file__).parents[1] / "data" / "math_pairs.jsonl"


def test_each_pair_is_judged_right() -> None:
    rollouts = [
        make_rollout([f"\\boxed{{{answer}}}"], prompt=make_prompt("?", reference))
        for answer, reference in PAIRS
    ]
    verdicts = Math(time_limit=60.0).verify(rollouts)
    assert [verdict.details for verdict in verdicts if not verdict.correct] == []


def test_no_text_of_the_table_that_is_measured_is_among_them_but_numbers() -> None:
    rows = [json.loads(line) for line in TABLE.read_text(encoding="utf-8").splitlines()]
    table = {row[side] for row in rows for side in ("answer", "reference")}
    known = {text for pair in PAIRS for text in pair} & table
    assert [text for text in known if not text.isdigit()] == []
