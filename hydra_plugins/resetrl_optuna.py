"""`hydra/sweeper=resetrl_optuna`: hydra takes plugins from this package alone; the search itself
is resetrl/sweep/optuna_search.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from resetrl.sweep.optuna_settings import SweeperConfig

ConfigStore.instance().store(
    group="hydra/sweeper", name="resetrl_optuna", node=SweeperConfig, provider="resetrl"
)


class OptunaSweeper(Sweeper):
    """Searches with Optuna, all seeds of each trial in one batch of hydra's launcher."""

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.config: DictConfig | None = None
        self.hydra_context: HydraContext | None = None
        self.launcher: Launcher | None = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self.hydra_context = hydra_context
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> list[Sequence[JobReturn]]:
        from resetrl.sweep.optuna_sweep import sweep

        return sweep(self, self.options, arguments)
