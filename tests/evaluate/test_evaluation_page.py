"""What docs/evaluation.md shows is true: its commands are understood, its suite is one."""

import re
import shlex
from pathlib import Path

from resetrl.evaluate.config import CORRECT, EVAL, EvalConfig
from resetrl.evaluate.setup import set_up
from resetrl.evaluate.suite import labelled_tasks
from resetrl.run.compose import to_typed

PAGE = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_every_command_of_the_page_is_understood(trained_run):
    lines = [line for block in blocks("console") for line in block.splitlines()]
    for line in lines:
        program, command, *arguments = shlex.split(line.removeprefix("$ "))
        words = [str(trained_run) if word.startswith("runs/") else word for word in arguments]
        setup = set_up(words, {"eval": EVAL, "correct": CORRECT}[command])
        assert program == "resetrl"
        assert (setup.run is not None) == (str(trained_run) in words)
    assert len(lines) == 6


def test_the_suite_of_the_page_is_one(tmp_path):
    (tmp_path / "mine.yaml").write_text(blocks("yaml")[0])
    setup = set_up([f"suite={tmp_path / 'mine.yaml'}"], EVAL)
    tasks = labelled_tasks(to_typed(setup.config, EvalConfig), setup.registry)
    assert [(task.label, task.num_problems) for task in tasks] == [
        ("easy", 100),
        ("hard", 200),
        ("gcd", 50),
    ]


def test_every_option_of_the_page_exists(trained_run):
    rows = re.findall(r"^\| (`[^|]+`) \|", PAGE, re.MULTILINE)
    options = re.findall(r"([a-z_]+(?:\.[a-z_]+)?)=", " ".join(rows))
    known = [set_up([str(trained_run)], primary).config for primary in (EVAL, CORRECT)]
    assert options and all(any(_has(config, name) for config in known) for name in options)


def _has(config, name):
    group, _, option = name.partition(".")
    return group in config and (not option or option in config[group])
