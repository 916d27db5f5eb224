"""The papers' network on the real Fashion-MNIST."""

import pytest
import torch

from joulelab.learning.engine import Hyperparameters, Member, TrainingTask
from joulelab.learning.images import load_images, thinned
from joulelab.learning.reference import ReferenceEngine

TASK = TrainingTask(
    "SimpleCNN", {}, "default", 25, 512, (Member(1, Hyperparameters(learning_rate=1e-3)),)
)


@pytest.mark.parametrize(
    "protocol", [pytest.param("default", marks=pytest.mark.long), "yarally2023"]
)
def test_a_slice_is_learnt(data_dir, protocol):
    images = thinned(load_images("fashion-mnist", data_dir), 3000, 1000, seed=0)
    task = TrainingTask(
        "SimpleCNN", {}, protocol, 4, 64, (Member(1, Hyperparameters(learning_rate=3e-3)),)
    )
    (result,) = ReferenceEngine().train(task, images, "cpu")
    # Chance is 0.1; a linear classifier on as many images reaches some 0.79.
    assert result.accuracy > 0.75


@pytest.mark.long
def test_simple_cnn_reaches_the_papers_accuracy(data_dir):
    images = load_images("fashion-mnist", data_dir)
    device = "cuda:0" if torch.cuda.is_available() else "cpu"
    (result,) = ReferenceEngine().train(TASK, images, device)
    print(f"accuracy {result.accuracy}, last loss {result.train_losses[-1]:.4f}")
    assert result.accuracy >= 0.875
