"""The tests of a problem: our own schema, and what HumanEval+ and MBPP+ have in its place.

Those come as Python code that calls the program and asserts. Run next to the program, such code
would put what it expects, and its own verdict, within the program's reach. So it is read, not
run: inputs and expected values are taken out of it, and what cannot be is refused.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping, Sequence
from typing import Any

from resetrl.builtin.programs import cases_of, checked_tests
from resetrl.errors import DataError
from resetrl_sandbox.inside.program import plain

Test = dict[str, Any]
"""`{"stdin": text, "output": text}` or `{"args": [values], "output": value}`, values by `plain`.

A test may have a `tolerance` of its own."""


def read_tests(details: Mapping[str, object], place: str) -> tuple[list[Test], str | None]:
    """The tests of a problem and the function they call, if any.

    `place` names the problem. Raises DataError if there are none or one cannot be used.
    """
    entry_point = details.get("entry_point") or None
    if entry_point is not None and not isinstance(entry_point, str):
        raise DataError(f"{place}: entry_point is {entry_point!r}: give a function's name")
    if "tests" in details:
        tests = [
            _test(test, entry_point, f"{place}: test {number}")
            for number, test in enumerate(checked_tests(details["tests"], "tests", place), start=1)
        ]
    elif "test" in details and entry_point:
        tests = read_check(str(details["test"]), entry_point, place)
    elif "test_list" in details:
        entry_point, tests = read_asserts(
            cases_of(details["test_list"], f"{place}: test_list"), place
        )
    else:
        raise DataError(
            f"{place} has no tests: its details need `tests`, as docs/verifiers.md describes them"
        )
    if not tests:
        raise DataError(f"{place} has no test case: nothing could fail; add tests")
    return tests, entry_point


def _test(given: Mapping[str, Any], entry_point: str | None, where: str) -> Test:
    if given["type"] == "stdin":
        return {"stdin": given["input"], "output": given["output"]}
    if entry_point is None:
        raise DataError(f"{where} calls a function, and details['entry_point'] names none")
    return _call(given["input"], given["output"], where)


def _call(arguments: Sequence[object], output: object, where: str) -> Test:
    try:
        return {"args": [plain(each) for each in arguments], "output": plain(output)}
    except (TypeError, RecursionError) as error:
        raise DataError(f"{where}: {error}") from None


# --- HumanEval+ and MBPP+ ---------------------------------------------------------------------


def read_check(source: str, entry_point: str, place: str = "the problem") -> list[Test]:
    """The tests in the field `test` of a row of HumanEval+ or MBPP+.

    It assigns literals to `inputs` and `results` and loops over both with
    `assertion(candidate(*inp), exp, tolerance)`, where `assertion` is EvalPlus's own. A tolerance
    other than 0 becomes that of the tests. Raises DataError for anything else, such as a reference
    function in place of results, or answers that are compared as sets.
    """
    try:
        statements = _statements(ast.parse(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise DataError(f"{place}: its test is no Python ({error}): mend it") from None
    values: dict[str, ast.expr] = {}
    tolerances = []
    for statement in statements:
        match statement:
            case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant()):
                pass
            case ast.FunctionDef(name=name) if _text_of(statement) in _HELPERS.get(name, ()):
                pass
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if name not in values:
                values[name] = value
            case ast.For():
                tolerances.append(_tolerance(statement, entry_point, place))
            case _:
                raise DataError(
                    f"{place}: its test has `{_shown(statement)}`, which is not of EvalPlus's "
                    "usual form and would have to be run: rewrite it as details['tests']"
                )
    if len(tolerances) != 1:
        raise _no_plain_loop(place)
    try:
        inputs, results = (_literal(values[name]) for name in ("inputs", "results"))
        pairs = list(zip(inputs, results, strict=True))
    except (KeyError, ValueError, TypeError, RecursionError):
        raise DataError(
            f"{place}: its test has no literal `inputs` and `results` of equal length: rewrite it "
            "as details['tests']"
        ) from None
    if not (tolerance := tolerances[0]):
        return [_call(arguments, output, place) for arguments, output in pairs]
    return [
        {**_call(arguments, _inexact(output), place), "tolerance": tolerance}
        for arguments, output in pairs
    ]


def _statements(tree: ast.Module) -> list[ast.stmt]:
    """The statements of a test, those of its function `check` among them."""
    statements: list[ast.stmt] = []
    for statement in tree.body:
        is_check = isinstance(statement, ast.FunctionDef) and statement.name == "check"
        statements += statement.body if is_check else [statement]  # type: ignore[attr-defined]
    return statements


def _tolerance(loop: ast.For, entry_point: str, place: str) -> float:
    """The last argument of the assertion in the loop, if that is the usual one."""
    over = f"{ast.unparse(loop.target)} in {ast.unparse(loop.iter)}"
    match loop.body:
        case [
            ast.Expr(
                value=ast.Call(
                    func=ast.Name(id="assertion"),
                    args=[called, ast.Name(id="exp"), ast.Constant(value=int() | float() as most)],
                    keywords=[],
                )
            )
        ] if over in _LOOPS and ast.unparse(called) in (
            "candidate(*inp)",
            f"{entry_point}(*inp)",
        ):
            return float(most)
    raise _no_plain_loop(place)


def _no_plain_loop(place: str) -> DataError:
    return DataError(
        f"{place}: its test is not the loop `assertion(candidate(*inp), exp, 0)` over inputs "
        "and results: rewrite it as details['tests']"
    )


def _text_of(function: ast.FunctionDef) -> str:
    """A function in one way of writing: without annotations, docstring and messages."""
    body = function.body[ast.get_docstring(function) is not None :]
    for node in body:
        for inner in ast.walk(node):
            if isinstance(inner, ast.Assert):
                inner.msg = None
    arguments = ", ".join(argument.arg for argument in function.args.args)
    decorators = "".join(f"@{ast.unparse(each)} " for each in function.decorator_list)
    return f"{decorators}{arguments}: " + "\n".join(ast.unparse(node) for node in body)


def _shown(statement: ast.stmt) -> str:
    """The first line of a statement."""
    return ast.unparse(statement).strip().split("\n")[0][:80]


def _inexact(value: Any) -> Any:
    """A value whose whole numbers are floats, which a tolerance applies to."""
    if isinstance(value, list | tuple):
        return type(value)(_inexact(each) for each in value)
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


_LOOPS = (
    "(i, (inp, exp)) in enumerate(zip(inputs, results))",
    "(inp, exp) in zip(inputs, results)",
)

_ASSERTION = """
def assertion(out, exp, atol):
    {first}
    if atol == 0 and is_floats(exp):
        atol = 1e-6
    if {differ} and atol != 0:
        {close}
    else:
        assert {same}
"""

_IS_FLOATS = """
def is_floats(x):
    if isinstance(x, float):
        return True
    if isinstance(x, (list, tuple)){and_some}:
        return all(isinstance(i, float) for i in x)
    if isinstance(x, np.ndarray):
        return x.dtype == np.float64 or x.dtype == np.float32
    return False
"""


def _standard() -> dict[str, frozenset[str]]:
    """EvalPlus's helpers by name, as `_text_of` has them, in each of its releases."""
    matching = (
        {"first": "exact_match = out == exp", "differ": "not exact_match", "same": "exact_match"},
        {"first": "", "differ": "out != exp", "same": "out == exp"},
    )
    close = (
        "np.testing.assert_allclose(out, exp, atol=atol)",
        "np.testing.assert_allclose(out, exp, rtol=1e-07, atol=atol)",
        "assert np.allclose(out, exp, rtol=1e-07, atol=atol)",
    )
    sources = {
        "assertion": [_ASSERTION.format(**how, close=each) for how in matching for each in close],
        "is_floats": [_IS_FLOATS.format(and_some=each) for each in ("", " and x")],
    }
    return {
        name: frozenset(
            _text_of(node)
            for source in written
            for node in ast.parse(source).body
            if isinstance(node, ast.FunctionDef)
        )
        for name, written in sources.items()
    }


_HELPERS = _standard()


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
        except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
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
