"""Fixtures of the tests of learning."""

import sys

import pytest

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
