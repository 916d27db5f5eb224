"""Accuracies of the fast engine have the distribution of the reference's.

Seeds 0 to 15 by the fast engine stand against seeds 100 to 115 by the reference, as samples of what
should be one distribution; and against the same seeds by the reference, one by one.
"""

from dataclasses import replace

import numpy as np
import pytest
from fast_training import engine_with, threads
from scipy.stats import ks_2samp, mannwhitneyu

from joulelab.learning.engine import Hyperparameters, Member, TrainingTask
from joulelab.learning.fast.schedule import Arrangement, Schedule
from joulelab.learning.images import load_images, thinned
from joulelab.learning.reference import ReferenceEngine

REPETITIONS = 16

LEAST_P = 0.01
"""Of a two-sample test; the seeds are fixed, so that this passes always or never."""

STANDARD_ERRORS = 4.0
"""How far two means may lie apart: twice the 2 standard errors of a 95 percent interval."""


def _members(first, values):
    return tuple(Member(seed, values) for seed in range(first, first + REPETITIONS))


def _accuracies(engine, task, images):
    results = engine.train(task, images, "cpu")
    assert {result.engine for result in results} == {engine.name}
    assert not any(result.diverged for result in results)
    return np.array([result.accuracy for result in results])


def _check(task, images, values, test_images, learnt, file):
    """Compare accuracies.

    Args:
        task: without members.
        images: to train on.
        values: hyperparameters of all members.
        test_images: by how many of them a seed may differ from itself, on average.
        learnt: accuracy that all should reach on average, so that the comparison means something.
        file: where the schedule is kept.
    """
    with threads(2):
        same = task.with_members(_members(0, values))
        engine = engine_with(Schedule(Arrangement.SHARES), same, images, file)
        fast = _accuracies(engine, same, images)
    with threads(1):
        others = task.with_members(_members(100, values))
        reference = _accuracies(ReferenceEngine(), others, images)
        itself = _accuracies(ReferenceEngine(), same, images)
    assert min(fast.mean(), reference.mean()) > learnt
    assert fast.std() > 0
    assert ks_2samp(fast, reference).pvalue > LEAST_P
    assert mannwhitneyu(fast, reference).pvalue > LEAST_P
    variance = fast.var(ddof=1) / REPETITIONS + reference.var(ddof=1) / REPETITIONS
    assert abs(fast.mean() - reference.mean()) < STANDARD_ERRORS * variance**0.5
    differences = np.abs(fast - itself) * len(images.test)
    print(
        f"{task.network}: {fast.mean():.4f} and {reference.mean():.4f}, standard error "
        f"{variance**0.5:.4f}; a seed differs from itself by {differences.mean():.2f} test images"
    )
    assert differences.mean() <= test_images
    # Seeds that were swapped, or one that was not used, would differ as two seeds do.
    assert differences.mean() < 0.5 * np.abs(fast - itself[::-1]).mean() * len(images.test)


@pytest.mark.parametrize(
    ("network", "protocol"),
    [
        ("DensePolyNN", "default"),
        pytest.param("SimpleCNN", "yarally2023", marks=pytest.mark.long),
    ],
)
def test_accuracies_on_digits_are_distributed_as_the_references(network, protocol, tmp_path):
    """A seed differs from itself by 0.0 and 0.2 of 360 test images.

    SimpleCNN in eval mode, where running statistics are not those of the last step, differs by 2.6,
    and the reference by 2.4 from itself with convolutions that sum in another order.
    """
    images = thinned(load_images("digits"), 500, 360, seed=0)
    task = TrainingTask(network, {}, protocol, 5, 64, ())
    _check(
        task,
        images,
        Hyperparameters(3e-3),
        test_images=0.5,
        learnt=0.5,
        file=tmp_path / "file.json",
    )


@pytest.mark.long
@pytest.mark.parametrize("protocol", ["default", "yarally2023"])
@pytest.mark.parametrize("network", ["DensePolyNN", "DenseLinearNN", "SimpleCNN"])
def test_accuracies_after_25_epochs_are_distributed_as_the_references(
    data_dir, network, protocol, tmp_path
):
    images = thinned(load_images("fashion-mnist", data_dir), 1000, 500, seed=0)
    task = TrainingTask(network, {}, protocol, 25, 128, ())
    _check(
        task, images, Hyperparameters(), test_images=3.0, learnt=0.6, file=tmp_path / "file.json"
    )


@pytest.mark.long
def test_a_mistake_in_the_distribution_would_be_seen(data_dir):
    """A tenth of the learning rate. Three times of it would not: 16 repetitions see no less."""
    images = thinned(load_images("fashion-mnist", data_dir), 1000, 500, seed=0)
    task = TrainingTask("SimpleCNN", {}, "default", 5, 128, ())
    with threads(1):
        one = task.with_members(_members(0, Hyperparameters()))
        other = replace(task, members=_members(100, Hyperparameters(learning_rate=1e-4)))
        accuracies = [_accuracies(ReferenceEngine(), each, images) for each in (one, other)]
    assert ks_2samp(*accuracies).pvalue < LEAST_P
