"""What all tests share."""

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Tiny tensors gain nothing from more threads, which on a busy machine wait for one another."""
    torch.set_num_threads(1)
