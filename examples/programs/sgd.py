"""A PyTorch training loop: SGD with a schedule of the learning rate, on handwritten digits."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LRScheduler, StepLR

import joulelab

BATCH = 64
torch.set_num_threads(1)  # the network is too small for more


def schedule(name: str, optimizer: SGD, epochs: int) -> LRScheduler:
    """The learning rate over the epochs."""
    if name == "cosine":
        return CosineAnnealingLR(optimizer, epochs)
    if name == "step":
        return StepLR(optimizer, max(1, epochs // 3), gamma=0.3)
    return ConstantLR(optimizer, factor=1.0)


def train(width: int, lr: float, decay: str, seed: int, epochs: int = 10) -> dict[str, float]:
    """The test accuracy of a small network."""
    torch.manual_seed(seed)
    with joulelab.phase("loading"):
        images, labels = (torch.tensor(one) for one in load_digits(return_X_y=True))
        order = torch.randperm(len(labels))
        x, y = (images.float() / 16)[order], labels[order]
        x, test_x, y, test_y = x[:1400], x[1400:], y[:1400], y[1400:]
    network = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))
    optimizer = SGD(network.parameters(), lr=lr, momentum=0.9)
    rates = schedule(decay, optimizer, epochs)
    for epoch in range(epochs):
        with joulelab.phase("training"):
            for part in torch.randperm(len(y)).split(BATCH):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(network(x[part]), y[part])
                loss.backward()
                optimizer.step()
            rates.step()
        with joulelab.phase("evaluation"), torch.no_grad():
            scores = network(test_x)
            accuracy = (scores.argmax(1) == test_y).float().mean()
            test_loss = nn.functional.cross_entropy(scores, test_y)
        joulelab.report_metric("test_loss", test_loss, step=epoch)
    return {"accuracy": accuracy, "test_loss": test_loss}
