"""hydra's own test suite for launchers, run on ours."""

import pytest
from hydra import version
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.test_utils.launcher_common_tests import (
    BatchedSweeperTestSuite,
    IntegrationTestSuite,
    LauncherTestSuite,
)

from hydra_plugins.resetrl_launcher import ResetrlLauncher

pytestmark = pytest.mark.filterwarnings("ignore:.*:UserWarning")


@pytest.fixture(autouse=True)
def as_hydra_tests_itself() -> None:
    """With the defaults of the version its suite was written for; they are put back by it."""
    version.setbase("1.1")


@pytest.mark.usefixtures("hydra_restore_singletons")
def test_hydra_finds_the_launcher() -> None:
    names = [cls.__name__ for cls in Plugins.instance().discover(Launcher)]
    assert ResetrlLauncher.__name__ in names


@pytest.mark.parametrize("launcher_name, overrides", [("resetrl", [])])
class TestResetrlLauncher(LauncherTestSuite):
    pass


@pytest.mark.parametrize(
    "launcher_name, overrides", [("resetrl", ["hydra.sweeper.max_batch_size=2"])]
)
class TestResetrlLauncherInBatches(BatchedSweeperTestSuite):
    pass


@pytest.mark.slow
@pytest.mark.parametrize("task_launcher_cfg, extra_flags", [({}, ["-m", "hydra/launcher=resetrl"])])
class TestResetrlLauncherOfApplications(IntegrationTestSuite):
    pass
