"""Real trainings of a frozen network of torchvision: what changes, what stays, what is reported."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy

from joulelab.errors import TrainingError
from joulelab.learning import reference
from joulelab.learning.engine import Hyperparameters, Member, TrainingTask
from joulelab.learning.fast.engine import FastEngine
from joulelab.learning.images import Images, ImageShape, load_images, thinned
from joulelab.learning.networks import build_network, count_parameters, verify_buildable
from joulelab.learning.placement import Placement, Shelf
from joulelab.learning.reference import ReferenceEngine
from joulelab.learning.training_loop import seeded

CPU = torch.device("cpu")
OPTIONS = {"model": "squeezenet1_1", "weights": "random", "base": "frozen"}
ADAM = Hyperparameters(learning_rate=1e-3, weight_decay=0.1)
TASK = TrainingTask("torchvision", OPTIONS, "xu2023", 2, 16, (Member(1, ADAM),))
# The last layer of SqueezeNet: 512 channels to 10 classes, and ten biases.
HEAD = 512 * 10 + 10


@pytest.fixture(scope="module")
def images() -> Images:
    return thinned(load_images("digits?channels=3&side=32"), 64, 40, seed=0)


@pytest.fixture
def built(monkeypatch):
    """Every network that the reference engine builds, with what it was before its training."""
    networks = []

    def noted(*args):
        network = build_network(*args)
        state = {name: value.clone() for name, value in network.state_dict().items()}
        networks.append((network, state))
        return network

    monkeypatch.setattr(reference, "build_network", noted)
    return networks


def train(task, images, **options):
    return ReferenceEngine(**options).train(task, images, "cpu")


def changed(network, before):
    return {k for k, value in network.state_dict().items() if not torch.equal(value, before[k])}


@pytest.mark.parametrize("model", ["squeezenet1_1", "shufflenet_v2_x0_5"])
@pytest.mark.parametrize("protocol", ["default", "yarally2023", "xu2023"])
def test_only_the_head_is_trained_and_statistics_of_the_base_stay(model, protocol, images, built):
    task = replace(TASK, network_options={**OPTIONS, "model": model}, protocol=protocol)
    (result,) = train(task, images)
    ((network, before),) = built
    head = {f"head.{name}" for name in network.head.state_dict()}
    assert changed(network, before) == head
    assert any("running_mean" in name for name in before) == (model == "shufflenet_v2_x0_5")
    assert not result.diverged
    assert result.steps == 2 * 4


def test_a_trained_base_changes_with_its_statistics(images, built):
    options = {"model": "shufflenet_v2_x0_5", "weights": "random", "base": "trained"}
    train(replace(TASK, network_options=options, epochs=1), images)
    ((network, before),) = built
    left = set(before) - changed(network, before)
    assert left == {"mean", "deviation"}


def test_what_a_result_says_of_a_frozen_network(images):
    (result,) = train(TASK, images)
    assert result.parameters == HEAD
    whole = TASK.network_options | {"base": "trained"}
    assert result.parameters_total == verify_buildable("torchvision", images.shape, 10, whole)
    assert 0 <= result.f1 <= 1
    assert 0 <= result.accuracy <= 1
    assert result.engine == "reference"


def test_the_head_learns_as_a_layer_on_fixed_features_does(images):
    """The yardstick: features computed once, and the head trained on them by itself."""
    options = {"model": "mobilenet_v3_small", "weights": "random", "base": "frozen"}
    task = replace(TASK, network_options=options, protocol="default", epochs=3)
    (result,) = train(task, images)
    with seeded(1, CPU):
        network = build_network("torchvision", images.shape, 10, options)
        adam = torch.optim.Adam(network.head.parameters(), 1e-3, weight_decay=0.1)
        order = reference.ImageOrder(64, 16, 1, reshuffle_each_epoch=True)
        with torch.no_grad():
            pixels = images.train.images / 255
            features = network.body((pixels - network.mean) / network.deviation)
        losses = []
        for _ in range(3):
            total = 0.0
            for rows in order.next_epoch(CPU):
                adam.zero_grad()
                loss = cross_entropy(network.head(features[rows]), images.train.labels[rows])
                loss.backward()
                adam.step()
                total += loss.item() * len(rows) / 64
            losses.append(total)
    assert result.train_losses == pytest.approx(losses, rel=1e-4)
    assert losses[2] < losses[0]


def test_the_same_seed_gives_the_same_training_and_another_another(images):
    task = replace(TASK, members=(Member(1, ADAM), Member(2, ADAM), Member(1, ADAM)))
    one, other, again = train(task, images)
    assert again == one
    assert other.train_losses != one.train_losses
    (streamed,) = train(TASK, images, shelf=Shelf(Placement.STREAMED))
    assert streamed.train_losses == one.train_losses


def test_the_fast_engine_gives_what_the_reference_gives_and_says_so(images):
    engine = FastEngine()
    assert engine.obstacle(TASK, images, "cpu")
    assert engine.train(TASK, images, "cpu") == train(TASK, images)


def test_the_papers_head_is_trained_on_a_frozen_base(images, built):
    options = {"model": "shufflenet_v2_x0_5", "base": "frozen", "head": "xu2023"}
    (result,) = train(replace(TASK, network_options=options, max_steps=2), images)
    ((network, before),) = built
    assert changed(network, before) == {f"head.{name}" for name in network.head.state_dict()}
    assert result.parameters == count_parameters(network.head)
    assert result.steps == 2


def test_images_of_another_shape_are_refused_by_name_before_they_are_trained_on(images):
    grey = thinned(load_images("digits"), 20, 10, seed=0)
    with pytest.raises(TrainingError, match="squeezenet1_1 cannot process images of 1x8x8") as said:
        train(TASK, grey)
    assert "?channels=3&side=32" in said.value.hint
    assert images.shape == ImageShape(3, 32, 32)
