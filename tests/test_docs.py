"""What docs/writing-a-plugin.md shows is true: its code runs and its commands are right."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from omegaconf import OmegaConf
from typer.testing import CliRunner

from resetrl import hookspecs
from resetrl.method_presets import METHODS_HOOK
from resetrl.plugin_commands import app
from resetrl.plugins import COMMANDS_HOOK, KINDS, Registry, load_plugins
from resetrl.run.compose import compose
from resetrl.run.config import config_dir
from resetrl.run.context import Evaluation, RunContext
from resetrl.testing.contracts.results import run_contract
from resetrl.types import PhaseUsage, StepRecord, Update

PAGE = (Path(__file__).parents[1] / "docs" / "writing-a-plugin.md").read_text(encoding="utf-8")
ALGORITHMS = (Path(__file__).parents[1] / "docs" / "algorithms.md").read_text(encoding="utf-8")
HOOKS = [name for name in vars(hookspecs) if name.startswith("resetrl_")]
OBSERVERS = [hook for hook in HOOKS if hook not in (*KINDS.values(), METHODS_HOOK, COMMANDS_HOOK)]


def blocks(language: str, text: str = PAGE) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def section(hook: str) -> str:
    return re.split(r"^##", PAGE.split(f"\n### {hook}\n")[1], flags=re.MULTILINE)[0]


@pytest.fixture
def my_selector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The page's first file, saved where the page's commands look for it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "my_selector.py"
    file.write_text(blocks("python")[0], encoding="utf-8")
    yield file
    sys.modules.pop("my_selector", None)


def test_every_hook_has_a_heading_with_an_example() -> None:
    assert re.findall(r"^### (resetrl_\w+)$", PAGE, re.MULTILINE) == HOOKS
    assert [hook for hook in HOOKS if f"def {hook}(" not in section(hook)] == []


def test_the_first_file_is_the_one_that_is_to_be_saved() -> None:
    assert blocks("python")[0].startswith("# my_selector.py\n")


def test_the_tests_of_the_page_pass(my_selector: Path) -> None:
    namespace: dict[str, object] = {}
    exec(compile(blocks("python")[1], "writing-a-plugin.md", "exec"), namespace)
    tests = [value for name, value in namespace.items() if name.startswith("test_")]
    assert len(tests) == 2
    for test in tests:
        assert callable(test)
        test()


@pytest.mark.parametrize("hook", KINDS.values())
def test_the_example_of_a_component_keeps_its_contract(hook: str, tmp_path: Path) -> None:
    (example,) = blocks("python", section(hook))
    results = [
        result
        for component in load_plugins([saved(example, tmp_path)])
        if component.source.file.is_relative_to(tmp_path)
        for result in run_contract(component)
    ]
    failures = [result for result in results if result.reason]
    # A built-in's instance is registered under another name: it has its class's docstring.
    assert len(results) > 3 and failures == []


def test_the_example_of_a_method_composes(tmp_path: Path) -> None:
    from resetrl.run.compose import compose, to_run_config

    (example,) = blocks("python", section(METHODS_HOOK))
    registry = load_plugins([saved(example, tmp_path)])
    config = to_run_config(compose(["method=dr_grpo_clipped"], registry))
    assert (config.method, config.advantage) == ("dr_grpo_clipped", "mean_only")
    assert (config.split.name, config.reset_selector, config.loss.name) == ("grpo", None, "clipped")
    assert config.loss.aggregation == "seq_mean_token_sum_norm"
    assert config.loss.fixed_length == config.limits.max_completion_len == 192


def test_the_example_of_a_command_runs(tmp_path: Path) -> None:
    (example,) = blocks("python", section(COMMANDS_HOOK))
    command, source = load_plugins([saved(example, tmp_path)]).commands["say"]
    assert isinstance(command, typer.Typer) and source.file.is_relative_to(tmp_path)
    assert CliRunner().invoke(command, ["hello"]).output == "hello\n"


def test_the_examples_of_observers_write_the_notes_of_a_run(tmp_path: Path) -> None:
    registry = observed(tmp_path)
    run = RunContext(
        name="a run",
        folder=tmp_path,
        config={},
        start_step=0,
        total_steps=2,
        plugins=(),
        console=None,  # type: ignore[arg-type]  # the examples print nothing
    )
    record = StepRecord(1, (), (), (), Update(0.25, 1.0), {}, {})
    evaluation = Evaluation(step=2, accuracy=0.5, reward=0.5, judged=(), usage=PhaseUsage())
    hook = registry.manager.hook
    hook.resetrl_run_started(run=run)
    hook.resetrl_step_finished(run=run, record=record)
    hook.resetrl_evaluated(run=run, evaluation=evaluation)
    hook.resetrl_run_finished(run=run, error=KeyboardInterrupt())
    assert (tmp_path / "notes.txt").read_text().splitlines() == [
        "from step 0 of 2",
        "step 1: loss 0.250",
        "step 2: accuracy 0.50",
        "ended by KeyboardInterrupt",
    ]


def test_the_page_of_algorithms_names_every_method_selector_and_loss() -> None:
    registry = load_plugins(leave_out=["resetrl-example", "resetrl-baselines"])
    methods = [path.stem for path in (config_dir() / "method").glob("*.yaml")]
    selectors, losses = registry.names("reset_selector"), registry.names("loss")
    left_out = [name for name in [*methods, *selectors, *losses] if f"`{name}`" not in ALGORITHMS]
    assert left_out == []


def test_the_settings_the_page_of_algorithms_explains_are_settings() -> None:
    """The first column of the table: `sampling.temperature`, `top_p` names two of `sampling`."""
    config = compose(["method=paper_srpo"], load_plugins())
    rows = re.findall(
        r"^\| (`.*?) \|", ALGORITHMS.split("## The paper's settings")[1], re.MULTILINE
    )
    keys = []
    for row in rows:
        first, *others = re.findall(r"`([\w.]+)`", row.partition(" (")[0])
        parent = first.rpartition(".")[0]
        keys += [first, *(f"{parent}.{other}".lstrip(".") for other in others)]
    assert len(keys) > 25
    assert [key for key in keys if OmegaConf.select(config, key) is None] == []


def observed(folder: Path) -> Registry:
    examples = (blocks("python", section(hook))[0] for hook in OBSERVERS)
    return load_plugins([saved(example, folder) for example in examples])


def saved(example: str, folder: Path) -> Path:
    file = folder / f"example_{len(list(folder.iterdir()))}.py"
    file.write_text(example, encoding="utf-8")
    return file


def test_every_command_of_the_page_works(my_selector: Path) -> None:
    from resetrl.run.compose import compose, to_run_config

    lines = [line for block in blocks("console") for line in block.splitlines()]
    commands = [shlex.split(line.removeprefix("$ ")) for line in lines]
    for program, *arguments in commands:
        if arguments[0] == "plugins":
            result = CliRunner().invoke(app, arguments[1:], catch_exceptions=False)
            assert result.exit_code == 0, result.output
        elif arguments[0] == "train":
            paths = arguments[1].removeprefix("plugin_paths=[").removesuffix("]")
            config = to_run_config(compose(arguments[1:], load_plugins([paths])))
            assert config.reset_selector.name == "mine"
        else:
            assert (program, arguments) == ("pip", ["install", "./resetrl-mine"])
    assert len(commands) == 7
