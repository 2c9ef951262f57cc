"""What the template of the `math` verifier's workers judges before they are forked.

ANTLR builds the automaton of its grammar while it parses, a few milliseconds for each turn that
no text before has taken, and SymPy imports and caches while it computes. These pairs take the
turns that answers in mathematics usually take, so that no worker has to. They decide nothing:
what they do not cover is learnt by each worker when it comes.
"""

from __future__ import annotations

import logging

from resetrl.builtin.math_worker import judge, readings

PAIRS = (
    # Fractions, powers, roots
    ("\\frac{3x+1}{2}", "\\dfrac{1+3x}{2}"),
    ("-\\frac{5}{6}y^{2}", "-5y^2/6"),
    ("\\frac{\\sqrt{7}-1}{4}", "\\frac{-1+\\sqrt{7}}{4}"),
    ("\\frac34", "\\tfrac{3}{4}"),
    ("3^{n+2}", "9 \\cdot 3^n"),
    ("x^{-\\frac{2}{3}}", "\\frac{1}{x^{2/3}}"),
    ("3\\sqrt[3]{4}", "\\sqrt[3]{108}"),
    ("(a+b)^2", "a^2+2ab+b^2"),
    ("(2x-3)(x+4)", "2x^2+5x-12"),
    ("5\\frac{1}{4}", "\\frac{21}{4}"),
    ("\\frac{\\frac{1}{x}+1}{x-1}", "\\frac{1+x}{x(x-1)}"),
    ("\\frac{x+1}{x-1}\\cdot\\frac{1}{x}", "\\frac{x+1}{x^2-x}"),
    ("\\frac{1}{2}(e^{2}-1)", "\\frac{e^2-1}{2}"),
    ("\\sqrt{a^2+b^2}-c", "-c+(a^2+b^2)^{1/2}"),
    ("\\sqrt{2+\\sqrt{3}}", "\\frac{\\sqrt{6}+\\sqrt{2}}{2}"),
    ("\\sqrt[3]{x+1}", "(x+1)^{\\frac{1}{3}}"),
    ("\\left[2(x+1)\\right]^2", "4(x+1)^2"),
    ("-x^3+4x^2-x", "x(-x^2+4x-1)"),
    ("-3^{2}\\cdot(-2)^3", "72"),
    ("(4\\cdot 5)^{-1}+2^{-3}", "\\frac{7}{40}"),
    # Products, signs, decimals, numbers with words
    ("2\\times 3+7\\div 2", "9.5"),
    ("-(-x-4)", "x+4"),
    ("1{,}250.75", "1250.75"),
    ("6.02 \\times 10^{3}", "602 \\cdot 10"),
    ("37.5\\%", "\\frac{3}{8}"),
    ("30 \\text{ cm}^2", "30"),
    ("\\$14.20", "14.2"),
    ("0.\\overline{27}", "\\frac{3}{11}"),
    ("|x-2|", "\\left|2-x\\right|"),
    ("3|x|-|y+1|", "3\\left|x\\right|-\\left|y+1\\right|"),
    ("4!-3", "\\binom{7}{2}"),
    ("\\frac{n!}{k!(n-k)!}", "\\binom{n}{k}"),
    ("\\lfloor 7.5 \\rfloor", "7"),
    # Functions
    ("\\sin\\left(\\frac{\\pi}{3}\\right)", "\\frac{\\sqrt{3}}{2}"),
    ("\\cos^2 u-\\sin^2 u", "\\cos 2u"),
    ("2\\tan\\theta", "\\frac{2\\sin\\theta}{\\cos\\theta}"),
    ("\\sin(2x+1)+\\cos\\frac{x}{2}", "\\cos\\left(\\frac{x}{2}\\right)+\\sin(1+2x)"),
    ("2\\sin a\\cos a", "\\sin(2a)"),
    ("\\tan 15^\\circ", "2-\\sqrt{3}"),
    ("-\\frac{\\pi}{6}+2k\\pi", "2\\pi k-\\frac{\\pi}{6}"),
    ("\\arctan x+1", "\\tan^{-1} x+1"),
    ("\\ln 81", "4\\ln 3"),
    ("\\log_2 5", "\\frac{\\log 5}{\\log 2}"),
    ("e^{2x}+3e", "3e+e^{x}e^{x}"),
    ("-2e^{-x^2}", "-\\frac{2}{e^{x^2}}"),
    ("xe^{-x}+\\sqrt{x}", "\\sqrt{x}+\\frac{x}{e^x}"),
    ("45^\\circ", "45"),
    ("f(t)=t^2-t", "t(t-1)"),
    # Equations, inequalities, several answers
    ("x=-3", "-3"),
    ("y=2x+5", "2x-y+5=0"),
    ("x=1,\\ x=4", "1,4"),
    ("x=2 \\text{ or } x=9", "2,9"),
    ("x=\\frac{1}{2},y=-\\frac{2}{3}", "(\\frac{1}{2},-\\frac{2}{3})"),
    ("\\theta=\\frac{3\\pi}{4}", "\\frac{3\\pi}{4}"),
    ("a_{n+1}=3a_n", "3a_n"),
    ("1\\pm\\sqrt{5}", "1-\\sqrt{5},1+\\sqrt{5}"),
    ("x\\le 6", "(-\\infty,6]"),
    ("-1<x<3", "(-1,3)"),
    ("a\\geq 2b", "2b\\leq a"),
    ("a \\neq 0", "a\\ne 0"),
    # Intervals, sets, points, matrices
    ("[0,\\frac{1}{2})", "\\left[0,0.5\\right)"),
    ("(-\\infty,-4)\\cup(4,\\infty)", "\\left(-\\infty,-4\\right)\\cup\\left(4,+\\infty\\right)"),
    ("[-2,1]\\cup\\{5\\}", "\\{5\\}\\cup[-2,1]"),
    ("x\\in(-\\infty,0)\\cup[1,+\\infty)", "(-\\infty,0)\\cup[1,\\infty)"),
    ("(-\\sqrt{2},\\sqrt{2})", "\\left(-\\sqrt{2},\\sqrt{2}\\right)"),
    ("[-\\frac{1}{2},\\pi]", "\\left[-0.5,\\pi\\right]"),
    ("\\{\\frac{1}{2},a\\}", "\\{a,\\frac{1}{2}\\}"),
    ("\\{(1,2),(3,-4)\\}", "\\left\\{(3,-4),(1,2)\\right\\}"),
    ("\\{1,\\sqrt{2},-3\\}", "\\left\\{-3,1,\\sqrt{2}\\right\\}"),
    ("x\\in[1,8]", "[1,8]"),
    ("(2,-\\frac{1}{3})", "\\left(2,-\\frac{1}{3}\\right)"),
    ("(a,b,2c)", "\\left(a,b,2c\\right)"),
    (
        "\\begin{pmatrix} 1 & -x \\\\ \\frac{1}{2} & 4 \\end{pmatrix}",
        "\\begin{bmatrix}1&-x\\\\0.5&4\\end{bmatrix}",
    ),
    (
        "\\begin{pmatrix}3\\\\-\\sqrt{2}\\end{pmatrix}",
        "\\begin{pmatrix}3\\\\-\\sqrt2\\end{pmatrix}",
    ),
    (
        "\\begin{pmatrix}2\\\\3\\end{pmatrix}+t\\begin{pmatrix}1\\\\-1\\end{pmatrix}",
        "\\begin{pmatrix}2+t\\\\3-t\\end{pmatrix}",
    ),
    # Complex numbers, names, calculus
    ("3-2i", "-2i+3"),
    ("2\\pi r^2+\\alpha", "\\alpha+2\\pi r^{2}"),
    ("x_1+x_{2}", "x_2+x_{1}"),
    ("\\sum_{k=1}^{4} k^2", "30"),
    ("\\sum_{n=0}^{\\infty}\\frac{1}{2^n}", "2"),
    ("\\int_0^1 2x\\,dx", "1"),
    ("\\lim_{x\\to 0} (x+3)", "3"),
    ("\\frac{m(m-3)}{2}", "\\frac{m^2-3m}{2}"),
)
"""Answers and references."""


def warm_up() -> None:
    """Judge the pairs, and forget what they mean."""
    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns of having no time limit
    for answer, reference in PAIRS:
        judge({"answer": answer, "reference": reference})
    readings.cache_clear()
