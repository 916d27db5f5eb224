"""Accuracy and macro F1, against scikit-learn."""

import doctest

import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score

from joulelab.learning import training_loop as module
from joulelab.learning.engine import Member, TrainingTask
from joulelab.learning.fast.engine import FastEngine
from joulelab.learning.images import load_images, thinned
from joulelab.learning.networks import build_network, networks
from joulelab.learning.reference import ReferenceEngine
from joulelab.learning.training_loop import Evaluation

CPU = torch.device("cpu")


def scores(predicted, labels, classes, batch=7):
    evaluation = Evaluation(CPU)
    logits = torch.nn.functional.one_hot(torch.tensor(predicted), classes).float()
    for start in range(0, len(labels), batch):
        evaluation.add(logits[start : start + batch], torch.tensor(labels[start : start + batch]))
    return evaluation.scores().tolist()


def test_the_worked_example_holds():
    failed, tried = doctest.testmod(module)
    assert failed == 0
    assert tried > 0


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_those_of_scikit_learn_whatever_the_batches(seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 6, (40,), generator=generator).tolist()
    predicted = torch.randint(2, 9, (40,), generator=generator).tolist()  # 6 to 8 are of no image
    expected = (
        accuracy_score(labels, predicted),
        f1_score(labels, predicted, average="macro"),
    )
    # Two of the eleven classes occur nowhere, and do not count.
    assert scores(predicted, labels, 11) == pytest.approx(expected, abs=1e-15)
    assert scores(predicted, labels, 11, batch=40) == pytest.approx(expected, abs=1e-15)


def test_one_class_that_is_always_said_is_worth_little():
    accuracy, f1 = scores([0] * 10, [0] * 9 + [1], 2)
    assert accuracy == 0.9
    assert f1 == pytest.approx((2 * 9 / 19 + 0) / 2)


def test_nothing_evaluated_has_no_scores():
    with pytest.raises(ValueError, match="no batch"):
        Evaluation(CPU).scores()


@pytest.fixture(scope="module")
def digits():
    return thinned(load_images("digits"), 200, 100, seed=0)


@pytest.mark.parametrize("protocol", ["default", "yarally2023"])
def test_both_engines_report_the_same_f1_and_all_parameters(digits, protocol, own_parts):
    @networks.register("half-frozen-scores")
    def half_frozen(shape, classes):
        first = torch.nn.Linear(shape.size, 20).requires_grad_(False)
        last = torch.nn.Linear(20, classes)
        return torch.nn.Sequential(torch.nn.Flatten(), first, torch.nn.ReLU(), last)

    members = (Member(1), Member(2))
    task = TrainingTask("half-frozen-scores", {}, protocol, 5, 20, members)
    reference = ReferenceEngine().train(task, digits, "cpu")
    assert FastEngine().obstacle(task, digits, "cpu") is None
    fast = FastEngine().train(task, digits, "cpu")
    for one, other in zip(reference, fast, strict=True):
        assert 0 < one.f1 < 1
        assert one.f1 != one.accuracy
        assert other.f1 == pytest.approx(one.f1, abs=1e-12)
        assert other.accuracy == one.accuracy
        assert other.train_losses == pytest.approx(one.train_losses, rel=1e-4)
        assert one.parameters == other.parameters == 21 * 10
        assert one.parameters_total == other.parameters_total == 65 * 20 + 21 * 10


class GradientsOff(torch.nn.Module):
    """Its first layer would be trained, were its forward not what it is."""

    def __init__(self, shape, classes):
        super().__init__()
        self.first = torch.nn.Linear(shape.size, 20)
        self.last = torch.nn.Linear(20, classes)

    def forward(self, images):
        with torch.no_grad():
            hidden = torch.relu(self.first(images.flatten(1)))
        return self.last(hidden)


class GradientsCut(GradientsOff):
    def forward(self, images):
        return self.last(torch.relu(self.first(images.flatten(1))).detach())


class DropsOut(GradientsOff):
    def forward(self, images):
        hidden = torch.relu(self.first(images.flatten(1)))
        return self.last(torch.nn.functional.dropout(hidden, training=self.training))


@pytest.mark.parametrize(
    ("network", "says"),
    [
        (GradientsOff, "disables gradients"),
        (GradientsCut, "detach"),
        (DropsOut, "differs in eval mode"),
    ],
)
def test_the_fast_engine_refuses_what_it_would_train_otherwise(digits, network, says, own_parts):
    networks.register("refused")(network)
    task = TrainingTask("refused", {}, "default", 1, 50, (Member(1),))
    assert says in FastEngine().obstacle(task, digits, "cpu")
    with torch.no_grad():  # the answer is about the network and not about who asks
        assert says in FastEngine().obstacle(task, digits, "cpu")
        assert (
            FastEngine().obstacle(
                TrainingTask("SimpleCNN", {}, "default", 1, 50, (Member(1),)), digits, "cpu"
            )
            is None
        )


@pytest.mark.parametrize("base", ["frozen", "trained"])
def test_the_fast_engine_refuses_networks_of_torchvision(base):
    images = thinned(load_images("digits?channels=3&side=32"), 20, 10, seed=0)
    options = {"model": "squeezenet1_1", "base": base}
    task = TrainingTask("torchvision", options, "default", 1, 10, (Member(1),))
    assert FastEngine().obstacle(task, images, "cpu")
    assert build_network("torchvision", images.shape, 10, options).frozen == (base == "frozen")
