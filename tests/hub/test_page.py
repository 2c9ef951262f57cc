"""What docs/tasks.md shows is true: its commands are understood, its manifest is one."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from published import FOLDER
from typer.testing import CliRunner

from resetrl.evaluate.config import EVAL
from resetrl.evaluate.setup import set_up
from resetrl.hub.command import app
from resetrl.hub.manifest import read_manifest, shipped_names
from resetrl.plugins import load_plugins
from resetrl.run.compose import compose

PAGE = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_every_command_of_the_page_is_understood() -> None:
    registry = load_plugins()
    lines = [line.removeprefix("$ ") for block in blocks("console") for line in block.splitlines()]
    for line in lines:
        _, command, *words = shlex.split(line)
        words = [word for word in words if not word.startswith("runs/")]
        if command == "eval":
            set_up(words, EVAL)
        elif command == "train":
            compose(words, registry)
        elif command == "task":
            assert words[0] == "pin" and words[1] in shipped_names()
        else:
            assert line == 'pip install "resetrl[hub]"'
    assert len(lines) == 11


def test_the_page_lists_every_shipped_data_set() -> None:
    rows = re.findall(r"^\| (`[^|]+`) \| \S+/", PAGE, re.MULTILINE)
    listed = []
    for row in rows:
        first, *others = re.findall(r"`(\w+)`", row)
        stem = first.rpartition("_")[0]
        listed += [first, *(stem + other for other in others)]
    assert sorted(listed) == list(shipped_names())


def test_the_manifest_of_the_page_is_one_and_can_be_pinned(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(blocks("yaml")[0])
    assert read_manifest(str(tmp_path / "mine.yaml"), pins=None).subsets == ["socratic"]
    arguments = ["pin", str(tmp_path / "mine.yaml"), "--out", str(tmp_path / "mine.pin.yaml")]
    result = CliRunner().invoke(
        app, [*arguments, "--folder", str(FOLDER / "gsm8k")], catch_exceptions=False
    )
    assert result.output.splitlines()[:2] == [
        "test: 4 problems of 4 rows",
        "train: 8 problems of 8 rows",
    ]
