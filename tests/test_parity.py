"""Every recorded case of what this package computes is reproduced, or refused, by some test."""

import re
from pathlib import Path

from parity import all_cases

TESTS = "\n".join(
    path.read_text(encoding="utf-8")
    for path in Path(__file__).parent.rglob("test_*.py")
    if path != Path(__file__)
)


def test_no_recorded_case_is_left_out():
    """A test names a case, or runs over all cases of its group and status."""
    wholes = set(re.findall(r'case_ids\("(\w+)", "(\w+)"\)', TESTS))
    left_out = [
        case["id"]
        for case in all_cases()
        if (case["group"], case["status"]) not in wholes and f'"{case["id"]}"' not in TESTS
    ]
    assert left_out == []
