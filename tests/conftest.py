"""What several tests share: one torch thread, and MLflow stores that cost nothing to make."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--vllm-python",
        default="",
        help="a Python interpreter that has vLLM, for the tests marked vllm (`make test-vllm`)",
    )


@pytest.fixture(autouse=True, scope="session")
def one_torch_thread() -> None:
    """Two pytest runs on two cores otherwise wait for each other."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def quiet_mlflow() -> Iterator[None]:
    from resetrl.run.tracking import ENVIRONMENT

    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory, quiet_mlflow: None) -> Path:
    """A database with MLflow's tables; making one takes seconds, copying it does not."""
    from resetrl.run.tracking.store import Store

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    Store(f"sqlite:///{path}").connect().search_experiments()
    return path


@pytest.fixture
def uri(empty_database: Path, tmp_path: Path) -> str:
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"
