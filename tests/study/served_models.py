"""Models of one's own, as a user would have them in a module."""

import os

import torch
from torch import nn


class Sums(nn.Module):
    """Next to no work; dies, or has no memory, where a test wants it."""

    def __init__(self, most=None, dies_after=None):
        super().__init__()
        self.most, self.dies_after, self.calls = most, dies_after, 0

    def forward(self, images):
        self.calls += 1
        if self.most is not None and len(images) > self.most:
            raise torch.OutOfMemoryError("no room for so many")
        if self.dies_after is not None and self.calls > self.dies_after:
            os._exit(7)
        return images.sum(dim=(1, 2, 3))


def sums():
    return Sums()


def cramped():
    return Sums(most=2)


def dying():
    return Sums(dies_after=12)


def broken():
    raise ValueError("this model was never finished")
