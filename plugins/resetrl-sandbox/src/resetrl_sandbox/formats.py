"""The tests of a problem: our own schema, and what HumanEval+ and MBPP+ have in its place.

Those come as Python code that calls the program and asserts. Run next to the program, such code
would put what it expects, and its own verdict, within the program's reach. So it is read, not
run: inputs and expected values are taken out of it, and what cannot be is refused.
"""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from resetrl.errors import DataError
from resetrl_sandbox.inside.program import plain

Test = dict[str, Any]
"""`{"stdin": text, "output": text}` or `{"args": [values], "output": value}`, values by `plain`."""


def read_tests(details: Mapping[str, object], place: str) -> tuple[list[Test], str | None]:
    """The tests of a problem and the function they call, if any.

    `place` names the problem. Raises DataError if there are none or one cannot be used.
    """
    entry_point = details.get("entry_point") or None
    if entry_point is not None and not isinstance(entry_point, str):
        raise DataError(f"{place}: entry_point is {entry_point!r}: give a function's name")
    if "tests" in details:
        tests = [
            _test(test, entry_point, f"{place}, test {number}")
            for number, test in enumerate(_list(details["tests"], place), start=1)
        ]
    elif "test" in details and entry_point:
        tests = read_check(str(details["test"]), entry_point, place)
    elif "test_list" in details:
        entry_point, tests = read_asserts(_list(details["test_list"], place), place)
    else:
        raise DataError(
            f"{place} has no tests: its details need `tests`, as docs/verifiers.md describes them"
        )
    if not tests:
        raise DataError(f"{place} has an empty list of tests: nothing could fail; add tests")
    return tests, entry_point


def _list(given: object, place: str) -> Sequence[object]:
    """A list, or the text of one in JSON."""
    given = _parsed(given, f"{place}: its list of tests")
    if not isinstance(given, Sequence):
        raise DataError(f"{place}: its tests are {type(given).__name__}: write a list")
    return given


def _parsed(given: object, where: str) -> object:
    """What is given, or what it says in JSON if it is text."""
    if not isinstance(given, str):
        return given
    try:
        return json.loads(given)
    except ValueError as error:
        raise DataError(f"{where} is no JSON ({error}): mend it") from None


def _test(given: object, entry_point: str | None, where: str) -> Test:
    given = _parsed(given, where)
    if not isinstance(given, Mapping):
        raise DataError(f"{where} is {type(given).__name__}: write an object")
    missing = [name for name in ("input", "output", "type") if name not in given]
    if missing:
        raise DataError(f"{where} has no {missing[0]!r}: write input, output and type")
    kind, value, output = given["type"], given["input"], given["output"]
    if kind == "stdin":
        if not isinstance(value, str) or not isinstance(output, str):
            raise DataError(f"{where}: input and output of type stdin must both be text")
        return {"stdin": value, "output": output}
    if kind != "functional":
        raise DataError(f"{where} has type {kind!r}: choose stdin or functional")
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise DataError(f"{where}: the input of type functional is the list of its arguments")
    if entry_point is None:
        raise DataError(f"{where} calls a function, and details['entry_point'] names none")
    return _call(value, output, where)


def _call(arguments: Sequence[object], output: object, where: str) -> Test:
    try:
        return {"args": [plain(each) for each in arguments], "output": plain(output)}
    except TypeError as error:
        raise DataError(f"{where}: {error}") from None


# --- HumanEval+ and MBPP+ ---------------------------------------------------------------------


def read_check(source: str, entry_point: str, place: str = "the problem") -> list[Test]:
    """The tests in the field `test` of a row of HumanEval+ or MBPP+.

    It assigns literals to `inputs` and `results` and loops over both with
    `assertion(candidate(*inp), exp, tolerance)`; raises DataError for anything else, such as a
    reference function in place of results.
    """
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise DataError(f"{place}: its test is no Python ({error.msg}): mend it") from None
    values = {
        node.targets[0].id: node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    if not any(_is_plain_loop(node, entry_point) for node in ast.walk(tree)):
        raise DataError(
            f"{place}: its test is not the loop `assertion(candidate(*inp), exp, 0)` over inputs "
            "and results: rewrite it as details['tests']"
        )
    try:
        inputs, results = (_literal(values[name]) for name in ("inputs", "results"))
        pairs = list(zip(inputs, results, strict=True))
    except (KeyError, ValueError, TypeError):
        raise DataError(
            f"{place}: its test has no literal `inputs` and `results` of equal length: rewrite it "
            "as details['tests']"
        ) from None
    return [_call(arguments, output, place) for arguments, output in pairs]


def _is_plain_loop(node: ast.AST, entry_point: str) -> bool:
    if not isinstance(node, ast.For) or len(node.body) != 1:
        return False
    text = ast.unparse(node.body[0])
    return any(
        text.startswith(f"assertion({name}(*inp), exp,") for name in ("candidate", entry_point)
    )


def read_asserts(asserts: Sequence[object], place: str = "the problem") -> tuple[str, list[Test]]:
    """The function and tests of MBPP's `test_list`: `assert f(1, 2) == 3`, all of one function.

    Raises DataError for any other statement.
    """
    tests, names = [], set()
    for number, line in enumerate(asserts, start=1):
        where = f"{place}, test {number}"
        try:
            (statement,) = ast.parse(str(line)).body
            name, arguments, output = _compared(statement)
        except (SyntaxError, ValueError, TypeError):
            raise DataError(
                f"{where} is not `assert function(literals) == literal`: rewrite it as "
                "details['tests']"
            ) from None
        names.add(name)
        tests.append(_call(arguments, output, where))
    if len(names) != 1:
        raise DataError(f"{place}: its tests call {len(names)} functions: they must call one")
    return names.pop(), tests


def _compared(statement: ast.stmt) -> tuple[str, list[Any], Any]:
    """Function, arguments and expected value of an assertion; raises ValueError for another."""
    match statement:
        case ast.Assert(
            test=ast.Compare(
                left=ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]),
                ops=[ast.Eq()],
                comparators=[expected],
            )
        ):
            return name, [_literal(each) for each in arguments], _literal(expected)
    raise ValueError(ast.unparse(statement))


class _Constants(ast.NodeTransformer):
    """`inf`, `nan` and `float("inf")` as constants, which literals do not include."""

    def visit_Name(self, node: ast.Name) -> ast.AST:
        known = {"inf": math.inf, "nan": math.nan}
        return ast.Constant(known[node.id]) if node.id in known else node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        match node:
            case ast.Call(func=ast.Name(id="float"), args=[ast.Constant(value=str(text))]):
                return ast.Constant(float(text))
        return self.generic_visit(node)


def _literal(node: ast.expr) -> Any:
    return ast.literal_eval(_Constants().visit(node))
