"""`resetrl plugins list | info | new | check`, as their users see them."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from textwrap import dedent

import pytest
from typer.testing import CliRunner

from resetrl.errors import ConfigError, PluginError, ResetrlError
from resetrl.plugin_commands import app
from resetrl.plugins import KINDS

HEAVY = ("torch", "transformers", "hydra", "omegaconf", "mlflow", "numpy", "reasoning_gym")

SELECTOR = '''
    from dataclasses import dataclass
    from typing import Literal

    from resetrl.hookspecs import hookimpl
    from resetrl.types import Selection


    @dataclass
    class Mine:
        """Goes back to a thought counted from the end, [not] a tag.

        More about it.

        back: how many thoughts to go back,
            at most to the first.
        """

        back: int = 1
        mode: Literal["a", "b"] = "a"

        def select(self, seeds, context):
            return [Selection(CHOICE, "counted") for seed in seeds]


    @hookimpl
    def resetrl_reset_selectors():
        return {"mine": Mine}
'''
GOOD = "max(1, len(seed.completion.thoughts) - self.back)"


def run(*arguments: object) -> str:
    """What the command prints; what it raises is raised."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, ResetrlError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def write_selector(folder: Path, choice: str = GOOD) -> Path:
    file = folder / "my_file.py"
    file.write_text(dedent(SELECTOR).replace("CHOICE", choice), encoding="utf-8")
    return file


def test_list_imports_nothing_heavy() -> None:
    code = (
        "import sys; from resetrl.plugin_commands import app; app(['list'], standalone_mode=False);"
        f"print('imported', [name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "imported []"
    assert "self_localization" in done.stdout


def test_list_shows_one_row_for_all_tasks_of_reasoning_gym() -> None:
    output = run("list")
    assert output.count("reasoning_gym/*") == 1
    assert "reasoning_gym/chain_sum" not in output
    for word in ("suffix_mean", "1x4", "chain", "builtin", "resetrl"):
        assert word in output


def test_list_as_json_holds_every_component_and_every_plugin(tmp_path: Path) -> None:
    file = write_selector(tmp_path)
    listed = json.loads(run("list", "--json", "--plugin-path", file))
    names = {f"{c['kind']}/{c['name']}" for c in listed["components"]}
    assert {"task/reasoning_gym/chain_sum", "split/1x4", "reset_selector/mine"} <= names
    (mine,) = (c for c in listed["components"] if c["name"] == "mine")
    assert mine["summary"] == "Goes back to a thought counted from the end, [not] a tag."
    assert (mine["distribution"], mine["version"], mine["file"]) == (
        "plugin_paths",
        "unversioned",
        str(file),
    )
    assert mine["options"] == [
        {
            "name": "back",
            "type": "int",
            "required": False,
            "default": 1,
            "help": "how many thoughts to go back, at most to the first.",
        },
        {"name": "mode", "type": "a | b", "required": False, "default": "a", "help": ""},
    ]
    (plugin,) = (p for p in listed["plugins"] if p["file"] == str(file))
    assert plugin["hooks"] == ["resetrl_reset_selectors"]


def test_list_shows_a_plugin_that_only_observes(tmp_path: Path) -> None:
    file = tmp_path / "watcher.py"
    file.write_text(
        "from resetrl.hookspecs import hookimpl\n\n\n@hookimpl\ndef resetrl_evaluated(run): pass\n",
        encoding="utf-8",
    )
    plugins = json.loads(run("list", "--json", "--plugin-path", file))["plugins"]
    assert [p["hooks"] for p in plugins if p["file"] == str(file)] == [["resetrl_evaluated"]]
    assert "evaluated" in run("list", "--plugin-path", file)
    assert "3 checks" not in run("check", file)


def test_list_of_one_kind_leaves_the_others_out() -> None:
    kinds = {c["kind"] for c in json.loads(run("list", "loss", "--json"))["components"]}
    assert kinds == {"loss"}


def test_list_of_an_unknown_kind_names_the_kinds() -> None:
    with pytest.raises(
        ConfigError, match=r"kind 'selector' is unknown: did you mean reset_selector\? Kinds are"
    ):
        run("list", "selector")
    with pytest.raises(ConfigError, match="kind 'x' is unknown: choose reset_selector, "):
        run("list", "x")


@pytest.mark.parametrize("width", [80, 100, 160])
def test_list_has_a_line_for_most_components_at_any_width(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    lines = run("list", "split").splitlines()
    assert [line.split(maxsplit=1)[0] for line in lines if line[2:3].strip()] == [
        "split",
        "1x4",
        "1x8",
        "2x4",
        "grpo",
    ]
    assert max(len(line.rstrip()) for line in lines) <= width
    (other,) = (line for line in lines if line.startswith("  1x8"))
    assert other.rstrip().endswith("like 1x4, with base=0, resets=[8]")


def test_list_says_which_plugin_a_component_is_from() -> None:
    assert "(resetrl" not in run("list", "engine")
    assert "(resetrl-example)" in run("list", "reset_selector")


def test_info_explains_a_component_and_how_to_choose_it(tmp_path: Path) -> None:
    file = write_selector(tmp_path)
    lines = run("info", "mine", "--plugin-path", file).splitlines()
    assert lines[0] == "reset_selector mine"
    assert lines[2] == "Goes back to a thought counted from the end, [not] a tag."
    assert "More about it." in lines
    rows = [" ".join(line.split()) for line in lines if line.startswith(("back", "mode"))]
    assert rows == [
        "back int 1 how many thoughts to go back, at most to the first.",
        "mode a | b a",
    ]
    assert f"source  {file}:9" in lines
    assert lines[-1] == (
        f"choose  resetrl train 'plugin_paths=[{file}]' reset_selector=mine reset_selector.back=1"
    )


def test_info_takes_the_kind_before_the_name() -> None:
    assert "resetrl train split=1x4 split.base=4" in run("info", "split/1x4")
    assert "resetrl train task=reasoning_gym/chain_sum" in run("info", "reasoning_gym/chain_sum")


def test_info_of_a_name_of_two_kinds_lists_both(tmp_path: Path) -> None:
    file = tmp_path / "my_file.py"
    text = dedent(SELECTOR).replace("CHOICE", GOOD).replace('"mine"', '"chain"')
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        run("info", "chain", "--plugin-path", file)
    assert str(caught.value) == (
        "'chain' is of several kinds: choose reset_selector/chain or task/chain"
    )
    assert "counted from the end" in run("info", "reset_selector/chain", "--plugin-path", file)


def test_info_of_an_unknown_name_suggests_one() -> None:
    with pytest.raises(ConfigError) as caught:
        run("info", "unifrom")
    assert str(caught.value) == (
        "no component is called 'unifrom': did you mean 'uniform'; `resetrl plugins list` shows all"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_of_every_kind_passes_its_checks(kind: str, tmp_path: Path) -> None:
    output = run("new", kind, f"my_{kind}", "--folder", tmp_path)
    folder = tmp_path / f"resetrl-my-{kind.replace('_', '-')}"
    assert f"wrote {folder}: edit {folder}/resetrl_my_{kind}.py" in output
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"] == {"resetrl.plugins": {f"my_{kind}": f"resetrl_my_{kind}"}}
    assert "✗" not in run("check", folder)


def test_the_test_of_a_new_plugin_passes(tmp_path: Path) -> None:
    run("new", "reset_selector", "mine", "--folder", tmp_path)
    package = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path / "resetrl-mine",
        env={"PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["Mine", "my-selector", "1st", "class", "", "a b"])
def test_a_new_plugin_needs_a_name_that_can_be_a_module(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="choose small letters, digits and _, a letter first"):
        run("new", "loss", name, "--folder", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_new_plugin_overwrites_nothing(tmp_path: Path) -> None:
    run("new", "loss", "mine", "--folder", tmp_path)
    with pytest.raises(ConfigError, match="resetrl-mine exists already: choose another name"):
        run("new", "split", "mine", "--folder", tmp_path)


def test_a_new_plugin_goes_into_a_folder_that_exists(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere is no folder: create it first"):
        run("new", "loss", "mine", "--folder", tmp_path / "nowhere")


def test_a_new_plugin_of_an_unknown_kind_names_the_kinds(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="kind 'selector' is unknown: choose reset_selector, "):
        run("new", "selector", "mine", "--folder", tmp_path)


def test_check_shows_each_check_of_a_component_that_keeps_its_contract(tmp_path: Path) -> None:
    file = write_selector(tmp_path)
    output = run("check", file)
    assert "✓  reset_selector mine  names a thought of the seed" in output
    assert f"{file}: 8 checks of 1 components passed" in output.replace("\n", "")


@pytest.mark.parametrize(
    ("choice", "reason"),
    [
        (
            "0",
            "1 of 8 checks of {file} failed, the first: reset_selector mine names a thought of the "
            "seed: thought 0 was chosen in a seed of 1 thoughts: choose an integer from 1 to 1 (1 "
            "is the bare prompt)",
        ),
        (
            "1 // 0",
            "5 of 8 checks of {file} failed, the first: reset_selector mine gives one selection a "
            "seed: raised ZeroDivisionError: integer division or modulo by zero (line 23 of "
            "my_file.py)",
        ),
    ],
)
def test_check_fails_with_the_reason(tmp_path: Path, choice: str, reason: str) -> None:
    file = write_selector(tmp_path, choice)
    with pytest.raises(PluginError) as caught:
        run("check", file)
    assert str(caught.value) == reason.format(file=file)


def test_check_asks_for_defaults_and_a_docstring(tmp_path: Path) -> None:
    file = write_selector(tmp_path)
    text = file.read_text(encoding="utf-8").replace("back: int = 1", "back: int")
    start, end = text.index('    """Goes'), text.index("    back: int\n")
    file.write_text(text[:start] + text[end:], encoding="utf-8")
    result = CliRunner().invoke(app, ["check", str(file)])
    assert "mine: give the class a docstring: it is the help text" in result.output
    assert "missing 1 required positional argument: 'back'; give every option a" in result.output
    assert str(result.exception).startswith(f"2 of 2 checks of {file} failed")


def test_check_of_a_path_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"does not exist: give a \.py file or a folder"):
        run("check", tmp_path / "nowhere.py")
