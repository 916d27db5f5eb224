"""The worked examples in the docstrings hold."""

import doctest
import importlib
import pkgutil

import pytest

import joulelab.analysis

MODULES = sorted(module.name for module in pkgutil.iter_modules(joulelab.analysis.__path__))


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_hold_and_there_are_some(name):
    module = importlib.import_module(f"joulelab.analysis.{name}")

    result = doctest.testmod(module)

    assert result.attempted > 0
    assert result.failed == 0
