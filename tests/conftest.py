"""One torch thread for every test: two pytest runs on two cores otherwise wait for each other."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True, scope="session")
def one_torch_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables; making one takes seconds, copying it does not."""
    from resetrl.run.tracking import ENVIRONMENT
    from resetrl.run.tracking.store import Store

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        Store(f"sqlite:///{path}").connect().search_experiments()
    return path
