"""What docs/verifiers.md shows is true: its code runs, its commands compose, its names exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from resetrl.builtin.local import Local
from resetrl.plugins import load_plugins, options_of
from resetrl.run.build import build_component
from resetrl.run.compose import compose, to_run_config

PAGE = (Path(__file__).parents[1] / "docs" / "verifiers.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("code", blocks("python"))
def test_the_code_of_the_page_runs(code: str) -> None:
    exec(compile(code, "verifiers.md", "exec"), {})


def test_the_commands_of_the_page_build_the_task_they_name() -> None:
    registry = load_plugins()
    lines = [line for block in blocks("console") for line in block.splitlines()]
    assert len(lines) == 4
    for line in lines:
        program, command, *overrides = shlex.split(line.removeprefix("$ "))
        assert (program, command) == ("resetrl", "train")
        config = to_run_config(compose(overrides, registry))
        assert isinstance(build_component(registry, "task", config.task), Local)


def test_the_table_names_every_built_in_verifier_with_its_options() -> None:
    rows = re.findall(r"^\| `(\w+)` \| .* \| (.*)\|$", PAGE, re.MULTILINE)
    listed = {name: re.findall(r"`(\w+)`", options) for name, options in rows}
    builtin = [
        c
        for c in load_plugins()
        if c.kind == "verifier" and c.source.file.parts[-3:-1] == ("resetrl", "builtin")
    ]
    assert listed == {c.name: [option.name for option in options_of(c.cls)] for c in builtin}
