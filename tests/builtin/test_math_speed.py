"""What makes math-verify faster changes nothing of what it finds."""

from __future__ import annotations

import pytest
from antlr4 import CommonTokenStream, InputStream
from latex2sympy2_extended.antlr_parser import PSLexer, PSParser
from latex2sympy2_extended.latex2sympy2 import _Latex2Sympy
from sympy import Integral, Symbol, cos, exp, log, pi, sin, sinh, sqrt

from resetrl.builtin import math_speed
from resetrl.builtin.math_speed import _differ_at_a_point, _TwoStageParser, symbolically_equal

x, y = Symbol("x", real=True), Symbol("y", real=True)


def tree(latex: str, parser_type: type[PSParser]) -> str:
    lexer = PSLexer(InputStream(latex))
    parser = parser_type(CommonTokenStream(lexer))
    for recognizer in (lexer, parser):
        recognizer.removeErrorListeners()
        recognizer.addErrorListener(_Latex2Sympy.MathErrorListener(latex))
    return str(parser.math().toStringTree(recog=parser))


@pytest.mark.parametrize(
    "latex",
    [
        "-\\frac{3x^2}{2y}+1",
        "f(x)=2x|x|",
        "(1,\\infty)\\cup[-2,0)",
        "3 \\pm 2\\sqrt{2}",
        "\\sin 2x\\cos x",
        "x=1,y=2",
    ],
)
def test_a_text_has_the_tree_that_the_exact_parser_gives_it(latex: str) -> None:
    assert tree(latex, _TwoStageParser) == tree(latex, PSParser)


@pytest.mark.parametrize("latex", ["p \\land q", "\\frac{1}{", "2+"])
def test_what_the_exact_parser_refuses_is_refused(latex: str) -> None:
    for parser_type in (PSParser, _TwoStageParser):
        with pytest.raises(Exception, match=r"I |missing|token"):
            tree(latex, parser_type)


def test_equal_expressions_are_found_equal() -> None:
    pairs = [
        ((x + 1) ** 2, x**2 + 2 * x + 1),
        (sin(x) ** 2, 1 - cos(x) ** 2),
        (sinh(x), (exp(x) - exp(-x)) / 2),
        (sqrt(5 + 2 * sqrt(6)), sqrt(2) + sqrt(3)),
        (x + Integral(x, (x, 0, 1)), x + sqrt(2) ** -2),
    ]
    for one, other in pairs:
        assert not _differ_at_a_point(one, other)
    assert [symbolically_equal(*pair) for pair in pairs] == [True] * 5


def test_a_point_tells_different_expressions_apart_without_simplifying(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(math_speed, "sympy_symbolic_eq")
    for one, other in [(x * y**2, x**2 * y), (log(2, 3), log(3, 2)), (16 * pi, 50 + 0 * x)]:
        assert not symbolically_equal(one, other)
