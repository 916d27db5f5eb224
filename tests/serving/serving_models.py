"""Models that a server process builds in tests."""

import sys
import time

import torch
from torch import nn


class Null(nn.Module):
    """Gives back what it gets."""

    def forward(self, images):
        return images


class Slow(nn.Module):
    """Takes its time for every batch, and some for each image."""

    def __init__(self, batch_s=0.0, image_s=0.0):
        super().__init__()
        self.batch_s, self.image_s = batch_s, image_s

    def forward(self, images):
        time.sleep(self.batch_s + self.image_s * len(images))
        return images


class Cramped(nn.Module):
    """Has memory for so many images only."""

    def __init__(self, most, words=None):
        super().__init__()
        self.most, self.words = most, words

    def forward(self, images):
        if len(images) > self.most:
            raise RuntimeError(self.words) if self.words else torch.OutOfMemoryError("no more")
        return images


class Failing(nn.Module):
    """Fails once it has answered so many batches."""

    def __init__(self, after, status=None):
        super().__init__()
        self.left, self.status = after, status

    def forward(self, images):
        self.left -= 1
        if self.left < 0:
            if self.status is not None:
                sys.exit(self.status)
            raise ValueError("the weights are\nmissing")
        return images


def null():
    return Null()


def printing():
    print("a line that is no data")
    return Null()


def linear(outputs=3):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 24 * 24, outputs))


def not_a_model():
    return 42


def broken():
    raise OSError("no weights here")
