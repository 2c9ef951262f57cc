"""One torch thread for every test: two pytest runs on two cores otherwise wait for each other."""

import pytest


@pytest.fixture(autouse=True, scope="session")
def one_torch_thread():
    import torch

    torch.set_num_threads(1)
