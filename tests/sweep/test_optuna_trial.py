import threading

import optuna
import pytest

from resetrl.errors import ConfigError, RunPruned
from resetrl.run.context import Evaluation, RunContext
from resetrl.sweep.optuna_pruning import WilcoxonOverProblems, make_pruner
from resetrl.sweep.optuna_study import open_storage
from resetrl.sweep.optuna_trial import Reporter, TrialLink, TrialObserver, outcome_attr, read_link
from resetrl.types import PhaseUsage


@pytest.fixture
def study(tmp_path):
    storage = open_storage(str(tmp_path / "search.log"))
    return optuna.create_study(study_name="mine", storage=storage, direction="maximize")


def link_of(folder, number, replicate=0, num_replicates=1, **options):
    return TrialLink(
        **{
            "storage": str(folder / "search.log"),
            "study": "mine",
            "number": number,
            "replicate": replicate,
            "num_replicates": num_replicates,
            "metrics": ["eval/accuracy"],
            "direction": "maximize",
            "objective": "mean",
            "confidence": 0.9,
            "pruner": "median",
            "pruner_options": {"n_startup_trials": 1},
            **options,
        }
    )


def complete(study, curve):
    trial = study.ask()
    for position, value in enumerate(curve, start=1):
        trial.report(value, position)
    study.tell(trial, curve[-1])


def test_a_link_is_found_again_in_its_folder(tmp_path):
    assert read_link(tmp_path) is None
    link = link_of(tmp_path, 3, 1, 2)
    link.write(tmp_path)
    assert read_link(tmp_path) == link
    assert link.tags == {"optuna.study": "mine", "optuna.trial": "3"}


def test_a_damaged_link_is_named(tmp_path):
    (tmp_path / "trial.json").write_text('{"study": 1}')
    with pytest.raises(ConfigError, match=r"trial.json is damaged"):
        read_link(tmp_path)


def test_an_evaluation_is_reported_once_all_seeds_have_it_and_is_their_mean(study, tmp_path):
    study.ask()
    first, second = (Reporter(link_of(tmp_path, 0, seed, 2)) for seed in (0, 1))
    first.report(1, 0.25, {})
    first.report(2, 0.5, {})
    assert study.trials[0].intermediate_values == {}
    second.report(1, 0.75, {})
    assert study.trials[0].intermediate_values == {1: 0.5}


def test_seeds_that_report_at_the_same_time_agree(study, tmp_path):
    study.ask()
    reporters = [Reporter(link_of(tmp_path, 0, seed, 4)) for seed in range(4)]
    threads = [
        threading.Thread(target=reporter.report, args=(1, float(value), {}))
        for value, reporter in enumerate(reporters)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert study.trials[0].intermediate_values == {1: 1.5}


def test_a_worse_trial_is_pruned_and_its_other_seeds_learn_of_it(study, tmp_path):
    complete(study, [0.5, 0.7, 0.8])
    study.ask()
    first, second = (Reporter(link_of(tmp_path, 1, seed, 2)) for seed in (0, 1))
    first.report(1, 0.1, {})
    with pytest.raises(RunPruned, match=r"pruned after evaluation 1, eval/accuracy 0.15"):
        second.report(1, 0.2, {})
    with pytest.raises(RunPruned, match="trial 1 was pruned after evaluation 1"):
        first.report(2, 0.9, {})


def test_a_better_trial_goes_on(study, tmp_path):
    complete(study, [0.5, 0.7, 0.8])
    study.ask()
    reporter = Reporter(link_of(tmp_path, 1))
    for position, value in enumerate([0.6, 0.8, 0.9], start=1):
        reporter.report(position, value, {})
    assert study.trials[1].intermediate_values == {1: 0.6, 2: 0.8, 3: 0.9}


def test_a_trial_is_not_pruned_after_its_last_evaluation(study, tmp_path):
    complete(study, [0.5, 0.7])
    study.ask()
    Reporter(link_of(tmp_path, 1)).report(2, 0.1, {}, last=True)


def test_a_resumed_job_may_report_again(study, tmp_path):
    study.ask()
    for value in (0.5, 0.5):
        Reporter(link_of(tmp_path, 0)).report(1, value, {})
    assert study.trials[0].intermediate_values == {1: 0.5}


def test_a_job_whose_trial_is_over_ends_too(study, tmp_path):
    trial = study.ask()
    study.tell(trial, state=optuna.trial.TrialState.FAIL)
    with pytest.raises(RunPruned, match="trial 0 of mine was ended meanwhile"):
        Reporter(link_of(tmp_path, 0)).report(1, 0.5, {})


def test_successive_halving_keeps_the_best_of_a_rung(study, tmp_path):
    options = {
        "pruner": "successive_halving",
        "pruner_options": {"min_resource": 1, "reduction_factor": 2},
    }
    survived = []
    for number, value in enumerate([0.5, 0.6, 0.1, 0.7]):
        study.ask()
        try:
            Reporter(link_of(tmp_path, number, **options)).report(1, value, {})
            survived.append(number)
        except RunPruned:
            pass
    assert survived == [0, 1, 3]


def test_hyperband_ends_what_stays_behind(study, tmp_path):
    options = {"pruner": "hyperband", "pruner_options": {"max_resource": 9, "reduction_factor": 3}}
    lengths = []
    for number in range(12):
        study.ask()
        reporter = Reporter(link_of(tmp_path, number, **options))
        position, worse = 0, number / 100
        try:
            for position in range(1, 10):
                reporter.report(position, position / 10 - worse, {}, last=position == 9)
            study.tell(number, 0.9 - worse)
        except RunPruned:
            study.tell(number, state=optuna.trial.TrialState.PRUNED)
        lengths.append(position)
    assert lengths[0] == 9
    assert {1, 3} & set(lengths)
    assert set(lengths) <= {1, 3, 9}


def test_a_study_that_is_gone_is_named(study, tmp_path):
    with pytest.raises(ConfigError, match="study other is no longer in"):
        Reporter(link_of(tmp_path, 0, study="other")).report(1, 0.5, {})


def outcomes(right, num_problems=40):
    """Problems `0` to `right - 1` solved, the others not."""
    return {str(problem): float(problem < right) for problem in range(num_problems)}


def wilcoxon(folder, number, **options):
    return link_of(folder, number, **{"pruner": "wilcoxon", "pruner_options": {}, **options})


def best_of(study, folder, right, replicates=1):
    study.ask()
    for replicate in range(replicates):
        Reporter(wilcoxon(folder, 0, replicate=replicate, num_replicates=replicates)).report(
            1, right / 40, outcomes(right)
        )
    study.tell(0, right / 40)


def test_wilcoxon_prunes_what_solves_fewer_of_the_same_problems(study, tmp_path):
    best_of(study, tmp_path, right=30)
    study.ask()
    with pytest.raises(RunPruned):
        Reporter(wilcoxon(tmp_path, 1)).report(1, 0.25, outcomes(10))


def test_wilcoxon_lets_go_on_what_solves_almost_as_many(study, tmp_path):
    best_of(study, tmp_path, right=30)
    study.ask()
    Reporter(wilcoxon(tmp_path, 1)).report(1, 29 / 40, outcomes(29))


def test_wilcoxon_compares_means_over_seeds_of_each_problem(study, tmp_path):
    best_of(study, tmp_path, right=20, replicates=2)
    study.ask()
    first, second = (
        Reporter(wilcoxon(tmp_path, 1, replicate=each, num_replicates=2)) for each in (0, 1)
    )
    first.report(1, 0.25, outcomes(10))
    second.report(1, 1.0, outcomes(40))  # together 10 problems at 1, the others at 0.5


def test_wilcoxon_waits_for_a_trial_to_compare_with(study, tmp_path):
    study.ask()
    Reporter(wilcoxon(tmp_path, 0)).report(1, 0.0, outcomes(0))


def test_wilcoxon_pairs_by_problem_not_by_position(study):
    pruner = make_pruner("wilcoxon", {"p_threshold": 0.05})
    assert isinstance(pruner, WilcoxonOverProblems)
    best = study.ask()
    best.set_user_attr(outcome_attr(1, 0), {"outcomes": outcomes(30)})
    best.report(0.75, 1)
    study.tell(best, 0.75)
    same = study.ask()
    same.set_user_attr(outcome_attr(1, 0), {"outcomes": dict(reversed(outcomes(30).items()))})
    same.report(0.75, 1)
    other = study.ask()
    other.set_user_attr(outcome_attr(1, 0), {"outcomes": {"elsewhere": 0.0}})
    other.report(0.0, 1)
    assert [pruner.prune(study, study.trials[trial.number]) for trial in (same, other)] == [0, 0]


def test_an_unknown_metric_is_refused_before_the_run_starts(tmp_path):
    with pytest.raises(ConfigError, match="'eval/luck' is no metric that every run has: choose"):
        TrialObserver(link_of(tmp_path, 0, metrics=["eval/luck"]))


def evaluated(folder, is_last):
    """An observer is told of the evaluation after step 3 of a run that evaluates every 2 steps."""
    run = RunContext("a run", folder, {"evaluation": {"every": 2}}, 0, 9, (), console=None)
    observer = TrialObserver(link_of(folder, 1))
    untrained = Evaluation(0, 0.9, 0.9, (), PhaseUsage())
    observer.resetrl_evaluated(run=run, evaluation=untrained)
    last = Evaluation(3, 0.1, 0.1, (), PhaseUsage(), is_last=is_last)
    observer.resetrl_evaluated(run=run, evaluation=last)
    return observer


def test_a_run_that_a_budget_ends_reports_and_is_not_pruned(study, tmp_path):
    complete(study, [0.5, 0.7])
    study.ask()
    observer = evaluated(tmp_path, is_last=True)
    assert study.trials[1].intermediate_values == {2: 0.1}
    assert observer.outcome({}) == 0.1


def test_a_run_that_would_go_on_is_pruned(study, tmp_path):
    complete(study, [0.5, 0.7])
    study.ask()
    with pytest.raises(RunPruned):
        evaluated(tmp_path, is_last=False)


def test_a_job_returns_the_metrics_asked_for_with_its_final_totals(study, tmp_path):
    metrics = ["eval/reward", "total/generated_tokens"]
    observer = TrialObserver(link_of(tmp_path, 0, metrics=metrics, pruner="none"))
    evaluation = Evaluation(2, 0.5, 0.25, (), PhaseUsage())
    observer.resetrl_evaluated(run=None, evaluation=evaluation)
    totals = {"total/generated_tokens": 900.0, "total/flops": 1.0}
    assert observer.outcome(totals) == {"eval/reward": 0.25, "total/generated_tokens": 900.0}
