"""Outputs and values are compared by what they say, never by what they claim to equal."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from resetrl_sandbox.comparison import same_output, same_value
from resetrl_sandbox.inside.program import from_plain, plain

NAN = math.nan


@pytest.mark.parametrize(
    ("given", "expected", "same"),
    [
        ("3\n", "3", True),
        (" 1 2 \n3", "1 2\n3\n", True),
        ("1  2", "1 2", True),
        ("1\n2", "1 2", False),
        ("1.0", "1", True),
        ("1.00", "1.0", True),
        ("0.3333333333", "0.33333333", True),
        ("0.333", "0.333333", False),
        ("1000001", "1000000", False),
        ("0.0", "0", True),
        ("-0.000", "0", True),
        ("0", "0.0", True),
        ("1e3", "1000", True),
        ("+5", "5", True),
        (".5", "0.50", True),
        ("101", "0101", False),
        ("0101", "101", False),
        ("7", "007", False),
        ("00", "0", False),
        ("1_0", "10", False),
        ("\u0661\u0660", "10", False),
        ("9e999", "1e400", False),
        ("1e400", "10e399", True),
        ("1e400", "-1e400", False),
        ("1e999999999999999999999", "1.5", False),
        ("9e999999999999999999", "1e-999999999999999999", False),
        ("1000000500000000", "1000000000000000.0", False),
        ("1000001", "1000000.0", False),
        ("1000000000000000", "1000000000000000.0", True),
        ("1152921504606846977", "1.152921504606847e+18", True),
        ("0.500001", "0.5", True),
        ("0.500002", "0.5", False),
        ("123456.78", "123456.7", True),
        ("3", "2.9999999999", True),
        ("Infinity", "inf", False),
        ("YES", "Yes", False),
        ("nan", "NaN", False),
        ("1e999999999", "1", False),
        ("9" * 10**6, "8" * 10**6, False),
        ("", "", True),
        ("", "0", False),
        ("1 2 3", "1 2", False),
    ],
)
def test_output_is_compared_line_by_line(given: str, expected: str, same: bool) -> None:
    assert same_output(given, expected, 1e-6) is same


def test_without_tolerance_numbers_are_equal_or_not() -> None:
    assert same_output("0.50", "0.5", 0.0)
    assert not same_output("0.5000001", "0.5", 0.0)


@pytest.mark.parametrize(
    ("given", "expected", "same"),
    [
        ([1, 2], [1, 2], True),
        ((1, 2), [1, 2], True),
        ([1, 2], (1, 2), False),
        ((1, [2]), (1, [2]), True),
        ([1], [1, 2], False),
        ({1: [2]}, {1: [2]}, True),
        ({"1": [2]}, {1: [2]}, False),
        ({1, 2}, {2, 1}, True),
        (frozenset({1}), {1}, True),
        ([1], {1}, False),
        (0.1 + 0.2, 0.3, True),
        (1, 1.0, True),
        (2**70, 2**70, True),
        (2**70, 2**70 + 1, False),
        (10**400, 1.0, False),
        (1000001, 1000000.0, False),
        (2**60 + 1, float(2**60), True),
        (3, 2.9999999999, True),
        (math.inf, math.inf, True),
        (1, math.inf, False),
        (10**400, 0.5, False),
        (NAN, NAN, True),
        (0, NAN, False),
        ("1", 1, False),
        (True, 1, True),
        (None, 0, False),
        (1 + 2j, 1 + 2j, True),
        (b"a", b"a", True),
        ({"a": 0.1 + 0.2}, {"a": 0.3}, True),
        ({2: "b", 1.0: "a"}, {True: "a", 2 + 0j: "b"}, True),
        ({(1, "a,b"): 1}, {(1, "a", "b"): 1}, False),
        ({"1", 2}, {1, 2}, False),
        ({None, b"a", "\ud800", 0.5}, {"\ud800", 0.5, b"a", None}, True),
        ({-1, 2**200}, {2**200, -1.0}, True),
        ({frozenset({(1, 2), 3})}, {frozenset({3.0, (True, 2)})}, True),
        ({(1, 2)}, {frozenset({1, 2})}, False),
        ({0.1 + 0.2}, {0.3}, False),
        ({NAN}, {NAN}, True),
    ],
)
def test_values_are_compared_as_equality_has_it(given: Any, expected: Any, same: bool) -> None:
    assert same_value(plain(given), plain(expected), 1e-6) is same


@pytest.mark.parametrize("value", [(1, {2, 3}), {"a": (None,)}, -(2**80), b"x", 1j, [[]]])
def test_a_value_comes_back_as_it_was_written(value: Any) -> None:
    assert from_plain(plain(value)) == value


@pytest.mark.parametrize(
    "given", [{}, {"odd": []}, {"int": 5}, {"set": [[1]]}, {"a": 1, "b": 2}, {"tuple": 3}]
)
def test_what_is_no_written_value_is_never_the_answer(given: Any) -> None:
    for expected in (1, plain((1,)), plain({1}), plain({1: 2}), [1]):
        try:
            assert not same_value(given, expected, 1e-6)
        except (ValueError, TypeError, KeyError):
            continue


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"set": [{"frozenset": "MANY"}]}, {frozenset({1})}),
        ({"dict": [[{"frozenset": "MANY"}, 1]]}, {frozenset({1}): 1}),
        ({"dict": [[{"tuple": [{"frozenset": "MANY"}]}, 1]]}, {(frozenset({1}),): 1}),
    ],
)
def test_members_that_share_one_hash_cost_no_more_than_others(given: Any, expected: Any) -> None:
    """Quadratic work on these 20,000 would take minutes, if hashing or comparing met them."""
    modulus = 2**61 - 1
    members = [{"int": hex(number * modulus)} for number in range(20_000)]
    text = json.dumps(given).replace('"MANY"', json.dumps(members))
    assert not same_value(json.loads(text), plain(expected), 1e-6)


def test_sets_of_another_size_are_not_even_built() -> None:
    given = {"set": [["no hash"]] * 3}
    assert not same_value(given, plain({1, 2}), 1e-6)


def test_subclasses_are_written_as_their_base() -> None:
    class Always(int):
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = int.__hash__

    assert plain([Always(3)]) == [3]


def test_what_is_no_plain_data_is_no_answer() -> None:
    with pytest.raises(TypeError, match="the answer holds function, which is no plain data"):
        plain(plain)
