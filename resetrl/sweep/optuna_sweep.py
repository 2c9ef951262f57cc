"""From hydra's sweeper to a search: settings and space are checked before anything is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn
from hydra.plugins.sweeper import Sweeper
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from resetrl.errors import ConfigError
from resetrl.sweep.optuna_search import Search
from resetrl.sweep.optuna_settings import SearchSettings
from resetrl.sweep.optuna_space import Space, parse_space
from resetrl.sweep.optuna_study import (
    check_sampler,
    open_storage,
    open_study,
    resolve_storage,
    sole_search,
    storage_errors,
)
from resetrl.sweep.optuna_summary import print_search
from resetrl.sweep.optuna_tracking import study_tags, tag_parent
from resetrl.sweep.optuna_trial import check_metric

OUR_JOB = "resetrl"
"""hydra's name of the job of `resetrl train`, whose metrics are known beforehand."""


def sweep(
    sweeper: Sweeper, options: Mapping[str, Any], arguments: Sequence[str]
) -> list[Sequence[JobReturn]]:
    """Search as `hydra.sweeper.*` (`options`) and the overrides (`arguments`) say.

    Returns the jobs of each batch. Raises ConfigError, with nothing written, for settings, a
    space or a storage that cannot be used, and ResetrlError if every trial fails.
    """
    config, context, launcher = sweeper.config, sweeper.hydra_context, sweeper.launcher
    assert config is not None and context is not None and launcher is not None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    settings = SearchSettings(**{key: _plain(value) for key, value in options.items()})
    parser = OverridesParser.create(config_loader=context.config_loader)
    given = [*(f"{key}={value}" for key, value in settings.params.items()), *arguments]
    space = parse_space(parser.parse_overrides(given))
    _check(settings, space, config)
    sweeper.validate_batch_is_legal(space.probes())
    folder = Path(str(config.hydra.sweep.dir))
    storage = resolve_storage(settings.storage or f"sqlite:///{folder}/optuna.db", Path.cwd())
    with sole_search(storage), storage_errors(storage):
        opened = open_storage(storage, is_sole=True)
        study = open_study(settings.study_name or folder.resolve().name, opened, settings, space)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(config, folder / "multirun.yaml")
        console = Console(highlight=False)
        search = Search(settings, space, study, storage, folder, launcher, console)
        batches = search.run()
        print_search(study, space, settings, storage, folder, console)
        tag_parent(folder, study_tags(study, storage), console)
    return batches


def _check(settings: SearchSettings, space: Space, config: DictConfig) -> None:
    if config.hydra.job.name == OUR_JOB:
        for metric in settings.metrics:
            check_metric(metric)
    if settings.objective == "lower_bound" and len(space.replicates) < 2:
        raise ConfigError(
            "hydra.sweeper.objective=lower_bound needs two seeds at least: add, for example, "
            "seed=range(3)"
        )
    check_sampler(settings, space)


def _plain(value: Any) -> Any:
    """Hydra hands over lists and dictionaries as its own kind."""
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
