"""Networks of torchvision that are trained: heads, weights and frozen bases."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from joulelab.errors import DatasetError, TrainingError, UnknownNameError, UsageError
from joulelab.learning import reference
from joulelab.learning.conformance import check_network
from joulelab.learning.engine import Hyperparameters, Member, TrainingTask
from joulelab.learning.fast.engine import FastEngine
from joulelab.learning.images import Images, ImageShape, load_images, thinned
from joulelab.learning.networks import (
    build_network,
    count_parameters,
    network_label,
    verify_buildable,
)
from joulelab.learning.placement import Placement, Shelf
from joulelab.learning.reference import ReferenceEngine
from joulelab.learning.training_loop import seeded
from joulelab.learning.zoo import (
    build_classifier,
    network_source,
    training_weights,
    weights_file,
    zoo,
)
from joulelab.learning.zoo_training import DEVIATION, MEAN

SMALL = "shufflenet_v2_x0_5"
COLOUR, DIGITS = ImageShape(3, 32, 32), ImageShape(1, 8, 8)
# One of each family; those that take no images of 64 pixels are asked for with what they take.
FAMILIES = {
    "alexnet": 64,
    "vgg11_bn": 64,
    "googlenet": 64,
    "resnet18": 64,
    "resnext50_32x4d": 64,
    "inception_v3": 96,
    "squeezenet1_0": 64,
    "densenet121": 64,
    "mobilenet_v2": 64,
    "shufflenet_v2_x0_5": 64,
    "mnasnet0_5": 64,
    "mobilenet_v3_small": 64,
    "efficientnet_b0": 64,
    "regnet_x_400mf": 64,
    "vit_b_32": 224,
    "swin_t": 64,
    "swin_v2_t": 64,
    "convnext_tiny": 64,
    "maxvit_t": 224,
}
# Their heads are cut as those of the others are.
QUICK = {
    "alexnet",
    "resnet18",
    "shufflenet_v2_x0_5",
    "squeezenet1_0",
    "vgg11_bn",
}


@pytest.fixture(autouse=True)
def checkpoints(tmp_path, monkeypatch):
    """No weights lie in torch's folder but those that a test puts there."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def build(shape=COLOUR, classes=10, seed=1, **options):
    torch.manual_seed(seed)
    return build_network("torchvision", shape, classes, options)


def gradients(network, batch=4):
    """Backward through a batch; names of the parameters that a gradient has reached."""
    images = torch.rand(batch, 3, 32, 32)
    torch.autograd.backward(cross_entropy(network(images), torch.arange(batch)))
    return {name for name, one in network.named_parameters() if one.grad is not None}


@pytest.mark.parametrize(
    "model", [pytest.param(one, marks=[pytest.mark.long] * (one not in QUICK)) for one in FAMILIES]
)
def test_every_family_fits_with_every_head_and_base(model):
    shape = ImageShape(3, FAMILIES[model], FAMILIES[model])
    trained = verify_buildable("torchvision", shape, 7, {"model": model})
    frozen = verify_buildable("torchvision", shape, 7, {"model": model, "base": "frozen"})
    assert 0 < frozen < trained
    papers = {"model": model, "head": "xu2023", "base": "frozen"}
    assert verify_buildable("torchvision", shape, 7, papers) > 4096**2


@pytest.mark.long
@pytest.mark.parametrize("model", zoo())
def test_every_network_of_the_zoo_fits(model):
    for head in ("linear", "xu2023"):
        options = {"model": model, "head": head, "base": "frozen"}
        assert verify_buildable("torchvision", ImageShape(3, 224, 224), 7, options) > 0


@pytest.mark.parametrize("base", ["trained", "frozen"])
def test_they_keep_the_promises_of_a_network(base):
    check_network("torchvision", [COLOUR], options={"model": "squeezenet1_1", "base": base})


@pytest.mark.parametrize(
    ("model", "features"), [("vgg16", 512), ("vgg19", 512), ("resnet50", 2048), ("vit_b_32", 768)]
)
def test_the_papers_head_is_two_layers_of_4096_on_the_features_before_the_pooling(model, features):
    side = 224 if model == "vit_b_32" else 32
    shape = ImageShape(3, side, side)
    options = {"model": model, "head": "xu2023", "base": "frozen"}
    expected = (features + 1) * 4096 + (4096 + 1) * 4096 + (4096 + 1) * 10
    assert verify_buildable("torchvision", shape, 10, options) == expected
    with torch.device("meta"):
        head = build_network("torchvision", shape, 10, options).head
    kinds = [type(layer) for layer in head]
    hidden = [nn.Linear, nn.ReLU]
    assert kinds == [nn.Flatten, *hidden, *hidden, nn.Dropout, nn.Linear]
    assert head[5].p == 0.5


def test_larger_images_give_the_papers_head_more_features():
    # 224 pixels, halved five times, are 7 x 7, which Keras' VGG16 without top flattens as well.
    with torch.device("meta"):
        network = build(ImageShape(3, 224, 224), model="vgg16", head="xu2023")
        assert network.head[1].in_features == 512 * 7 * 7
        assert (
            build(ImageShape(3, 48, 64), model="vgg16", head="xu2023").head[1].in_features == 1024
        )


def test_the_linear_head_alone_is_new():
    with torch.device("meta"):
        network = build(model="vgg11", classes=3)
    assert (network.head.in_features, network.head.out_features) == (4096, 3)
    original = sum(one.numel() for one in build_classifier(SMALL, "random").parameters())
    assert (
        verify_buildable("torchvision", COLOUR, 5, {"model": SMALL})
        == original - 1025 * 1000 + 1025 * 5
    )


def test_weights_that_the_head_replaces_are_never_drawn():
    network = build(model="vgg11", head="xu2023")
    assert not any(one.is_meta for one in network.state_dict().values())
    assert isinstance(network.body.get_submodule("classifier"), nn.Identity)
    # ... and what stays is drawn as torchvision draws it.
    assert network.body.features[0].bias.abs().max() == 0
    weight = network.body.features[18].weight.detach()
    assert weight.std() == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.02)


def test_a_frozen_base_has_no_gradients_and_stays_as_it_is():
    network = build(model=SMALL, base="frozen").train()
    assert network.training
    assert network.head.training
    assert not any(module.training for module in network.body.modules())
    before = {name: value.clone() for name, value in network.body.state_dict().items()}
    assert gradients(network) == {"head.weight", "head.bias"}
    for name, value in network.body.state_dict().items():
        assert torch.equal(value, before[name])


def test_no_graph_is_built_for_a_frozen_base():
    network = build(model=SMALL, base="frozen", seed=2)
    kept = []
    images = torch.rand(2, 3, 32, 32, requires_grad=True)  # even where something below would ask
    with torch.autograd.graph.saved_tensors_hooks(lambda one: kept.append(one) or one, lambda x: x):
        network(images)
    # The linear layer keeps its input and its weight, and nothing else is kept.
    assert {tuple(one.shape) for one in kept} <= {(2, 1024), (10, 1024), (1024, 10)}
    assert kept


def test_a_trained_base_gets_gradients_everywhere_and_keeps_its_statistics():
    network = build(model=SMALL, base="trained")
    norm = network.body.conv1[1]
    before = norm.running_mean.clone()
    assert gradients(network) == {name for name, _ in network.named_parameters()}
    assert not torch.equal(norm.running_mean, before)


def test_evaluation_mode_turns_the_heads_dropout_off():
    network = build(model="squeezenet1_1", base="frozen")
    images = torch.rand(2, 3, 32, 32)
    assert not torch.equal(network(images), network(images))
    network.eval()
    assert torch.equal(network(images), network(images))
    assert torch.is_grad_enabled()


def test_images_are_normalised_as_for_imagenet():
    network = build(model=SMALL).eval()
    image = torch.rand(1, 3, 32, 32)
    shifted = (image - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(DEVIATION).view(
        1, 3, 1, 1
    )
    with torch.no_grad():
        assert torch.equal(network(image), network.head(network.body(shifted)))


def test_the_same_seed_gives_the_same_weights_whatever_was_built_before():
    first = build(model="squeezenet1_1", head="xu2023", seed=5).state_dict()
    again = build(model="squeezenet1_1", head="xu2023", seed=5).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    one, other = (build(model=SMALL, seed=seed).head.weight for seed in (5, 6))
    assert not torch.equal(one, other)


def test_published_weights_that_lie_here_are_used_and_not_read_to_plan(checkpoints):
    from torchvision import models

    options = {"model": SMALL, "weights": "auto"}
    assert training_weights("torchvision", options) == "random"
    file = weights_file(models.get_model_weights(SMALL)["IMAGENET1K_V1"])
    torch.manual_seed(3)
    wanted = build_classifier(SMALL, "random").state_dict()
    torch.save(wanted, file)
    assert training_weights("torchvision", options) == "IMAGENET1K_V1"
    network = build(**options)
    for name, value in network.body.state_dict().items():
        assert torch.equal(value, wanted[name])
    file.write_bytes(b"damaged")
    assert verify_buildable("torchvision", COLOUR, 10, options) > 0
    with pytest.raises(DatasetError, match="cannot be read"):
        build(**options)


def test_of_published_weights_only_those_are_read_that_stay(checkpoints):
    from torchvision import models

    torch.manual_seed(4)
    whole = models.get_model("alexnet", weights=None).state_dict()
    classifier = {f"classifier.{layer}.weight" for layer in (1, 4, 6)}  # 58 of 61 million weights
    published = {name: value for name, value in whole.items() if name not in classifier}
    file = weights_file(models.get_model_weights("alexnet")["IMAGENET1K_V1"])
    torch.save(published, file)
    shape, options = ImageShape(3, 64, 64), {"model": "alexnet", "head": "xu2023"}
    network = build(shape, **options)
    assert not any(one.is_meta for one in network.state_dict().values())
    for name, value in network.body.state_dict().items():
        assert torch.equal(value, published[name])
    torch.save(dict(list(published.items())[1:]), file)
    with pytest.raises(DatasetError, match=r"cannot be read: 'features\.0\.weight'"):
        build(shape, **options)


def test_weights_for_larger_images_ask_for_larger_images(checkpoints):
    from torchvision import models

    options = {"model": "vit_b_16", "weights": "IMAGENET1K_SWAG_E2E_V1"}
    weights_file(models.get_model_weights("vit_b_16")[options["weights"]]).touch()
    with pytest.raises(TrainingError) as raised:
        verify_buildable("torchvision", ImageShape(3, 224, 224), 10, options)
    assert "?side=384" in raised.value.hint
    assert verify_buildable("torchvision", ImageShape(3, 384, 384), 10, options) > 0


def test_weights_are_said_in_a_word():
    assert training_weights("SimpleCNN", {}) == ""
    assert training_weights("factory", {"factory": "mymodels:small"}) == ""
    assert training_weights("torchvision", {"model": SMALL, "weights": "random"}) == "random"
    with pytest.raises(DatasetError, match="never downloads"):
        training_weights("torchvision", {"model": SMALL, "weights": "pretrained"})


@pytest.mark.parametrize(
    ("shape", "model", "hint"),
    [
        (ImageShape(3, 64, 64), "vit_b_32", "?side=224"),
        (ImageShape(3, 32, 32), "alexnet", "?side=64"),
        (ImageShape(1, 64, 64), "alexnet", "?channels=3 "),
        (DIGITS, "inception_v3", "?channels=3&side=96"),
        (DIGITS, "squeezenet1_1", "?channels=3&side=32"),
    ],
)
def test_images_that_do_not_fit_are_refused_with_the_settings_that_would(shape, model, hint):
    with pytest.raises(TrainingError, match=model) as raised:
        verify_buildable("torchvision", shape, 10, {"model": model})
    assert hint in raised.value.hint


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "needs the option 'model'"),
        ({"model": "resnet18", "bases": "frozen"}, "no option 'bases'"),
        ({"model": "resnet18", "base": "frosen"}, "base = 'frosen'"),
        ({"model": "resnet18", "head": "deep"}, "head = 'deep'"),
        ({"model": "resnet19"}, "unknown torchvision classifier 'resnet19'"),
        ({"model": "resnet18", "weights": "IMAGENET1K_V9"}, "unknown set of weights of resnet18"),
    ],
)
def test_an_impossible_option_is_refused(options, says):
    with pytest.raises(UsageError, match=says) as raised:
        verify_buildable("torchvision", COLOUR, 10, options)
    assert raised.value.hint


@pytest.mark.parametrize("text", ["SimpleCNN", "resnet50", "maxvit_t", "mine.nets:Small.of"])
def test_what_a_user_calls_a_network_is_how_errors_call_it(text):
    assert network_label(*network_source(text)) == text


@pytest.mark.parametrize(
    ("text", "near"), [("simplecnn", "SimpleCNN"), ("resnet51", "resnet50"), ("vgg-16", "vgg16")]
)
def test_an_unknown_network_is_refused_with_the_nearest_of_all_kinds(text, near):
    with pytest.raises(UnknownNameError) as raised:
        network_source(text)
    assert raised.value.hint == f"did you mean {near!r}?"


@pytest.mark.parametrize("text", [":small", "mymodels:", ":"])
def test_half_of_a_function_is_refused(text):
    with pytest.raises(UsageError, match="does not name a function"):
        network_source(text)


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
    options = {"model": SMALL, "weights": "random", "base": "frozen"}
    task = replace(TASK, network_options=options, protocol="default")
    (result,) = train(task, images)
    with seeded(1, CPU):
        network = build_network("torchvision", images.shape, 10, options)
        adam = torch.optim.Adam(network.head.parameters(), 1e-3, weight_decay=0.1)
        order = reference.ImageOrder(64, 16, 1, reshuffle_each_epoch=True)
        with torch.no_grad():
            pixels = images.train.images / 255
            features = network.body((pixels - network.mean) / network.deviation)
        losses = []
        for _ in range(task.epochs):
            total = 0.0
            for rows in order.next_epoch(CPU):
                adam.zero_grad()
                loss = cross_entropy(network.head(features[rows]), images.train.labels[rows])
                loss.backward()
                adam.step()
                total += loss.item() * len(rows) / 64
            losses.append(total)
    assert result.train_losses == pytest.approx(losses, rel=1e-4)
    assert losses[1] < losses[0]


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
    (result,) = train(replace(TASK, network_options=options, max_steps=1), images)
    ((network, before),) = built
    assert changed(network, before) == {f"head.{name}" for name in network.head.state_dict()}
    assert result.parameters == count_parameters(network.head)
    assert result.steps == 1


def test_images_of_another_shape_are_refused_by_name_before_they_are_trained_on(images):
    grey = thinned(load_images("digits"), 20, 10, seed=0)
    with pytest.raises(TrainingError, match="squeezenet1_1 cannot process images of 1x8x8") as said:
        train(TASK, grey)
    assert "?channels=3&side=32" in said.value.hint
    assert images.shape == ImageShape(3, 32, 32)
