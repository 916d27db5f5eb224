"""The zoo: its table, torchvision's figures, and networks that are built without a download."""

import doctest
import socket
import warnings

import pytest
import torch

from joulelab.errors import DatasetError, UnknownNameError, UsageError
from joulelab.learning import zoo as module
from joulelab.learning.flops import FlopCount
from joulelab.learning.zoo import (
    build_classifier,
    classifier_names,
    classifier_source,
    find_weights,
    published_weights,
    representatives,
    weights_file,
    weights_used,
    zoo,
)
from joulelab.learning.zoo_figures import forward_flops, parameter_count, zoo_figures

PAPER = ["alexnet", "densenet121", "shufflenet_v2_x0_5", "vit_b_16", "convnext_base"]
SMALL = "shufflenet_v2_x0_5"
ONE_OF_EACH = [
    *PAPER,
    "vgg16",
    "googlenet",
    "resnet50",
    "inception_v3",
    "squeezenet1_1",
    "mobilenet_v2",
    "efficientnet_b0",
    "regnet_y_400mf",
    "swin_v2_t",
    "maxvit_t",
]
QUICK = {"alexnet", "resnet50", "shufflenet_v2_x0_5", "vgg16", "vit_b_16"}


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("something is downloaded")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(autouse=True)
def checkpoints(tmp_path, monkeypatch):
    """An empty folder for weights files."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def images(side_px, count=1):
    return torch.rand(count, 3, side_px, side_px, generator=torch.Generator().manual_seed(0))


def test_the_worked_examples_hold():
    failed, tried = doctest.testmod(module)
    assert failed == 0
    assert tried > 0


def test_the_table_names_every_classifier_of_torchvision_that_it_can():
    assert set(zoo()) <= set(classifier_names())
    assert len(zoo()) >= 25
    assert [one.year for one in zoo().values()] == sorted(one.year for one in zoo().values())
    assert zoo()["alexnet"].year == 2012
    assert max(one.year for one in zoo().values()) >= 2022


def test_every_network_has_a_source_and_a_family_has_one():
    by_family = {}
    for one in zoo().values():
        assert one.authors
        assert one.title
        assert one.source
        by_family.setdefault(one.family, set()).add((one.year, one.citation, one.title))
    assert all(len(said) == 1 for said in by_family.values())


def test_a_preprint_number_agrees_with_the_year():
    for one in zoo().values():
        if one.source.startswith("arXiv:"):
            assert 2000 + int(one.source.removeprefix("arXiv:")[:2]) == one.year


def test_representatives_hold_every_family_and_the_five_of_the_paper():
    chosen = representatives()
    assert len(chosen) >= 25
    assert set(PAPER) <= set(chosen)
    assert {zoo()[name].family for name in chosen} == {one.family for one in zoo().values()}


def test_an_unknown_network_gets_the_nearest_name():
    for ask in (build_classifier, published_weights, weights_used):
        with pytest.raises(UnknownNameError, match="resnet50"):
            ask("resnet5O")


def test_accuracies_are_shares_of_the_first_published_weights():
    assert zoo_figures("resnet50").published_top1 == pytest.approx(0.7613)
    offered = published_weights("resnet50")
    assert offered["IMAGENET1K_V2"].top1 == pytest.approx(0.80858)
    assert published_weights("vgg16")["IMAGENET1K_FEATURES"].top1 is None
    for name in representatives():
        first = published_weights(name)["IMAGENET1K_V1"]
        assert 0.5 < first.top1 < 0.9


def test_weights_that_are_only_for_other_images_give_no_accuracy(monkeypatch):
    # Its operations, which take a second to count, do not matter here.
    monkeypatch.setattr("joulelab.learning.zoo_figures.forward_flops", lambda *_: FlopCount(1))
    assert zoo_figures("vit_h_14", "random", image_px=224).published_top1 is None


@pytest.mark.parametrize(
    "name",
    [pytest.param(one, marks=[pytest.mark.long] * (one not in QUICK)) for one in ONE_OF_EACH],
)
def test_operations_are_twice_torchvisions_multiply_adds(name):
    from torchvision import models

    published = models.get_model_weights(name)["IMAGENET1K_V1"]
    counted = forward_flops(name, published_weights(name)["IMAGENET1K_V1"].crop_px)
    assert counted.per_image == pytest.approx(2e9 * published.meta["_ops"], rel=0.015)


def test_operations_of_alexnet_by_hand():
    convolutions = [
        (55 * 55, 3 * 11 * 11, 64),
        (27 * 27, 64 * 5 * 5, 192),
        (13 * 13, 192 * 3 * 3, 384),
        (13 * 13, 384 * 3 * 3, 256),
        (13 * 13, 256 * 3 * 3, 256),
    ]
    linear = [(1, 256 * 6 * 6, 4096), (1, 4096, 4096), (1, 4096, 1000)]
    wanted = sum(2 * m * k * n for m, k, n in convolutions + linear)
    assert forward_flops("alexnet").per_image == wanted


def test_operations_grow_with_the_image():
    assert forward_flops("resnet18", 448).per_image > 3.9 * forward_flops("resnet18").per_image


@pytest.mark.parametrize(
    "name", ["alexnet", "resnet18", "vit_b_16", "regnet_x_400mf", "swin_v2_t", SMALL]
)
def test_parameters_are_those_that_torchvision_publishes(name):
    from torchvision import models

    published = models.get_model_weights(name)["IMAGENET1K_V1"]
    assert parameter_count(name) == published.meta["num_params"]


def test_a_head_that_only_training_uses_is_not_counted():
    from torchvision import models

    published = models.Inception_V3_Weights.IMAGENET1K_V1.meta["num_params"]
    assert published - parameter_count("inception_v3") == 3_326_696


def test_the_figures_of_a_network_go_with_the_image_it_is_served():
    own, cropped = zoo_figures("inception_v3"), zoo_figures("inception_v3", image_px=224)
    assert (own.image_px, own.crop_px) == (299, 299)
    assert (cropped.image_px, cropped.crop_px) == (224, 299)
    assert cropped.flops_per_image < own.flops_per_image
    assert own.year == 2015
    assert own.source.endswith("arXiv:1512.00567")
    assert own.weights == "random"


@pytest.mark.parametrize("name", ["googlenet", "inception_v3", SMALL, "regnet_y_400mf"])
def test_random_networks_answer_without_a_warning(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network = build_classifier(name, "random")
    assert not network.training
    with torch.inference_mode():
        logits = network(images(224))
    assert logits.shape == (1, 1000)
    assert torch.isfinite(logits).all()


def test_the_caller_seeds_random_weights():
    def first_weight(seed):
        torch.manual_seed(seed)
        return next(build_classifier(SMALL, "random").parameters())

    assert torch.equal(first_weight(1), first_weight(1))
    assert not torch.equal(first_weight(1), first_weight(2))


def test_random_weights_draw_no_denormal_numbers():
    # Arithmetic on denormal numbers is slow on many processors and would falsify time and energy.
    network = build_classifier("efficientnet_b0", "random")
    smallest = torch.finfo(torch.float32).tiny
    shares = []

    def count(_module, _inputs, output):
        size = output.abs()
        shares.append(float(((size > 0) & (size < smallest)).float().mean()))

    for layer in network.modules():
        if not list(layer.children()):
            layer.register_forward_hook(count)
    with torch.inference_mode():
        network(images(224))
    assert len(shares) > 100
    assert max(shares) < 1e-3


def test_weights_are_random_where_no_file_lies():
    assert weights_used(SMALL, "auto") == "random"
    assert weights_used(SMALL, "random") == "random"
    assert find_weights(SMALL, "auto") is None


def test_pretrained_without_a_file_says_where_it_would_have_to_lie(checkpoints):
    for weights in ("pretrained", "IMAGENET1K_V1"):
        with pytest.raises(DatasetError, match="never downloads") as caught:
            build_classifier(SMALL, weights)
        assert str(checkpoints / "shufflenetv2_x0.5-f707e7126e.pth") in caught.value.message


def test_weights_that_nobody_published_are_refused():
    with pytest.raises(UnknownNameError, match="IMAGENET1K_V1"):
        build_classifier(SMALL, "IMAGENET1K_V3")
    with pytest.raises(UsageError, match="SWAG"):
        weights_used("vit_h_14", "pretrained")


@pytest.mark.parametrize("weights", ["auto", "pretrained", "IMAGENET1K_V1"])
def test_a_file_that_lies_there_is_used(weights):
    entry = published_file(SMALL)
    torch.manual_seed(3)
    torch.save(build_classifier(SMALL, "random").state_dict(), weights_file(entry))
    wanted = torch.load(weights_file(entry), weights_only=True)
    assert weights_used(SMALL, weights) == "IMAGENET1K_V1"
    network = build_classifier(SMALL, weights)
    assert not network.training
    for name, value in network.state_dict().items():
        assert torch.equal(value, wanted[name])


def test_the_second_weights_are_used_where_only_they_lie():
    second = published_file("mobilenet_v3_large", "IMAGENET1K_V2")
    weights_file(second).touch()
    assert weights_used("mobilenet_v3_large", "auto") == "IMAGENET1K_V2"
    # What it is run with is one thing, the accuracy of its year another.
    figures = zoo_figures("mobilenet_v3_large")
    assert (figures.weights, figures.published_weights) == ("IMAGENET1K_V2", "IMAGENET1K_V1")
    assert zoo_figures("mobilenet_v3_large", "IMAGENET1K_V2").published_top1 > 0.75


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_pretrained_networks_leave_their_training_heads_out(name):
    from torchvision import models

    whole = models.get_model(name, weights=None, aux_logits=True, init_weights=False)
    torch.save(whole.state_dict(), weights_file(published_file(name)))
    network = build_classifier(name, "pretrained")
    assert sum(one.numel() for one in network.parameters()) == parameter_count(name)
    with torch.inference_mode():
        assert network(images(224)).shape == (1, 1000)


def test_a_damaged_file_is_said():
    entry = published_file(SMALL)
    weights_file(entry).write_bytes(b"half a file")
    with pytest.raises(DatasetError, match="cannot be read"):
        build_classifier(SMALL, "auto")


def test_a_models_text_is_a_factory_and_its_options():
    factory, options = classifier_source("alexnet")
    assert factory == module.FACTORY
    assert options == {"name": "alexnet", "weights": "auto"}
    assert classifier_source("mine.nets:tiny") == ("mine.nets:tiny", {})
    for text in (":tiny", "mine:", " : "):
        with pytest.raises(UsageError, match="module:function"):
            classifier_source(text)
    with pytest.raises(UsageError, match="resnet18"):
        classifier_source("resnet81")


def published_file(name, weights="IMAGENET1K_V1"):
    from torchvision import models

    return models.get_model_weights(name)[weights]
