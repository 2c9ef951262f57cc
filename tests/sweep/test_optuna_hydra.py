"""The sweeper inside hydra, with hydra's own launcher and test suite."""

import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.test_utils.launcher_common_tests import LauncherTestSuite

SWEEPER = "hydra/sweeper=resetrl_optuna"
CHDIR = "hydra.job.chdir=true"  # as the suite expects; another test may have set a version base


@pytest.mark.parametrize(
    ("launcher_name", "overrides"),
    [("basic", [SWEEPER, "hydra.sweeper.sampler=grid", "hydra.sweeper.n_jobs=9", CHDIR])],
)
class TestHydrasLauncherSuite(LauncherTestSuite):
    """Every test that sweeps; the others launch a job without a dimension, which is no search,
    or look for the folders of another sweeper's jobs."""

    test_sweep_1_job = None
    test_sweep_1_job_strict = None
    test_sweep_with_custom_resolver = None
    test_sweep_2_jobs = None


@pytest.fixture
def swept(hydra_restore_singletons, hydra_sweep_runner, tmp_path):
    """Run a search over hydra's example configuration; gives its jobs, batch by batch."""

    def sweep(task, *overrides):
        runner = hydra_sweep_runner(
            calling_file=None,
            calling_module="hydra.test_utils.a_module",
            task_function=task,
            config_path="configs",
            config_name="compose.yaml",
            overrides=[SWEEPER, "hydra.job.chdir=false", *overrides],
            temp_dir=tmp_path / "search",
        )
        with runner:
            files = sorted(path.name for path in (tmp_path / "search").iterdir())
            return runner.returns, files

    return sweep


def test_a_search_over_groups_and_numbers(swept):
    batches, files = swept(
        lambda config: float(config.x) * (2 if config.foo == 10 else 1),
        "group1=file1,file2",
        "+x=tag(log, int(interval(1,100)))",
        "+y=3",
        "hydra.sweeper.n_trials=3",
        "hydra.sweeper.n_jobs=2",
    )
    assert [len(jobs) for jobs in batches] == [2, 1]
    for job in batches[0]:
        group, number, fixed = job.overrides
        assert group in ("group1=file1", "group1=file2")
        assert 1 <= int(number.removeprefix("+x=")) <= 100
        assert fixed == "+y=3"
    assert {"trial0000", "trial0001", "trial0002", "optuna.db", "best.yaml"} <= set(files)


def test_the_space_may_stand_in_the_configuration(swept):
    batches, _ = swept(
        lambda config: config.x,
        "hydra.sweeper.params={+x: 'range(3)', group1: file1}",
        "hydra.sweeper.sampler=grid",
        "group1=file2",
    )
    assert [job.overrides for (job,) in batches] == [[f"+x={x}", "group1=file2"] for x in range(3)]


def test_a_key_that_is_not_there_is_refused_before_anything_is_written(swept, tmp_path):
    with pytest.raises(Exception, match="Could not override 'nowhere'"):
        swept(lambda config: 1.0, "nowhere=interval(0,1)")
    assert list((tmp_path / "search").iterdir()) == []


def test_a_choice_that_is_not_there_is_refused_before_anything_is_written(swept, tmp_path):
    with pytest.raises(Exception, match="Could not find 'group1/file9'"):
        swept(lambda config: 1.0, "group1=file1,file9")
    assert list((tmp_path / "search").iterdir()) == []


def test_jobs_run_where_the_search_left_their_link(swept):
    def has_link(config):
        from pathlib import Path

        folder = Path(HydraConfig.get().runtime.output_dir)
        return float((folder / "trial.json").exists())

    batches, _ = swept(has_link, "+x=1,2", "hydra.sweeper.n_trials=1")
    assert batches[0][0].return_value == 1.0
