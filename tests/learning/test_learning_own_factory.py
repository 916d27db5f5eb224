"""Networks that a function in the user's own module gives, found from the current folder."""

import sys

import pytest
import torch

from joulelab.errors import TrainingError, UsageError
from joulelab.learning.engine import Member, TrainingTask
from joulelab.learning.images import ImageShape, load_images, thinned
from joulelab.learning.networks import build_network, verify_buildable
from joulelab.learning.reference import ReferenceEngine

DIGITS = ImageShape(1, 8, 8)
MODULE = "joulelab_test_own_models"
CODE = """
from torch import nn


def small(shape, classes, *, width=5):
    hidden = [nn.Linear(shape.size, width), nn.ReLU()]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(width, classes))


def nothing(shape, classes):
    return None


def fails(shape, classes):
    raise KeyError("no such layer")


def for_larger_images(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(784, classes))


class Zoo:
    tiny = small
"""


@pytest.fixture(autouse=True)
def own_module(tmp_path, monkeypatch):
    """A module in the current folder, which is forgotten after the test."""
    (tmp_path / f"{MODULE}.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop(MODULE, None)


def verify(attribute, **options):
    return verify_buildable("factory", DIGITS, 10, {"factory": f"{MODULE}:{attribute}", **options})


def test_options_go_to_the_function():
    assert verify("small") == 65 * 5 + 6 * 10
    assert verify("small", width=7) == 65 * 7 + 8 * 10
    assert verify("Zoo.tiny") == verify("small")


def test_such_a_network_is_trained_as_any_other():
    images = thinned(load_images("digits"), 300, 100, seed=0)
    options = {"factory": f"{MODULE}:small", "width": 32}
    task = TrainingTask("factory", options, "default", 20, 32, (Member(1), Member(2)))
    results = ReferenceEngine().train(task, images, "cpu")
    assert all(result.accuracy > 0.7 for result in results)
    with torch.device("meta"):
        assert build_network("factory", DIGITS, 10, options)[1].out_features == 32


@pytest.mark.parametrize(
    ("factory", "says"),
    [
        ("small", "does not name a function"),
        (f"{MODULE}:", "does not name a function"),
        (f"{MODULE}:large", "has no function 'large'"),
        (f"{MODULE}:nn.missing.Linear", "has no function"),
        ("joulelab_test_no_such_module:small", "cannot be imported: ModuleNotFoundError"),
    ],
)
def test_a_function_that_is_not_there_is_said(factory, says):
    with pytest.raises(UsageError, match=says) as raised:
        verify_buildable("factory", DIGITS, 10, {"factory": factory})
    assert raised.value.hint


def test_what_the_function_does_wrong_is_said_with_its_name():
    with pytest.raises(UsageError, match=f"{MODULE}:small has no option 'wide'"):
        verify("small", wide=3)
    with pytest.raises(UsageError, match=f"{MODULE}:nothing is a NoneType"):
        verify("nothing")
    with pytest.raises(TrainingError, match=f"{MODULE}:fails cannot be built.*KeyError"):
        verify("fails")
    with pytest.raises(TrainingError, match=f"{MODULE}:for_larger_images cannot process"):
        verify("for_larger_images")
