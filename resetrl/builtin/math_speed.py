"""Makes math-verify's two slowest steps faster, without changing what they find.

The first is ANTLR's prediction of what a token begins. With the whole context it is exact and
simulates the grammar again each time; with the local context only, it builds an automaton that
later texts use. If that parses a text, the tree is the same, so the whole context is needed only
where it fails (see `PredictionMode.SLL` in antlr4).

The second is SymPy's `simplify`, of which math-verify asks whether a difference is zero. It is
not where two sides have different values at a point, and that is seen in a tenth of the time.

math-verify has no option for either, so `install` replaces them. In worker processes only.
"""

from __future__ import annotations

from typing import Any

from antlr4 import CommonTokenStream, ParserRuleContext
from antlr4.atn.PredictionMode import PredictionMode
from latex2sympy2_extended import latex2sympy2
from latex2sympy2_extended.antlr_parser import PSParser
from math_verify import grader
from math_verify.grader import sympy_symbolic_eq
from sympy import Derivative, Expr, Float, Limit, Rational, Subs
from sympy.concrete.expr_with_limits import ExprWithLimits

_DIGITS = 15
_SURELY_APART = Float(1e-9)
"""The relative difference of two values of 15 digits that no error of computing explains."""

_POINT = tuple(Rational(place, 16) for place in (13, 21, 11, 25, 9, 27, 7, 31))
"""Where symbols are put, in order of their names: positive, where most identities hold."""

_INEXACT = (ExprWithLimits, Limit, Derivative, Subs)
"""What may be evaluated to fewer digits than were asked for, or for ever: integrals, sums."""


def install() -> None:
    """Use the faster steps in this process."""
    latex2sympy2.PSParser = _TwoStageParser
    grader.sympy_symbolic_eq = symbolically_equal


class _TwoStageParser(PSParser):  # type: ignore[misc]
    """The grammar's parser, with the local context first."""

    def __init__(self, tokens: CommonTokenStream) -> None:
        super().__init__(tokens)
        self._interp.predictionMode = PredictionMode.SLL

    def math(self) -> ParserRuleContext:
        """The tree of a text; raises what the parser's listeners raise for a syntax error."""
        try:
            return super().math()
        except Exception:  # what latex2sympy's listeners raise, the lexer's too
            lexer = self.getTokenStream().tokenSource
            lexer.reset()  # so that what is no token is an error again
            self.setTokenStream(CommonTokenStream(lexer))
            self._interp.predictionMode = PredictionMode.LL
            return super().math()


def symbolically_equal(one: Any, other: Any) -> bool:
    """Whether math-verify finds, by simplifying, that a difference is zero."""
    return not _differ_at_a_point(one, other) and bool(sympy_symbolic_eq(one, other))


def _differ_at_a_point(one: Any, other: Any) -> bool:
    """Whether two expressions surely have different values; False where that is not known."""
    if not all(isinstance(each, Expr) and not each.has(*_INEXACT) for each in (one, other)):
        return False
    symbols = sorted(one.free_symbols | other.free_symbols, key=str)
    if len(symbols) > len(_POINT):
        return False
    point = dict(zip(symbols, _POINT, strict=False))
    try:
        a, b = (each.evalf(_DIGITS, subs=point, strict=True) for each in (one, other))
        apart, size = abs(a - b), max(abs(a), abs(b))
    except Exception:  # such as too few digits; an answer may make SymPy raise anything
        return False
    return isinstance(apart, Float) and bool(apart > _SURELY_APART * size)
