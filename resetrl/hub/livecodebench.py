"""The test cases of LiveCodeBench rows, decoded without running anything that is in them.

Public ones are JSON text; private ones are JSON text within a pickle, compressed, in base64
(github.com/LiveCodeBench/LiveCodeBench, its code_generation benchmark). A pickle may run any code,
so only one that holds nothing but a text is read.
"""

from __future__ import annotations

import base64
import binascii
import pickletools
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from resetrl.builtin.programs import REMEDY, cases_of, function_name, json_of
from resetrl.builtin.rows import Row, text_of
from resetrl.errors import DataError

MAX_BYTES = 512 * 2**20
"""What the private test cases of one problem may unpack to."""


def question_of(question: str, row: Row, place: str) -> str:
    """The question with its starter code, and where input and output go."""
    starter = text_of(row, "starter_code", place, REMEDY)
    if starter:
        return f"{question}\n\nComplete this Python code:\n{starter}"
    return (
        f"{question}\n\nWrite a Python program that reads the input from standard input and writes "
        "the answer to standard output."
    )


def details_of(row: Row, place: str) -> dict[str, object]:
    """What the verifier `code` needs: `tests`, and `entry_point` where a function is wanted.

    A test is `{"input": "3 4\\n", "output": "7\\n", "type": "stdin"}` or
    `{"input": [3, 4], "output": 7, "type": "functional"}`. Raises DataError.
    """
    given = text_of(row, "public_test_cases", place, REMEDY)
    public = cases_of(given, f"{place}: public_test_cases")
    private = _private_cases(text_of(row, "private_test_cases", place, REMEDY), place)
    tests = [_test(case, place) for case in (*public, *private)]
    if not tests:
        raise DataError(f"{place} has no test case: {REMEDY}")
    details: dict[str, object] = {"tests": tests}
    if any(test["type"] == "functional" for test in tests):
        details["entry_point"] = _entry_point(text_of(row, "metadata", place, REMEDY), place)
    return details


def _private_cases(text: str, place: str) -> Sequence[Any]:
    where = f"{place}: private_test_cases"
    if not text or text.startswith("["):
        return cases_of(text or "[]", where)
    try:
        packed = zlib.decompressobj()
        data = packed.decompress(base64.b64decode(text, validate=True), MAX_BYTES)
        if packed.unconsumed_tail:
            raise ValueError(f"it unpacks to more than {MAX_BYTES // 2**20} MiB")
        unpickled = _pickled_text(data)
    except (binascii.Error, zlib.error, ValueError) as error:
        raise DataError(f"{where} cannot be decoded ({error}): {REMEDY}") from None
    return cases_of(unpickled, where)


def _pickled_text(data: bytes) -> str:
    """The text that a pickle holds; ValueError if it would make anything but one text.

    Its instructions are only read, never carried out, so that no pickle can do harm.
    """
    texts = []
    for operation, argument, _ in pickletools.genops(data):
        if operation.name in _TEXT:
            texts.append(argument)
        elif operation.name not in _AROUND_A_TEXT:
            raise ValueError(f"the pickle holds more than a text: {operation.name}")
    if len(texts) != 1:
        raise ValueError(f"the pickle holds {len(texts)} texts, not one")
    return str(texts[0])


_TEXT = frozenset(("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"))
_AROUND_A_TEXT = frozenset(("PROTO", "FRAME", "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "STOP"))


def _test(case: Any, place: str) -> dict[str, Any]:
    case = case if isinstance(case, Mapping) else {}
    given = {name: case.get(name) for name in ("input", "output")}
    if not all(isinstance(value, str) for value in given.values()):
        raise DataError(f"{place}: a test case lacks input or output as text: {REMEDY}")
    if case.get("testtype", "stdin") != "functional":
        return {**given, "type": "stdin"}
    lines = [line for line in given["input"].split("\n") if line.strip()]
    return {
        "input": [json_of(line, f"{place}: an argument of a test case") for line in lines],
        "output": json_of(given["output"], f"{place}: the output of a test case"),
        "type": "functional",
    }


def _entry_point(metadata: str, place: str) -> str:
    known = json_of(metadata or "{}", f"{place}: metadata")
    name = known.get("func_name") if isinstance(known, Mapping) else None
    return function_name(name, "metadata's func_name", place)
