import pytest

from resetrl.errors import ConfigError
from resetrl.sweep.optuna_settings import SearchSettings, combine


def test_the_mean_over_seeds():
    assert combine([0.25, 0.5, 0.75], "mean", "maximize", 0.9) == 0.5


def test_the_lower_bound_is_students_one_sided_interval():
    # t of 2 degrees of freedom at 0.9 is 1.8856, the standard deviation 0.1.
    bound = combine([0.4, 0.5, 0.6], "lower_bound", "maximize", 0.9)
    assert bound == pytest.approx(0.5 - 1.8856 * 0.1 / 3**0.5, abs=1e-5)


def test_the_pessimistic_end_of_what_is_minimized_is_above_the_mean():
    bound = combine([4.0, 5.0, 6.0], "lower_bound", "minimize", 0.9)
    assert bound == pytest.approx(5 + 1.8856 / 3**0.5, abs=1e-4)


def test_seeds_that_agree_leave_no_margin():
    assert combine([0.5, 0.5], "lower_bound", "maximize", 0.9) == 0.5


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"n_trials": 0}, "hydra.sweeper.n_trials is 0: choose at least 1"),
        ({"n_jobs": 0}, "hydra.sweeper.n_jobs is 0"),
        ({"sampler": "gp"}, "hydra.sweeper.sampler is 'gp': choose tpe, cmaes, random, grid, qmc"),
        ({"pruner": "mean"}, "hydra.sweeper.pruner is 'mean': choose none, median"),
        ({"objective": "max"}, "hydra.sweeper.objective is 'max': choose mean, lower_bound"),
        ({"directions": ["up"]}, "hydra.sweeper.directions is 'up': choose maximize, minimize"),
        ({"directions": ["maximize", "minimize"]}, "give one direction a metric"),
        ({"metrics": [], "directions": []}, "name at least one metric"),
        ({"metrics": ["a", "a"], "directions": ["maximize"] * 2}, "each once"),
        ({"confidence": 1.0}, "hydra.sweeper.confidence is 1.0"),
        ({"sampler_options": 3}, "hydra.sweeper.sampler_options is 3: write key: value pairs"),
        ({"pruner": "wilcoxon", "metrics": ["total/flops"]}, "which total/flops cannot be"),
    ],
)
def test_a_wrong_option_is_named_with_its_choices(options, sentence):
    with pytest.raises(ConfigError) as refused:
        SearchSettings(**options)
    assert sentence in str(refused.value)


@pytest.mark.parametrize("option", [{"pruner": "median"}, {"sampler": "cmaes"}])
def test_pruning_and_cmaes_need_a_single_objective(option):
    with pytest.raises(ConfigError, match="needs a single objective"):
        SearchSettings(metrics=["a", "b"], directions=["maximize", "minimize"], **option)
