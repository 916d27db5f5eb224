"""Models by the name of their factory."""

import pytest
from torch import nn

from joulelab.errors import ServingError, UnknownNameError, UsageError
from joulelab.serving.tasks import ModelSource


def test_a_factory_is_called_with_its_options(tiny_model):
    model = tiny_model("linear", outputs=4).load()
    assert isinstance(model, nn.Module)
    assert model[1].out_features == 4


def test_a_source_is_named_with_its_options():
    assert str(ModelSource("nets:small")) == "nets:small"
    assert str(ModelSource("nets:small", {"width": 2, "act": "relu"})) == (
        "nets:small(width=2, act='relu')"
    )


@pytest.mark.parametrize(
    ("factory", "words"),
    [
        ("serving_models", "does not name a factory"),
        ("serving_models:", "does not name a factory"),
        ("no_such_module:net", "no_such_module cannot be imported: ModuleNotFoundError"),
        ("serving_models:absent", "has no such function"),
        ("serving_models:not_a_model", "is a int, not a torch.nn.Module"),
    ],
)
def test_a_factory_that_cannot_be_used_is_refused(tiny_model, factory, words):
    source = ModelSource(factory, path=tiny_model("null").path)
    with pytest.raises(UsageError, match=words):
        source.load()


def test_a_module_that_raises_is_refused(tmp_path):
    (tmp_path / "raising_models.py").write_text("1 / 0\n")
    with pytest.raises(UsageError, match="cannot be imported: ZeroDivisionError"):
        ModelSource("raising_models:net", path=(str(tmp_path),)).load()


def test_a_factory_that_raises_is_an_error_of_its_own(tiny_model):
    with pytest.raises(ServingError, match=r"broken cannot be built: OSError: no weights here"):
        tiny_model("broken").load()


def test_errors_that_explain_themselves_pass_through(tmp_path):
    (tmp_path / "strict_models.py").write_text(
        "from joulelab.errors import UnknownNameError\n"
        "def net(name):\n"
        "    raise UnknownNameError('network', name, ['resnet18'])\n"
    )
    source = ModelSource("strict_models:net", {"name": "resnet81"}, (str(tmp_path),))
    with pytest.raises(UnknownNameError, match="did you mean 'resnet18'"):
        source.load()
