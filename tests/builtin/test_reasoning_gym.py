import importlib.util

import pytest

from resetrl.builtin.reasoning_gym import ReasoningGym, dataset_names
from resetrl.errors import ResetrlError
from resetrl.testing import make_rollout
from resetrl.types import Prompt

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("reasoning_gym") is None,
    reason="needs pip install resetrl[reasoning-gym]",
)


def judged(task, problem, answer):
    rollout = make_rollout([answer], prompt=Prompt(problem, (7,)))
    return task.verifier().verify([rollout])[0]


@pytest.mark.parametrize("name", ["chain_sum", "basic_arithmetic", "gsm_symbolic"])
def test_the_packages_own_scorer_judges_the_last_closed_box(name):
    task = ReasoningGym(dataset=name, train_size=10, eval_size=5)
    problem = task.problems("train")[0]
    right = judged(task, problem, f"\\boxed{{{problem.reference}}}")
    assert (right.reward, right.correct) == (1.0, True)
    assert not judged(task, problem, "\\boxed{no number}").correct
    for unboxed in (problem.reference, f"\\boxed{{{problem.reference}"):
        assert judged(task, problem, unboxed).reward == 0.0


def test_training_and_evaluation_problems_never_overlap():
    task = ReasoningGym(dataset="chain_sum", train_size=60, eval_size=30)
    train = {problem.question for problem in task.problems("train")}
    held_out = [problem.question for problem in task.problems("eval")]
    assert len(held_out) == 30
    assert not train & set(held_out)


def test_problems_are_the_same_each_time_and_another_set_with_another_seed():
    questions = [
        [p.question for p in ReasoningGym(train_size=5, rng_seed=seed).problems("train")]
        for seed in (0, 0, 1)
    ]
    assert questions[0] == questions[1] != questions[2]


def test_the_names_that_ship_are_those_of_the_installed_package():
    from reasoning_gym.factory import DATASETS

    assert set(dataset_names()) <= set(DATASETS)
    assert {"chain_sum", "basic_arithmetic", "gsm_symbolic"} <= set(dataset_names())


def test_an_unknown_dataset_is_named_with_near_ones():
    with pytest.raises((ValueError, ResetrlError), match="chain_sun"):
        ReasoningGym(dataset="chain_sun").problems("train")[0]
