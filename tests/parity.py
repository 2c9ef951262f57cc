"""Inputs and outputs recorded from the reference, github.com/Ankur-Samanta/SRPO @67f4a26."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any


@cache
def _cases() -> dict[str, dict[str, Any]]:
    path = Path(__file__).parent / "data" / "parity_cases.json"
    return {case["id"]: case for case in json.loads(path.read_text(encoding="utf-8"))["cases"]}


def all_cases() -> list[dict[str, Any]]:
    return list(_cases().values())


def case(case_id: str) -> dict[str, Any]:
    return _cases()[case_id]


def case_ids(group: str, status: str) -> list[str]:
    return [
        case_id
        for case_id, recorded in _cases().items()
        if recorded["group"] == group and recorded["status"] == status
    ]
