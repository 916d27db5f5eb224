"""Fixtures of the tests of learning."""

import sys

import pytest
import torch

from joulelab.learning.fast import trial
from joulelab.learning.images import datasets
from joulelab.learning.networks import networks


@pytest.fixture
def own_parts():
    """Forgets, after the test, the parts and plug-ins that it registered."""
    before = [(registry, dict(registry._registered)) for registry in (networks, datasets)]
    yield
    for registry, parts in before:
        registry._registered.clear()
        registry._registered.update(parts)
    for module in [name for name in sys.modules if name.startswith("joulelab_plugin_")]:
        del sys.modules[module]


@pytest.fixture(autouse=True)
def one_thread():
    """torch computes with one thread: two are very slow where another process wants a core."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def short_trials(monkeypatch):
    """Schedules are tried for a few steps only, whatever that says of their speed."""
    monkeypatch.setattr(trial, "TRIAL_S", 0.0)
