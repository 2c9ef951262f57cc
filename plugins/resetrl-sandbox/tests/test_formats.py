"""Tests of a problem are read, in three forms, or refused with the place."""

from __future__ import annotations

import math
import textwrap

import pytest
from resetrl_sandbox.formats import read_asserts, read_check, read_tests

from resetrl.errors import DataError

CHECK = """
METADATA = {"author": "jt"}
import numpy as np

def is_floats(x) -> bool:
    # check if it is float; List[float]; Tuple[float]
    if isinstance(x, float):
        return True
    if isinstance(x, (list, tuple)):
        return all(isinstance(i, float) for i in x)
    if isinstance(x, np.ndarray):
        return x.dtype == np.float64 or x.dtype == np.float32
    return False

def assertion(out, exp, atol):
    exact_match = out == exp

    if atol == 0 and is_floats(exp):
        atol = 1e-6

    if not exact_match and atol != 0:
        assert np.allclose(out, exp, rtol=1e-07, atol=atol)
    else:
        assert exact_match, f"out: {out}, exp: {exp}"

def check(candidate):
    inputs = [[[1, 2], 3], [[], float("inf")]]
    results = [(1, {2}), nan]
    for i, (inp, exp) in enumerate(zip(inputs, results)):
        assertion(candidate(*inp), exp, 0)
"""


def test_both_types_of_tests_are_read() -> None:
    details = {
        "tests": [
            {"input": "1 2\n", "output": "3\n", "type": "stdin"},
            {"input": [1, [2]], "output": {"a": 3}, "type": "functional"},
        ],
        "entry_point": "f",
    }
    tests, entry_point = read_tests(details, "problem p")
    assert entry_point == "f"
    assert tests == [
        {"stdin": "1 2\n", "output": "3\n"},
        {"args": [1, [2]], "output": {"dict": [["a", 3]]}},
    ]


def test_tests_may_be_the_text_of_a_list() -> None:
    text = '[{"input": "1", "output": "2", "type": "stdin"}]'
    assert read_tests({"tests": text}, "problem p") == ([{"stdin": "1", "output": "2"}], None)


@pytest.mark.parametrize(
    ("details", "sentence"),
    [
        ({}, "problem p has no tests"),
        ({"tests": []}, "problem p has no test case: nothing could fail"),
        ({"tests": "[1,"}, "problem p: tests is no JSON .*: mend the row"),
        ({"tests": 3}, "problem p: tests is int, no list: mend the row"),
        ({"tests": ["{"]}, "problem p: test 1 is no JSON"),
        ({"tests": "[" * 100_000}, "problem p: tests is no JSON .*: mend the row"),
        ({"tests": [3]}, "problem p: test 1 is int, no object: mend the row"),
        ({"tests": [{"input": "1", "type": "stdin"}]}, "problem p: test 1 has no 'output'"),
        (
            {"tests": [{"input": 1, "output": "1", "type": "stdin"}]},
            "problem p: test 1: input and output of type stdin must both be text",
        ),
        (
            {"tests": [{"input": "1", "output": "1", "type": "shell"}]},
            "problem p: test 1 has type 'shell': choose stdin or functional",
        ),
        (
            {"tests": [{"input": "1", "output": "1", "type": "functional"}]},
            "problem p: test 1: the input of type functional is the list of its arguments",
        ),
        (
            {"tests": [{"input": [1], "output": 1, "type": "functional"}]},
            r"problem p: test 1 calls a function, and details\['entry_point'\] names none",
        ),
        ({"tests": [], "entry_point": 3}, "problem p: entry_point is 3: give a function's name"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(
    details: dict[str, object], sentence: str
) -> None:
    with pytest.raises(DataError, match=sentence):
        read_tests(details, "problem p")


def test_the_literals_of_a_humaneval_check_become_tests() -> None:
    tests = read_check(CHECK, "f")
    assert tests[0] == {"args": [[1, 2], 3], "output": {"tuple": [1, {"set": [2]}]}}
    assert tests[1]["args"] == [[], math.inf] and math.isnan(tests[1]["output"])


def test_a_tolerance_that_is_not_the_usual_one_becomes_that_of_the_tests() -> None:
    source = CHECK.replace("exp, 0)", "exp, 1e-04)").replace("(1, {2})", "(1, [True])")
    first, _ = read_check(source, "f")
    assert first == {
        "args": [[1, 2], 3],
        "output": {"tuple": [1.0, [True]]},
        "tolerance": 1e-4,
    }
    assert isinstance(first["output"]["tuple"][0], float)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("assert np.allclose(out, exp, rtol=1e-07,", "np.testing.assert_allclose(out, exp,"),
        ("(list, tuple)):", "(list, tuple)) and x:"),
        ("candidate(*inp)", "f(*inp)"),
    ],
)
def test_the_helpers_of_other_releases_are_known(old: str, new: str) -> None:
    assert read_check(CHECK.replace(old, new), "f")[0] == read_check(CHECK, "f")[0]


def test_a_check_without_a_function_around_it_is_read() -> None:
    head, _, body = CHECK.partition("def check(candidate):\n")
    source = head + textwrap.dedent(body)
    assert read_check(source, "f")[0] == read_check(CHECK, "f")[0]


def test_the_row_of_a_dataset_is_enough() -> None:
    tests, entry_point = read_tests({"test": CHECK, "entry_point": "f"}, "problem p")
    assert (len(tests), entry_point) == (2, "f")
    mbpp = {"test_list": ["assert f(1, 'a') == [2.5]", "assert f(-1, None) == True"]}
    assert read_tests(mbpp, "problem p") == (
        [{"args": [1, "a"], "output": [2.5]}, {"args": [-1, None], "output": True}],
        "f",
    )


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("exp, 0)", "ref(*inp), 0)", "is not the loop"),
        ("assertion(candidate(*inp)", "assertion(set(candidate(*inp))", "is not the loop"),
        ("[(1, {2}), nan]", "[(1, {2})]", "no literal `inputs` and `results` of equal length"),
        ("[(1, {2}), nan]", "[open('x'), nan]", "no literal `inputs`"),
        ("def check", "def def", "is no Python"),
        ("exact_match = out == exp", "exact_match = set(out) == set(exp)", "`def assertion"),
        ("rtol=1e-07", "rtol=0.1", "`def assertion"),
        ("return False", "return True", "`def is_floats"),
        ("def assertion", "@lenient\ndef assertion", "`@lenient`"),
        ("    for i,", "    inputs = inputs[:1]\n    for i,", r"`inputs = inputs\[:1\]`"),
        ("    for i,", "    results += [1]\n    for i,", r"`results \+= \[1\]`"),
        ("exp, 0)", "exp, tolerance)", "is not the loop"),
        ("zip(inputs, results)", "zip(inputs, reversed(results))", "is not the loop"),
        ("[(1, {2}), nan]", "[" + "-" * 5000 + "1]", "is no Python"),
    ],
)
def test_a_check_that_has_to_be_run_is_refused(old: str, new: str, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        read_check(CHECK.replace(old, new), "f")


@pytest.mark.parametrize(
    "line",
    ["assert f(1) > 2", "assert set(f(1)) == {1}", "f(1)", "assert f(x) == 1", "assert f(1) == ("],
)
def test_an_assertion_of_another_form_is_refused(line: str) -> None:
    with pytest.raises(DataError, match="the problem, test 2 is not `assert function"):
        read_asserts(["assert f(1) == 1", line])


def test_assertions_on_two_functions_are_refused() -> None:
    with pytest.raises(DataError, match="call 2 functions"):
        read_asserts(["assert f(1) == 1", "assert g(1) == 1"])
