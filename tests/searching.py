"""A search without hydra around it: jobs are a function of their overrides."""

from io import StringIO

import optuna
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from rich.console import Console

from resetrl.sweep.optuna_search import Search
from resetrl.sweep.optuna_settings import SearchSettings
from resetrl.sweep.optuna_space import parse_space
from resetrl.sweep.optuna_study import open_study


def space_of(*overrides):
    return parse_space(OverridesParser.create().parse_overrides(list(overrides)))


class FakeLauncher(Launcher):
    """Calls `job({"x": "0.5", ...})` for each job; what it raises is the job's failure."""

    def __init__(self, job):
        self.job = job
        self.batches = []

    def setup(self, *, hydra_context, task_function, config):
        pass

    def launch(self, job_overrides, initial_job_idx):
        self.batches.append((initial_job_idx, [list(each) for each in job_overrides]))
        return [self._run(overrides) for overrides in job_overrides]

    def _run(self, overrides):
        values = dict(each.split("=", 1) for each in overrides)
        try:
            return JobReturn(status=JobStatus.COMPLETED, _return_value=self.job(values))
        except Exception as error:
            return JobReturn(status=JobStatus.FAILED, _return_value=error)


def search_of(folder, space, job, storage=None, **settings):
    """A search in memory, or in a storage, that calls `job`; its study is `.study`."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    chosen = SearchSettings(**settings)
    storage = storage or optuna.storages.InMemoryStorage()
    return Search(
        settings=chosen,
        space=space,
        study=open_study("a study", storage, chosen, space),
        storage="unused",
        folder=folder,
        launcher=FakeLauncher(job),
        console=Console(file=StringIO(), width=200),
    )


def printed(search):
    return search.console.file.getvalue()
