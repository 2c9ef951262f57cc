"""Runs a contract check by check and says what came of each, for `resetrl plugins check`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass

from resetrl.errors import ConfigError
from resetrl.plugins import Component
from resetrl.testing.contracts import contract_for, title


@dataclass(frozen=True)
class Result:
    """One check of one component; the reason is empty if it passed."""

    component: str
    check: str
    reason: str


def run_contract(component: Component) -> Iterator[Result]:
    """The result of each check, on the component with its default options."""
    name = f"{component.kind} {component.name}"
    undocumented = "" if component.doc else "give the class a docstring: it is the help text"
    yield Result(name, "has a docstring", undocumented)
    try:
        built = component.build({})
    except ConfigError as error:
        yield Result(
            name, "can be built from its defaults", f"{error}; give every option a default"
        )
        return
    yield Result(name, "can be built from its defaults", "")
    for contract_check in contract_for(component.kind):
        try:
            contract_check(built)
        except AssertionError as error:
            reason = str(error) or "AssertionError without a message"
        except Exception as error:  # a plugin may fail in any way; all are reported alike
            reason = f"raised {type(error).__name__}: {error}{_place_in(component, error)}"
        else:
            reason = ""
        yield Result(name, title(contract_check), reason)


def _place_in(component: Component, error: Exception) -> str:
    """The last line of the plugin's own file that an error came through."""
    traceback, place = error.__traceback__, ""
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == inspect.getsourcefile(component.cls):
            place = f" (line {traceback.tb_lineno} of {component.source.file.name})"
        traceback = traceback.tb_next
    return place
