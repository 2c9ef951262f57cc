import itertools

import pytest
import yaml
from hydra.errors import HydraException
from searching import FakeLauncher, printed, search_of, space_of

from resetrl.errors import ConfigError, ResetrlError
from resetrl.sweep.optuna_summary import print_search
from resetrl.sweep.optuna_trial import PRUNED_ATTR, read_link


def close_to_a_third(values):
    return -((float(values["x"]) - 1 / 3) ** 2)


def states(search):
    return [trial.state.name for trial in search.study.trials]


def test_a_trial_is_one_batch_of_all_its_seeds_and_its_value_their_mean(tmp_path):
    space = space_of("x=interval(0,1)", "seed=3,4,8")
    search = search_of(tmp_path, space, lambda job: float(job["seed"]), n_trials=2)
    search.run()
    assert [trial.value for trial in search.study.trials] == [5.0, 5.0]
    (first, jobs), (second, _) = search.launcher.batches
    assert (first, second) == (0, 3)
    x = search.study.trials[0].params["x"]
    assert jobs == [
        [f"x={x}", f"seed={seed}", f"hydra.sweep.subdir=trial0000-seed{seed}"] for seed in (3, 4, 8)
    ]


def test_the_objective_can_be_a_lower_bound(tmp_path):
    space = space_of("x=interval(0,1)", "seed=0,2")
    search = search_of(
        tmp_path, space, lambda job: float(job["seed"]), n_trials=1, objective="lower_bound"
    )
    search.run()
    # Mean 1, standard deviation sqrt(2); t of one degree of freedom at 0.9 is 3.0777.
    assert search.study.trials[0].value == pytest.approx(1 - 3.0777, abs=1e-4)


def test_parallel_trials_are_launched_together(tmp_path):
    space = space_of("x=interval(0,1)", "seed=0,1")
    search = search_of(tmp_path, space, close_to_a_third, n_trials=5, n_jobs=2)
    search.run()
    assert [len(jobs) for _, jobs in search.launcher.batches] == [4, 4, 2]
    first = [job[-1] for job in search.launcher.batches[0][1]]
    assert first == [
        f"hydra.sweep.subdir={folder}"
        for folder in ("trial0000-seed0", "trial0000-seed1", "trial0001-seed0", "trial0001-seed1")
    ]


def test_every_job_finds_its_trial_in_its_folder(tmp_path):
    space = space_of("x=interval(0,1)", "seed=7,9")
    search_of(tmp_path, space, close_to_a_third, n_trials=1, pruner="median").run()
    link = read_link(tmp_path / "trial0000-seed9")
    assert (link.study, link.number, link.replicate, link.num_replicates) == ("a study", 0, 1, 2)
    assert (link.metrics, link.direction, link.pruner) == (["eval/accuracy"], "maximize", "median")


@pytest.mark.parametrize("sampler", ["tpe", "random", "cmaes", "qmc"])
def test_the_same_sampler_seed_suggests_the_same_trials(tmp_path, sampler):
    space = space_of("x=interval(0,1)", "y=int(interval(1,9))")

    def suggested(folder, seed):
        options = {"n_trials": 6, "n_jobs": 2, "sampler": sampler, "sampler_seed": seed}
        search = search_of(tmp_path / folder, space, close_to_a_third, **options)
        search.run()
        return [trial.params for trial in search.study.trials]

    assert suggested("a", 1) == suggested("b", 1) != suggested("c", 2)


def test_tpe_finds_the_maximum(tmp_path):
    search = search_of(tmp_path, space_of("x=interval(-1,1)"), close_to_a_third, n_trials=40)
    search.run()
    assert search.study.best_value > -0.001


def test_a_grid_is_walked_once_and_whole(tmp_path):
    space = space_of("x=0,0.5", "y=range(1,4)")
    search = search_of(tmp_path, space, close_to_a_third, sampler="grid", n_jobs=4)
    search.run()
    points = [(trial.params["x"], trial.params["y"]) for trial in search.study.trials]
    assert points == list(itertools.product([0, 0.5], [1, 2, 3]))
    assert search.run() == []


def test_a_job_returns_a_number_a_list_or_a_mapping(tmp_path):
    for number, returned in enumerate([0.5, [0.5], {"eval/accuracy": 0.5, "more": 1}]):
        search = search_of(
            tmp_path / str(number), space_of("x=1,2"), lambda job, value=returned: value, n_trials=1
        )
        search.run()
        assert search.study.trials[0].value == 0.5


def test_a_failed_trial_is_recorded_with_its_reason_and_survived(tmp_path):
    def job(values):
        if (values["x"], values["seed"]) == ("2", "1"):
            raise ValueError("the loss is not finite")
        return float(values["x"])

    search = search_of(tmp_path, space_of("x=1,2,3", "seed=0,1"), job, sampler="grid")
    search.run()
    assert states(search) == ["COMPLETE", "FAIL", "COMPLETE"]
    reason = "seed 1: ValueError: the loss is not finite"
    assert search.study.trials[1].user_attrs["error"] == reason
    assert f"trial 1 failed: {reason}" in printed(search)


@pytest.mark.parametrize(
    ("returned", "sentence"),
    [
        (None, "returned None, which is no value of eval/accuracy"),
        ({"accuracy": 1}, "{'accuracy': 1}, which is no value of eval/accuracy"),
        ([1, 2], "[1, 2], which is no value of eval/accuracy"),
        (float("nan"), "returned nan, which cannot be compared"),
    ],
)
def test_a_job_without_a_usable_value_fails_its_trial(tmp_path, returned, sentence):
    search = search_of(tmp_path, space_of("x=1,2"), lambda job: returned, n_trials=1)
    with pytest.raises(ResetrlError, match="all 1 trials of study a study failed") as failed:
        search.run()
    assert sentence in str(failed.value)


def test_a_search_in_which_nothing_works_ends_early_with_the_last_reason(tmp_path):
    def job(values):
        raise ResetrlError(f"no memory for {values['x']}")

    search = search_of(tmp_path, space_of("x=range(100)"), job, sampler="grid")
    with pytest.raises(ResetrlError, match=r"all 5 trials .*; the last: no memory for 4"):
        search.run()
    assert states(search) == ["FAIL"] * 5


def test_a_launcher_that_fails_fails_its_batch_and_the_search_goes_on(tmp_path):
    search = search_of(tmp_path, space_of("x=1,2,3,4"), close_to_a_third, sampler="grid", n_jobs=2)
    launch = search.launcher.launch

    def once_broken(job_overrides, initial_job_idx):
        if initial_job_idx == 0:
            raise RuntimeError("the queue is closed")
        return launch(job_overrides, initial_job_idx)

    search.launcher.launch = once_broken
    search.run()
    assert states(search) == ["FAIL", "FAIL", "COMPLETE", "COMPLETE"]
    assert "the launcher failed: RuntimeError: the queue is closed" in printed(search)


def test_what_hydra_refuses_ends_the_search_and_leaves_no_trial_running(tmp_path):
    search = search_of(tmp_path, space_of("x=1,2"), close_to_a_third)

    def refuse(job_overrides, initial_job_idx):
        raise HydraException("no such key")

    search.launcher.launch = refuse
    with pytest.raises(HydraException):
        search.run()
    assert states(search) == ["FAIL"]


def test_an_interrupted_search_goes_on_with_the_trials_it_was_at(tmp_path):
    def job(values):
        if len(search.study.trials) == 3:
            raise KeyboardInterrupt
        return close_to_a_third(values)

    search = search_of(tmp_path, space_of("x=interval(0,1)"), job, n_trials=4)
    with pytest.raises(KeyboardInterrupt):
        search.run()
    search.launcher = FakeLauncher(close_to_a_third)
    search.run()
    assert states(search) == ["COMPLETE", "COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert search.study.trials[3].params == search.study.trials[2].params
    assert "trials left running by a kill are done again: 2" in printed(search)


def test_n_trials_counts_those_of_earlier_searches(tmp_path):
    search = search_of(tmp_path, space_of("x=interval(0,1)"), close_to_a_third, n_trials=3)
    search.run()
    search.settings.n_trials = 5
    assert len(search.run()) == 2
    assert len(search.study.trials) == 5


def test_a_folder_with_the_jobs_of_another_study_is_refused(tmp_path):
    search_of(tmp_path, space_of("x=1,2"), close_to_a_third, n_trials=1).run()
    search = search_of(tmp_path, space_of("x=1,2"), close_to_a_third, n_trials=1)
    with pytest.raises(ConfigError, match="holds a job of another search"):
        search.run()


def test_a_trial_that_its_jobs_found_pruned_is_told_so(tmp_path):
    space = space_of("x=interval(0,1)")
    search = search_of(tmp_path, space, close_to_a_third, n_trials=2)
    launch = search.launcher.launch

    def prune_the_second(job_overrides, initial_job_idx):
        trial = search.study.trials[-1]
        if trial.number == 1:
            storage, number = search.study._storage, trial._trial_id
            storage.set_trial_user_attr(number, PRUNED_ATTR, "trial 1 was pruned")
            storage.set_trial_intermediate_value(number, 1, 0.25)
        return launch(job_overrides, initial_job_idx)

    search.launcher.launch = prune_the_second
    search.run()
    assert states(search) == ["COMPLETE", "PRUNED"]
    assert search.study.trials[1].value == 0.25


def summarized(search):
    search.run()
    print_search(
        search.study,
        search.space,
        search.settings,
        "sqlite:///s.db",
        search.folder,
        search.console,
    )
    return printed(search)


def test_the_best_trial_can_be_run_again_with_fresh_seeds(tmp_path):
    space = space_of("x=0,0.25,1", "steps=40", "seed=0,1")
    search = search_of(tmp_path, space, close_to_a_third, sampler="grid")
    text = summarized(search)
    assert yaml.safe_load((tmp_path / "best.yaml").read_text()) == ["x=0.25", "steps=40"]
    assert f"resetrl train -m @{tmp_path}/best.yaml 'seed=range(2,5)'" in text
    assert "study a study: 3 complete" in text
    assert "optuna trials --study-name 'a study' --storage sqlite:///s.db" in text


def test_the_summary_names_what_matters(tmp_path):
    space = space_of("x=interval(-1,1)", "y=interval(-1,1)")
    text = summarized(search_of(tmp_path, space, close_to_a_third, n_trials=20))
    (line,) = [line for line in text.splitlines() if line.startswith("importance")]
    assert line.index("x ") < line.index("y ")


def test_several_objectives_end_in_their_pareto_front(tmp_path):
    def job(values):
        return {"a": float(values["x"]), "b": float(values["x"]) ** 2 + float(values["y"])}

    search = search_of(
        tmp_path,
        space_of("x=1,2", "y=0,5"),
        job,
        sampler="grid",
        metrics=["a", "b"],
        directions=["maximize", "minimize"],
    )
    text = summarized(search)
    assert "Pareto front" in text
    assert [trial.values for trial in search.study.best_trials] == [[1, 1], [2, 4]]
    assert sorted(path.name for path in tmp_path.glob("*.yaml")) == [
        "best-trial0000.yaml",
        "best-trial0002.yaml",
    ]
