import shutil

import pytest

from resetrl.errors import ResetrlError
from resetrl.evaluate.config import CORRECT, EVAL, CorrectConfig, EvalConfig
from resetrl.evaluate.setup import set_up
from resetrl.evaluate.suite import labelled_tasks, suite_name
from resetrl.run.compose import to_typed


def test_without_a_run_the_built_in_policy_answers_the_chain_task():
    setup = set_up([], EVAL)
    assert (setup.run, setup.subject, setup.tags) == (None, "tiny", {})
    config = to_typed(setup.config, EvalConfig)
    assert (config.model.path, config.task.name, config.suite) == ("builtin:tiny", "chain", None)
    assert config.limits.max_thoughts == 12  # of the tiny model
    assert config.tracking.experiment == "resetrl-eval"


def test_a_run_decides_what_the_command_line_leaves_open(trained_run):
    setup = set_up([str(trained_run), "sampling.temperature=0.9"], EVAL)
    config = to_typed(setup.config, EvalConfig)
    assert (config.task.min_hard, config.limits.max_completion_len) == (1, 160)
    assert (config.sampling.temperature, config.sampling.top_p) == (0.9, 0.95)
    assert (config.run, config.step, len(config.weights)) == (str(trained_run), 1, 16)
    assert setup.subject == "trained-step1"
    assert setup.tags["method"] == "srpo"
    assert (setup.tags["seed"], setup.tags["evaluated_step"]) == ("0", "1")


def test_an_option_changes_the_runs_task_and_a_choice_replaces_it(trained_run):
    changed = set_up([str(trained_run), "task.eval_size=7"], EVAL).config.task
    assert (changed.min_hard, changed.eval_size) == (1, 7)
    replaced = set_up([str(trained_run), "task=chain"], EVAL).config.task
    assert (replaced.min_hard, replaced.eval_size) == (0, 200)


def test_a_run_may_be_given_by_its_key(trained_run):
    assert set_up([f"run={trained_run}"], EVAL).run == set_up([str(trained_run)], EVAL).run


def test_corrections_localize_themselves_whatever_the_run_did(trained_run):
    config = to_typed(set_up([str(trained_run)], CORRECT).config, CorrectConfig)
    assert config.reset_selector.name == "self_localization"
    assert (config.stop, config.rounds, config.first.temperature) == ("verifier", 3, 0.0)
    chosen = set_up([str(trained_run), "reset_selector=uniform"], CORRECT).config
    assert chosen.reset_selector.name == "uniform"


def test_what_decides_the_answers_decides_the_identity(trained_run):
    def identity(*overrides):
        return set_up([str(trained_run), *overrides], EVAL).identity

    same = identity()
    assert identity("k=[1]", "chunk=64", "tracking.enabled=false", "out=elsewhere") == same
    others = {identity(change) for change in ("seed=1", "samples=4", "task.min_hard=2")}
    assert len({same, *others}) == 4


def test_a_moved_run_has_the_same_identity(trained_run, tmp_path):
    shutil.copytree(trained_run, tmp_path / "trained")
    moved = set_up([str(tmp_path / "trained")], EVAL)
    assert moved.identity == set_up([str(trained_run)], EVAL).identity


def test_the_offline_suite_is_chain_and_tasks_of_every_kind():
    setup = set_up(["suite=offline", "problems=3"], EVAL)
    config = to_typed(setup.config, EvalConfig)
    assert (suite_name(config), config.task) == ("offline", None)
    tasks = labelled_tasks(config, setup.registry)
    assert [task.label for task in tasks][:3] == ["chain", "chain_sum", "gcd"]
    assert len(tasks) == 14
    assert all(task.in_suite and task.num_problems == 3 for task in tasks)


def test_a_suite_may_be_a_file_of_ones_own(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        "name: mine\n"
        "tasks:\n"
        "  easy: {name: chain, max_operations: 3, eval_size: 9}\n"
        "  hard: {name: chain, min_hard: 4}\n"
    )
    setup = set_up([f"suite={file}"], EVAL)
    config = to_typed(setup.config, EvalConfig)
    easy, hard = labelled_tasks(config, setup.registry)
    assert (suite_name(config), easy.label, easy.num_problems) == ("mine", "easy", 9)
    assert hard.task.min_hard == 4


SUITES = {
    "list.yaml": ("- chain\n", "the suite has no tasks: write its name and its tasks"),
    "empty.yaml": ("name: mine\n", "the suite has no tasks"),
    "torn.yaml": ("tasks: {", "torn.yaml cannot be read: while parsing"),
    "nameless.yaml": ("tasks: {a: {eval_size: 3}}\n", "task a of the suite has no name"),
    "option.yaml": ("tasks: {a: {name: chain, size: 3}}\n", "task a of the suite: Key 'size'"),
    "type.yaml": ("tasks: {a: {name: chain, eval_size: x}}\n", "task a of the suite: Value 'x'"),
    "value.yaml": ("tasks: {a: {name: chain, eval_size: 0}}\n", "eval_size is 0: choose 1 or more"),
    "unknown.yaml": ("tasks: {a: {name: chian}}\n", "task 'chian' is unknown: did you mean"),
}


@pytest.mark.parametrize("name", SUITES)
def test_a_wrong_suite_is_refused_in_one_sentence(tmp_path, name):
    text, sentence = SUITES[name]
    (tmp_path / name).write_text(text)
    with pytest.raises(ResetrlError, match=sentence) as error:
        setup = set_up([f"suite={tmp_path / name}"], EVAL)
        labelled_tasks(to_typed(setup.config, EvalConfig), setup.registry)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere"], "run 'nowhere' is"),
        (["suite=nothing"], r"suite=nothing is unknown: choose offline, paper10$"),
        (["suite=nothing.yaml"], r"suite=nothing.yaml cannot be read: No such file"),
        (["task=chian"], "task=chian is unknown: did you mean chain"),
        (["suite=offline", "task=chain"], "exclude each other: leave one out"),
        (["k=[1,16]"], "k=16 with samples=8: pass@k needs at least k samples"),
        (["samplez=3"], r"samplez is no option of this run: did you mean samples\?"),
        (["samples=-1"], "choose 0 or more samples"),
        (["problems=-1"], "problems is -1: choose at least 0"),
        (["RUN", "RUN"], "are two runs: give one at a time"),
        (["RUN", "model=hf"], "both name a model: leave one out"),
        (["RUN", "task.min_hrd=1"], "did you mean task.min_hard"),
        (["oops!="], "is no override"),
    ],
)
def test_a_wrong_command_line_is_refused_in_one_sentence(trained_run, arguments, sentence):
    words = [str(trained_run) if word == "RUN" else word for word in arguments]
    with pytest.raises(ResetrlError, match=sentence) as error:
        set_up(words, EVAL)
    assert "\n" not in str(error.value)


def test_a_run_without_a_checkpoint_is_refused(trained_run, tmp_path):
    (tmp_path / "config.yaml").write_bytes((trained_run / "config.yaml").read_bytes())
    with pytest.raises(ResetrlError, match="has no checkpoint yet"):
        set_up([str(tmp_path)], EVAL)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(ResetrlError, match=r"is no run: it holds no config\.yaml"):
        set_up([str(tmp_path)], EVAL)


def test_a_folder_with_another_result_is_not_written_to(tmp_path):
    set_up([f"out={tmp_path}"], EVAL).open_folder("evals", "chain")
    before = (tmp_path / "config.yaml").read_bytes()
    with pytest.raises(ResetrlError, match="holds the result of something else"):
        set_up([f"out={tmp_path}", "seed=1"], EVAL).open_folder("evals", "chain")
    assert (tmp_path / "config.yaml").read_bytes() == before
