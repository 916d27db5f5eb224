"""The worked examples in the docstrings hold."""

import doctest
import importlib
import pkgutil

import pytest

import joulelab.analysis

FOUND = pkgutil.walk_packages(joulelab.analysis.__path__, "joulelab.analysis.")
MODULES = sorted(module.name for module in FOUND if not module.ispkg)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_hold_and_there_are_some(name):
    module = importlib.import_module(name)

    result = doctest.testmod(module)

    assert result.attempted > 0
    assert result.failed == 0
