import pytest


@pytest.fixture(scope="session")
def cuda() -> str:
    """The device. Skips where there is none."""
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    return "cuda"
