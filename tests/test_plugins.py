"""The loader: every source of plugins, every hook, and every way a plugin can be wrong."""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from typer.testing import CliRunner

import resetrl
from resetrl import cli, hookspecs
from resetrl.errors import ConfigError, PluginError
from resetrl.plugins import HOOKS, KINDS, list_names, load_plugins
from resetrl.splits import GroupSplit

ROOT = Path(__file__).parents[1]
BUILTIN = Path(resetrl.__file__).parent / "builtin" / "__init__.py"

SELECTOR = """
    from dataclasses import dataclass
    from typing import Literal

    from resetrl.hookspecs import hookimpl
    from resetrl.types import Selection


    @dataclass
    class First:
        \"\"\"Goes back to the bare prompt.\"\"\"

        temperature: float = 1.0
        mode: Literal["a", "b"] = "a"

        def __post_init__(self):
            if self.temperature < 0:
                raise ValueError(f"temperature is {self.temperature}: choose 0 or more")

        def select(self, seeds, context):
            return [Selection(1, "first") for _ in seeds]


    @hookimpl
    def resetrl_reset_selectors():
        return {"first": First}
"""


@pytest.fixture(autouse=True)
def no_module_left() -> Iterator[None]:
    """What a test imports is forgotten, so that tests may call their modules alike."""
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith(("resetrl_", "my_")):
            del sys.modules[name]


def write(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(dedent(text), encoding="utf-8")
    return file


Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs a distribution of one module, as pip leaves it behind."""
    site = tmp_path / "site-packages"
    site.mkdir()
    monkeypatch.syspath_prepend(site)

    def install(distribution: str, module: str, text: str, entry_point: str = "") -> Path:
        info = site / f"{distribution.replace('-', '_')}-1.2.dist-info"
        write(info / "METADATA", f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
        value = entry_point or f"{module} = {module}"
        write(info / "entry_points.txt", f"[resetrl.plugins]\n{value}\n")
        importlib.invalidate_caches()
        return write(site / f"{module}.py", text)

    return install


def error_of(*paths: Path) -> str:
    with pytest.raises(PluginError) as caught:
        load_plugins(paths)
    return str(caught.value)


# Every hook: what it is given and what comes of it.


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (
            "reset_selector",
            ["fixed_fraction", "last", "offset", "oracle", "self_localization", "uniform"],
        ),
        ("verifier", ["exact", "math", "multiple_choice", "short_answer", "yes_no"]),
        ("split", ["1x4", "1x8", "2x4", "grpo"]),
        ("loss", ["clipped", "suffix_mean", "truncated_is"]),
        ("engine", ["transformers", "vllm"]),
        ("learner", ["deepspeed", "torch"]),
    ],
)
def test_the_built_in_components_are_registered_as_any_plugin_is(
    kind: str, names: list[str]
) -> None:
    builtin = [c.name for c in load_plugins() if c.kind == kind and c.source.file == BUILTIN]
    assert builtin == names


def test_hook_resetrl_reset_selectors_registers_a_class(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.py", SELECTOR)
    component = load_plugins([file]).get("reset_selector", "first")
    assert component.summary == "Goes back to the bare prompt."
    assert str(component.source) == f"plugin_paths unversioned ({file})"
    assert vars(component.build({"temperature": 0.3})) == {"temperature": 0.3, "mode": "a"}


def registered(tmp_path: Path, hook: str, body: str) -> object:
    """What the component `x` of a plugin with one hook comes to with its defaults."""
    text = f"""
        from dataclasses import dataclass
        from resetrl.hookspecs import hookimpl
        from resetrl.splits import GroupSplit


        @dataclass
        class X:
            size: int = 3
            {body}


        @hookimpl
        def {hook}():
            return {{"x": X}}
    """
    (kind,) = (kind for kind, name in KINDS.items() if name == hook)
    return load_plugins([write(tmp_path / "x.py", text)]).get(kind, "x").build({"size": 4})


def test_hook_resetrl_verifiers(tmp_path: Path) -> None:
    verifier = registered(tmp_path, "resetrl_verifiers", "def verify(self, rollouts): return []")
    assert verifier.verify([]) == []  # type: ignore[attr-defined]


def test_hook_resetrl_group_splits_registers_an_instance_with_its_values(tmp_path: Path) -> None:
    text = """
        from resetrl.hookspecs import hookimpl
        from resetrl.splits import GroupSplit


        @hookimpl
        def resetrl_group_splits():
            return {"3x2": GroupSplit(base=0, resets=(2, 2, 2))}
    """
    component = load_plugins([write(tmp_path / "x.py", text)]).get("split", "3x2")
    assert component.build({}) == GroupSplit(0, (2, 2, 2))
    assert component.build({"base": 4}) == GroupSplit(4, (2, 2, 2))


def test_hook_resetrl_samplers(tmp_path: Path) -> None:
    body = "budget = 2; sample = lambda self, *arguments: arguments"
    sampler = registered(tmp_path, "resetrl_samplers", body)
    assert sampler.sample(1, []) == (1, [])  # type: ignore[attr-defined]


def test_hook_resetrl_losses(tmp_path: Path) -> None:
    body = "ignores_zero_advantage = needs_reference = True; loss = lambda self, lp, batch: (0, {})"
    loss = registered(tmp_path, "resetrl_losses", body)
    assert loss.loss(0, 0) == (0, {})  # type: ignore[attr-defined]


def test_an_object_is_traced_to_the_component_and_the_code_it_is_from() -> None:
    from resetrl.builtin.selectors import Uniform
    from resetrl.splits import GroupSplit
    from resetrl.testing import RecordingLearner

    registry = load_plugins()
    where = "resetrl 0.1.0 ("
    assert registry.origin(Uniform()).startswith(f"reset_selector 'uniform' of {where}")
    assert registry.origin(GroupSplit(2)).startswith(f"split GroupSplit of {where}")
    assert registry.origin(RecordingLearner()).startswith(f"RecordingLearner of {where}")
    assert registry.origin(3) == "int (builtins)"


def test_hook_resetrl_tasks(tmp_path: Path) -> None:
    body = "problems = lambda self, purpose: []; verifier = lambda self: None"
    task = registered(tmp_path, "resetrl_tasks", body)
    assert task.problems("train") == []  # type: ignore[attr-defined]


def test_hook_resetrl_engines(tmp_path: Path) -> None:
    body = "def start(self, model, tokenizer, delimiter, ranks=None): return self.size"
    engine = registered(tmp_path, "resetrl_engines", body)
    assert engine.start(0, 0, "") == 4  # type: ignore[attr-defined]


def test_hook_resetrl_learners(tmp_path: Path) -> None:
    body = "def start(self, model): return self.size"
    learner = registered(tmp_path, "resetrl_learners", body)
    assert learner.start(0) == 4  # type: ignore[attr-defined]


METHOD = """
    from resetrl.hookspecs import hookimpl


    @hookimpl
    def resetrl_methods():
        return {"mine": {"defaults": [
            {"override /split": "grpo"},
            {"override /reset_selector": None},
        ], "advantage": "none", "loss": {"kl": 0.5}}}
"""


def test_hook_resetrl_methods(tmp_path: Path) -> None:
    registry = load_plugins([write(tmp_path / "mine.py", METHOD)])
    preset = registry.methods["mine"]
    assert preset.choices == {"split": "grpo", "reset_selector": None}
    assert preset.values == {"advantage": "none", "loss": {"kl": 0.5}}
    assert preset.summary == "split=grpo advantage=none loss.kl=0.5"


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ('"mine"', '"grpo"', "resetrl ships a method of that name: choose another"),
        ('"mine"', '"my method"', "a name is made of letters, digits, _, -, . and /"),
        ('"grpo"', '"gppo"', "chooses split 'gppo', which is unknown: choose 1x4, 1x8, 2x4, grpo"),
        (
            "/split",
            "/splits",
            f"overrides 'splits': choose {', '.join(KINDS)}",
        ),
        (
            '{"override /split": "grpo"}',
            '"grpo"',
            "has 'grpo' among its defaults: each is {'override /KIND': name}, with None for no "
            "such component",
        ),
    ],
)
def test_a_method_that_makes_no_sense_is_named(
    tmp_path: Path, before: str, after: str, reason: str
) -> None:
    file = write(tmp_path / "mine.py", METHOD.replace(before, after))
    message = error_of(file)
    assert message.startswith("method '") and f"of plugin_paths unversioned ({file})" in message
    assert message.endswith(reason)


COMMAND = """
    import typer
    from resetrl.hookspecs import hookimpl

    app = typer.Typer()

    @app.callback()
    def about():
        pass

    @app.command()
    def hello():
        typer.echo("hello")

    @hookimpl
    def resetrl_commands():
        return {"say": app}
    """


def test_hook_resetrl_commands_adds_to_the_command_line(install: Install) -> None:
    install("resetrl-one", "my_one", COMMAND)
    assert CliRunner().invoke(cli.app, ["say", "hello"]).output == "hello\n"
    assert "No such command 'sai'" in CliRunner().invoke(cli.app, ["sai"]).output
    assert re.search(r"│ say +", CliRunner().invoke(cli.app, ["--help"]).output)


def test_help_goes_on_without_the_commands_of_a_plugin_that_does_not_load(
    install: Install,
) -> None:
    install("resetrl-one", "my_one", "raise OSError('no disk')")
    shown = CliRunner().invoke(cli.app, ["--help"])
    assert "│ train " in shown.output
    assert "commands of plugins are left out: plugin 'my_one' of resetrl-one" in shown.output


def test_a_command_of_another_kind_is_refused(install: Install) -> None:
    install("resetrl-one", "my_one", COMMAND.replace('"say": app', '"say": hello'))
    with pytest.raises(PluginError, match=r"command 'say' of resetrl-one .*register a typer.Typer"):
        CliRunner().invoke(cli.app, ["say"], catch_exceptions=False)


def test_two_plugins_with_one_command_are_both_named(install: Install) -> None:
    install("resetrl-one", "my_one", COMMAND)
    install("resetrl-two", "my_two", COMMAND)
    message = error_of()
    assert message.startswith("command 'say' is registered by both resetrl-")
    assert "resetrl-one 1.2" in message and "resetrl-two 1.2" in message


def test_two_plugins_with_one_method_name_are_both_named(install: Install) -> None:
    install("resetrl-one", "my_one", METHOD)
    install("resetrl-two", "my_two", METHOD)
    message = error_of()
    assert message.startswith("method 'mine' is registered by both resetrl-")
    assert "resetrl-one 1.2" in message and "resetrl-two 1.2" in message


@pytest.mark.parametrize(
    ("returned", "reason"),
    [
        ("[]", "resetrl_methods returned []: return {name: values}"),
        ('{"mine": []}', '"advantage": "none"}'),
    ],
)
def test_what_is_no_mapping_is_no_method(tmp_path: Path, returned: str, reason: str) -> None:
    text = f"""
        from resetrl.hookspecs import hookimpl


        @hookimpl
        def resetrl_methods():
            return {returned}
    """
    assert error_of(write(tmp_path / "mine.py", text)).endswith(reason)


@pytest.mark.parametrize(
    ("hook", "arguments"),
    [
        ("resetrl_run_started", {"run": []}),
        ("resetrl_step_finished", {"run": [], "record": "a record"}),
        ("resetrl_evaluated", {"run": [], "evaluation": "an evaluation"}),
        ("resetrl_run_finished", {"run": [], "error": None}),
    ],
)
def test_an_observer_is_called_with_the_arguments_it_asks_for(
    hook: str, arguments: dict[str, object], tmp_path: Path
) -> None:
    parameters = ", ".join(arguments)
    text = f"""
        from resetrl.hookspecs import hookimpl


        @hookimpl
        def {hook}({parameters}):
            run.append(({parameters}))
    """
    registry = load_plugins([write(tmp_path / "observer.py", text)])
    getattr(registry.manager.hook, hook)(**arguments)
    seen = arguments["run"]
    assert isinstance(seen, list) and len(seen) == 1
    assert registry.hooks_of(next(name for name in registry.sources if "observer" in name)) == [
        hook
    ]


def test_every_hook_is_used_by_a_shipped_plugin_and_covered_by_a_test_here() -> None:
    """Its heading in docs/writing-a-plugin.md is asked for by tests/test_docs.py."""
    shipped = [*(ROOT / "resetrl").rglob("*.py"), *(ROOT / "plugins").rglob("src/**/*.py")]
    code = "\n".join(
        file.read_text(encoding="utf-8")
        for file in shipped
        if file.name != "hookspecs.py" and "testing" not in file.parts
    )
    used = set(re.findall(r"@hookimpl\n\s*def (resetrl_\w+)\(", code))
    tests = Path(__file__).read_text(encoding="utf-8")
    assert list(HOOKS) == [name for name in vars(hookspecs) if name.startswith("resetrl_")]
    assert [hook for hook in HOOKS if hook not in used] == []
    named = [(f"def test_hook_{hook}", f'("{hook}", {{') for hook in HOOKS]
    assert [either for either in named if not any(name in tests for name in either)] == []
    assert set(KINDS.values()) < set(HOOKS)


# Where plugins come from.


def test_an_installed_plugin_is_found_by_its_entry_point(install: Install) -> None:
    file = install("resetrl-foo", "my_foo", SELECTOR)
    registry = load_plugins()
    component = registry.get("reset_selector", "first")
    assert str(component.source) == f"resetrl-foo 1.2 ({file})"
    assert registry.hooks_of("my_foo") == ["resetrl_reset_selectors"]


def test_an_installed_plugin_can_be_left_out(install: Install) -> None:
    install("resetrl-foo", "my_foo", SELECTOR)
    assert "first" not in load_plugins(leave_out=["resetrl-foo"]).names("reset_selector")


def test_a_folder_of_files_leaves_out_those_that_begin_with_an_underscore(tmp_path: Path) -> None:
    write(tmp_path / "one.py", SELECTOR)
    write(tmp_path / "two.py", SELECTOR.replace('"first"', '"second"'))
    write(tmp_path / "_helper.py", "raise RuntimeError")
    names = load_plugins([tmp_path]).names("reset_selector")
    assert {"first", "second"} < set(names)


def test_a_package_is_loaded_with_its_modules(tmp_path: Path) -> None:
    write(tmp_path / "my_package" / "parts.py", SELECTOR)
    write(
        tmp_path / "my_package" / "__init__.py",
        "from .parts import resetrl_reset_selectors as resetrl_reset_selectors\n",
    )
    assert load_plugins([tmp_path / "my_package"]).get("reset_selector", "first")


@pytest.mark.parametrize("place", ["src/my_module/__init__.py", "my_module.py"])
def test_a_distribution_folder_needs_no_installation(tmp_path: Path, place: str) -> None:
    project = """
        [project]
        name = "resetrl-bar"
        version = "3.1"

        [project.entry-points."resetrl.plugins"]
        bar = "my_module"
    """
    write(tmp_path / "pyproject.toml", project)
    file = write(tmp_path / place, SELECTOR)
    source = load_plugins([tmp_path]).get("reset_selector", "first").source
    assert str(source) == f"resetrl-bar 3.1 ({file})"


def test_the_manifest_says_name_version_and_hash_of_the_code(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.py", SELECTOR)
    name = f"resetrl_path_mine_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}"
    entry = next(e for e in load_plugins([file]).manifest() if e["plugin"] == name)
    expected = hashlib.sha256(b"mine.py\0" + file.read_bytes()).hexdigest()
    assert entry == {
        "plugin": name,
        "distribution": "plugin_paths",
        "version": "unversioned",
        "sha256": expected,
    }


def test_the_manifest_changes_with_any_file_of_a_plugins_package(tmp_path: Path) -> None:
    package = tmp_path / "my_package"
    write(package / "__init__.py", SELECTOR)
    helper = write(package / "deep" / "helper.py", "a = 1")

    def hashes() -> list[str]:
        return [entry["sha256"] for entry in load_plugins([package]).manifest()]

    before = hashes()
    assert hashes() == before
    helper.write_text("a = 2", encoding="utf-8")
    assert sum(new != old for new, old in zip(hashes(), before, strict=True)) == 1


# What can be wrong, each in the words a user reads.


def test_two_distributions_with_one_component_name_are_both_named(install: Install) -> None:
    one = install("resetrl-one", "my_one", SELECTOR)
    two = install("resetrl-two", "my_two", SELECTOR)
    message = error_of()
    assert message.startswith("reset_selector 'first' is registered by both resetrl-")
    assert f"resetrl-one 1.2 ({one})" in message and f"resetrl-two 1.2 ({two})" in message
    assert message.endswith(": rename or drop one")


def test_a_plugin_cannot_take_the_name_of_a_built_in_component(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.py", SELECTOR.replace('"first"', '"uniform"'))
    assert error_of(file) == (
        f"reset_selector 'uniform' is registered by both resetrl {resetrl.__version__} ({BUILTIN}) "
        f"and plugin_paths unversioned ({file}): rename or drop one"
    )


def test_two_distributions_with_one_entry_point_name_are_both_named(install: Install) -> None:
    install("resetrl-one", "my_one", SELECTOR, "same = my_one")
    install("resetrl-two", "my_two", SELECTOR, "same = my_two")
    message = error_of()
    assert message.startswith("plugin 'same' is registered by both resetrl-")
    assert "resetrl-one 1.2" in message and "resetrl-two 1.2" in message


def test_a_path_that_is_given_twice_is_named(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.py", SELECTOR)
    assert f"is registered by both plugin_paths unversioned ({file})" in error_of(file, file)


def test_a_misspelt_hook_is_named_with_the_hooks_there_are(tmp_path: Path) -> None:
    file = write(
        tmp_path / "mine.py", SELECTOR.replace("resetrl_reset_selectors", "resetrl_reset_selector")
    )
    assert error_of(file) == (
        f"plugin_paths unversioned ({file}): unknown hook 'resetrl_reset_selector': did you mean "
        "resetrl_reset_selectors? The hooks are resetrl_reset_selectors, resetrl_verifiers, "
        "resetrl_group_splits, resetrl_samplers, resetrl_losses, resetrl_tasks, resetrl_engines, "
        "resetrl_learners, resetrl_methods, resetrl_commands, "
        "resetrl_run_started, resetrl_step_finished, resetrl_evaluated, resetrl_run_finished"
    )


def test_a_hook_without_its_mark_is_named(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.py", SELECTOR.replace("@hookimpl", ""))
    assert error_of(file).endswith(
        f"of plugin_paths unversioned ({file}): resetrl_reset_selectors is not marked: put "
        "@resetrl.hookspecs.hookimpl above it"
    )


def test_a_plugin_without_a_hook_is_named(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.py", "x = 1")
    assert error_of(file).endswith(
        f"of plugin_paths unversioned ({file}) registers nothing: mark a function with "
        "@resetrl.hookspecs.hookimpl"
    )


def test_a_hook_with_an_argument_that_does_not_exist_is_named(tmp_path: Path) -> None:
    text = """
        from resetrl.hookspecs import hookimpl


        @hookimpl
        def resetrl_step_finished(run, loss):
            pass
    """
    message = error_of(write(tmp_path / "mine.py", text))
    assert "hookimpl definition: resetrl_step_finished(run, loss)" in message
    assert "{'loss'}" in message and "\n" not in message


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import a_library_that_is_not_there", "ModuleNotFoundError: No module named 'a_library"),
        ("def (:", "SyntaxError: invalid syntax"),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_a_file_that_does_not_import_is_named(tmp_path: Path, text: str, reason: str) -> None:
    file = write(tmp_path / "mine.py", text)
    message = error_of(file)
    assert message.startswith(f"plugin file {file} does not import: {reason}")
    assert message.endswith("; repair it or take it out of plugin_paths")


def test_an_installed_plugin_that_does_not_import_is_named(install: Install) -> None:
    install("resetrl-foo", "my_foo", "import a_library_that_is_not_there")
    assert error_of() == (
        "plugin 'my_foo' of resetrl-foo 1.2 (my_foo) does not import: ModuleNotFoundError: No "
        "module named 'a_library_that_is_not_there'; repair it or uninstall resetrl-foo"
    )


def test_a_hook_that_fails_is_named(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.py", SELECTOR.replace('return {"first": First}', "return 1 / 0"))
    assert error_of(file) == (
        f"plugin_paths unversioned ({file}): resetrl_reset_selectors fails: ZeroDivisionError: "
        "division by zero; repair it or remove the plugin"
    )


@pytest.mark.parametrize(
    ("returned", "reason"),
    [
        ("None", "resetrl_reset_selectors returned None: return {name: component class}"),
        (
            '{"first": len}',
            "reset_selector 'first' of plugin_paths unversioned ({file}) is <built-in function "
            "len>: register a dataclass or an instance of one",
        ),
        (
            '{"a b": First}',
            "reset_selector 'a b' of plugin_paths unversioned ({file}): a name is made of letters, "
            "digits, _, -, . and /",
        ),
        (
            '{"first": Selection}',
            "reset_selector 'first' of plugin_paths unversioned ({file}): Selection has no select, "
            "as a reset_selector must",
        ),
    ],
)
def test_a_registration_that_makes_no_sense_is_named(
    tmp_path: Path, returned: str, reason: str
) -> None:
    file = write(tmp_path / "mine.py", SELECTOR.replace('{"first": First}', returned))
    assert error_of(file).endswith(reason.format(file=file) if "{file}" in reason else reason)


@pytest.mark.parametrize("option", ["name", "defaults"])
def test_an_option_that_a_configuration_has_a_meaning_for_is_refused(
    tmp_path: Path, option: str
) -> None:
    file = write(tmp_path / "mine.py", SELECTOR.replace("temperature", option))
    assert error_of(file).endswith(
        f"the option {option!r} is taken by the configuration: rename it"
    )


def test_an_option_whose_type_is_unknown_at_run_time_is_refused(tmp_path: Path) -> None:
    text = SELECTOR.replace("mode: Literal", "mode: 'Litral' = 1; other: Literal")
    assert error_of(write(tmp_path / "mine.py", text)).endswith(
        "the type of an option is not known at run time (name 'Litral' is not defined): import it "
        "outside of TYPE_CHECKING"
    )


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("nowhere.py", "does not exist: give a .py file or a folder"),
        ("empty", "holds no .py file"),
        ("notes.txt", "is no .py file"),
    ],
)
def test_a_path_without_a_plugin_is_named(tmp_path: Path, path: str, reason: str) -> None:
    (tmp_path / "empty").mkdir()
    write(tmp_path / "notes.txt", "")
    assert error_of(tmp_path / path) == f"plugin_paths: {tmp_path / path} {reason}"


@pytest.mark.parametrize(
    ("project", "reason"),
    [
        ('[project]\nname = "x"', "declares no plugin: add a table"),
        ("[project", "is no valid TOML"),
        (
            '[project]\nname = "x"\n[project.entry-points."resetrl.plugins"]\nx = "my_missing"',
            "has no module 'my_missing'",
        ),
        (
            '[project]\nname = "x"\n[project.entry-points."resetrl.plugins"]\nx = "my_x:nothing"',
            "does not import: AttributeError: module 'my_x' has no attribute 'nothing'",
        ),
    ],
)
def test_a_distribution_folder_that_is_not_right_is_named(
    tmp_path: Path, project: str, reason: str
) -> None:
    write(tmp_path / "pyproject.toml", project)
    write(tmp_path / "my_x.py", SELECTOR)
    message = error_of(tmp_path)
    assert reason in message and str(tmp_path) in message


def test_a_distribution_folder_does_not_shadow_a_module_that_is_loaded(
    tmp_path: Path, install: Install
) -> None:
    other = install("resetrl-foo", "my_foo", SELECTOR)
    project = '[project]\nname = "x"\n[project.entry-points."resetrl.plugins"]\nx = "my_foo"'
    write(tmp_path / "copy" / "pyproject.toml", project)
    write(tmp_path / "copy" / "my_foo.py", SELECTOR)
    assert f"a module 'my_foo' is loaded already, from {other}: rename one" in error_of(
        tmp_path / "copy"
    )


# Components and their options.


def test_an_unknown_component_is_answered_with_the_choices() -> None:
    with pytest.raises(ConfigError) as caught:
        load_plugins(leave_out=["resetrl-example"]).get("reset_selector", "unifrom")
    assert str(caught.value) == (
        "reset_selector 'unifrom' is unknown: did you mean 'uniform'? Choose fixed_fraction, "
        "last, offset, oracle, self_localization, uniform"
    )


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (
            {"temprature": 1},
            "reset_selector 'first' has no option 'temprature': its options are temperature, mode",
        ),
        ({"mode": "c"}, "reset_selector.mode is 'c': choose a, b"),
        ({"temperature": -1}, "reset_selector 'first': temperature is -1: choose 0 or more"),
    ],
)
def test_an_option_that_does_not_fit_is_named(
    tmp_path: Path, options: dict[str, object], reason: str
) -> None:
    component = load_plugins([write(tmp_path / "x.py", SELECTOR)]).get("reset_selector", "first")
    with pytest.raises(ConfigError) as caught:
        component.build(options)
    assert str(caught.value) == reason


def test_a_class_without_docstring_has_no_summary(tmp_path: Path) -> None:
    text = SELECTOR.replace('"""Goes back to the bare prompt."""', "")
    component = load_plugins([write(tmp_path / "x.py", text)]).get("reset_selector", "first")
    assert component.summary == ""


def test_of_many_names_the_first_twelve_are_listed() -> None:
    assert list_names(list("abc")) == "a, b, c"
    assert list_names([str(i) for i in range(14)], most=2) == "0, 1 and 12 more"
