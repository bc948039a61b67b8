"""Tiny models, loaded once for each file of tests."""

import pytest
import torch

from tests.models import tiny


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Tiny matrices gain nothing from threads, and lose much on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    directory = tmp_path_factory.mktemp("models")
    models = {}

    def get(family):
        if family not in models:
            models[family] = tiny.load(tiny.build(family, directory))
        return models[family]

    return get
