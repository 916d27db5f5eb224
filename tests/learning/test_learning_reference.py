"""The reference engine: what it computes, what follows from a seed, what a protocol changes."""

import logging
import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from joulelab.errors import TrainingError, UsageError
from joulelab.learning.conformance import check_engine
from joulelab.learning.engine import Hyperparameters, Member, TrainingTask, engines
from joulelab.learning.images import Images, Split, load_images, thinned
from joulelab.learning.networks import build_network, networks
from joulelab.learning.placement import Placement, Shelf
from joulelab.learning.reference import ReferenceEngine
from joulelab.learning.training_loop import ImageOrder

TASK = TrainingTask("SimpleCNN", {}, "default", 2, 32, (Member(1),))


@pytest.fixture(scope="module")
def digits():
    return thinned(load_images("digits"), 150, 60, seed=0)


@pytest.fixture
def spy(own_parts):
    """A network, registered for one test, that notes the batches and the mode it gets."""
    seen = []

    class Spy(nn.Module):
        def __init__(self, shape, classes):
            super().__init__()
            self.norm = nn.BatchNorm2d(shape.channels)
            self.linear = nn.Linear(shape.size, classes)

        def forward(self, images):
            seen.append((images.clone(), self.training))
            return self.linear(self.norm(images).flatten(1))

    networks.register("spy")(Spy)
    return seen


def _train(task, images, **options):
    return ReferenceEngine(**options).train(task, images, "cpu")


def test_it_keeps_the_promises_of_an_engine():
    check_engine(ReferenceEngine)


def test_it_is_the_registered_reference():
    assert engines.get("reference") is ReferenceEngine


def test_it_computes_what_the_papers_loop_computes(digits):
    values = Hyperparameters(2e-3, 0.8, 0.95, 1e-7, 0.01)
    task = replace(TASK, network="DensePolyNN", members=(Member(1, values),), epochs=3)
    (result,) = _train(task, digits)

    torch.manual_seed(1)
    network = build_network("DensePolyNN", digits.shape, digits.classes)
    adam = torch.optim.Adam(network.parameters(), 2e-3, (0.8, 0.95), 1e-7, 0.01)
    order = ImageOrder(150, 32, 1, reshuffle_each_epoch=True)
    losses = []
    for _ in range(3):
        total = 0.0
        for rows in order.next_epoch(torch.device("cpu")):
            adam.zero_grad()
            loss = cross_entropy(
                network(digits.train.images[rows] / 255), digits.train.labels[rows]
            )
            loss.backward()
            adam.step()
            total += loss.item() * len(rows)
        losses.append(total / 150)
    with torch.no_grad():
        right = network(digits.test.images / 255).argmax(1) == digits.test.labels
    assert result.train_losses == pytest.approx(losses, rel=1e-12)
    assert result.accuracy == right.double().mean().item()
    assert result.steps == 3 * math.ceil(150 / 32)


def test_digits_are_learnt():
    images = load_images("digits")
    (result,) = _train(replace(TASK, network="DensePolyNN", epochs=10), images)
    assert result.accuracy > 0.9
    assert result.train_losses[-1] < result.train_losses[0]


def test_weights_of_a_seed_do_not_follow_the_order_of_images(digits):
    order = ImageOrder(1000, 1000, 5, reshuffle_each_epoch=True)
    (permutation,) = order.next_epoch(torch.device("cpu"))
    plain = torch.randperm(1000, generator=torch.Generator().manual_seed(5))
    assert not torch.equal(permutation, plain)


def test_the_default_protocol_draws_new_batches_every_epoch(spy, digits):
    _train(replace(TASK, network="spy"), digits)
    first, second = spy[:5], spy[5:10]
    assert [len(images) for images, _ in first] == [32, 32, 32, 32, 22]
    assert all(training for _, training in first + second)
    assert not torch.equal(first[0][0], second[0][0])
    everything = [torch.cat([images for images, _ in epoch]) for epoch in (first, second)]
    # Each epoch has every image once.
    assert torch.equal(*(images.flatten(1).sum(1).sort()[0] for images in everything))


def test_the_papers_protocol_reuses_its_batches(spy, digits):
    _train(replace(TASK, network="spy", protocol="yarally2023"), digits)
    for (first, _), (second, _) in zip(spy[:5], spy[5:10], strict=True):
        assert torch.equal(first, second)


def test_batches_of_two_seeds_differ_under_the_papers_protocol(spy, digits):
    task = replace(
        TASK, network="spy", protocol="yarally2023", epochs=1, members=(Member(1), Member(2))
    )
    _train(task, digits)
    assert not torch.equal(spy[0][0], spy[6][0])


def test_the_default_protocol_evaluates_in_eval_mode_in_bounded_batches(spy, monkeypatch, digits):
    monkeypatch.setattr("joulelab.learning.training_loop.EVALUATION_BATCH", 25)
    _train(replace(TASK, network="spy"), digits)
    assert [(len(images), training) for images, training in spy[10:]] == [
        (25, False),
        (25, False),
        (10, False),
    ]


def test_the_papers_protocol_evaluates_in_train_mode_on_one_batch(spy, monkeypatch, digits):
    monkeypatch.setattr("joulelab.learning.training_loop.EVALUATION_BATCH", 25)
    _train(replace(TASK, network="spy", protocol="yarally2023"), digits)
    assert [(len(images), training) for images, training in spy[10:]] == [(60, True)]


def test_batch_norm_uses_test_statistics_under_the_papers_protocol(digits):
    """Brighter test images than training images: only their own statistics make up for it."""
    train = Split(digits.train.images // 4, digits.train.labels)
    shifted = Images("shifted", train, digits.test, digits.classes, "a test")
    task = replace(TASK, epochs=15, members=(Member(1, Hyperparameters(learning_rate=5e-3)),))
    (with_own,) = _train(replace(task, protocol="yarally2023"), shifted)
    (with_running,) = _train(task, shifted)
    assert with_own.accuracy > with_running.accuracy


def test_the_papers_protocol_ignores_beta2(digits):
    def losses(protocol, beta2):
        values = Hyperparameters(beta2=beta2)
        task = replace(TASK, protocol=protocol, members=(Member(1, values),))
        return _train(task, digits)[0].train_losses

    assert losses("yarally2023", 0.8) == losses("yarally2023", 0.999)
    assert losses("default", 0.8) != losses("default", 0.999)


def test_every_placement_gives_the_same_numbers(digits):
    results = [_train(TASK, digits, shelf=Shelf(placement))[0] for placement in Placement]
    assert [result.placement for result in results] == ["resident", "resident-uint8", "streamed"]
    assert len({replace(result, placement="") == results[0] for result in results}) == 1
    assert len({(result.train_losses, result.accuracy) for result in results}) == 1


def test_the_data_set_is_placed_once_and_replaced_by_the_next(digits, caplog):
    engine = ReferenceEngine()
    other = thinned(digits, 100, 50, seed=1)
    with caplog.at_level(logging.INFO, logger="joulelab"):
        for images in (digits, digits, other):
            engine.train(replace(TASK, max_steps=1), images, "cpu")
    assert [record.message for record in caplog.records] == [
        "digits: 0.0134 MB as uint8, resident on cpu",
        "digits: 0.0096 MB as uint8, resident on cpu",
    ]


def test_streaming_is_a_warning(digits, caplog):
    _train(replace(TASK, max_steps=1), digits, shelf=Shelf(Placement.STREAMED))
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_divergence_goes_on_and_is_flagged(digits):
    wild = replace(TASK, epochs=4, members=(Member(1, Hyperparameters(learning_rate=1e30)),))
    (result,) = _train(wild, digits)
    assert result.diverged
    assert result.steps == 4 * 5
    assert math.isnan(result.train_losses[-1])
    assert 0 <= result.accuracy <= 1


def test_losses_stay_nan_after_the_first_that_is_not_finite():
    from joulelab.learning.training_loop import until_divergence

    assert str(until_divergence([1.0, math.inf, 0.5])) == "(1.0, nan, nan)"


def test_a_limit_of_steps_inside_an_epoch_averages_the_steps_taken(spy, digits):
    (result,) = _train(replace(TASK, network="spy", max_steps=7), digits)
    assert result.steps == 7
    assert len(result.train_losses) == 2
    assert len(spy) == 7 + 1  # and one batch of test images


def test_progress_counts_the_epochs_of_all_seeds(digits):
    reported = []
    task = replace(TASK, members=(Member(1), Member(2)))
    ReferenceEngine().train(task, digits, "cpu", lambda *done: reported.append(done))
    assert reported == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_impossible_hyperparameters_are_refused_before_training(spy, digits):
    with pytest.raises(UsageError, match=r"beta1 = 1\.0"):
        _train(
            replace(TASK, network="spy", members=(Member(1, Hyperparameters(beta1=1.0)),)), digits
        )
    assert not spy


def test_a_batch_that_batch_norm_refuses_is_a_training_error(digits):
    options = {"conv_layers": 4, "pooling": "while-possible"}
    one_left_over = replace(TASK, network_options=options, batch_size=149)
    with pytest.raises(TrainingError, match=r"batch of shape \(1, 1, 8, 8\)") as caught:
        _train(one_left_over, digits)
    assert "batch_size" in caught.value.hint


def test_a_device_that_is_not_there_is_a_usage_error(digits):
    with pytest.raises(UsageError, match="no device cuda:99"):
        ReferenceEngine().train(TASK, digits, "cuda:99")


def test_a_network_that_does_not_fit_into_memory_is_a_training_error(digits, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr("joulelab.learning.reference.cross_entropy", full)
    with pytest.raises(TrainingError, match="does not fit into the memory of cpu"):
        _train(TASK, digits)
