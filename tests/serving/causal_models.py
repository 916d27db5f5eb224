"""Causal models that a server process builds in tests, with Hugging Face's interface."""

import time
from types import SimpleNamespace

import torch
from torch import nn

VOCABULARY = 50


class Causal(nn.Module):
    """The next token is the sum of all tokens before it; its cache is a list of them.

    The list cannot be cut back, and has to be copied.
    """

    def __init__(self, most=None, cached=True, step_s=0.0):
        super().__init__()
        self.config = SimpleNamespace(vocab_size=VOCABULARY, max_position_embeddings=64)
        self.weight = nn.Parameter(torch.zeros(3))
        self.most, self.cached, self.step_s = most, cached, step_s
        self.seen = []

    def forward(self, input_ids, past_key_values=None, use_cache=False):
        if self.most is not None and len(input_ids) > self.most:
            raise torch.OutOfMemoryError("no room for so many")
        time.sleep(self.step_s * len(input_ids))
        before = [] if past_key_values is None else past_key_values
        self.seen.append((sum(one.shape[1] for one in before), tuple(input_ids.shape)))
        before.append(input_ids)
        following = torch.cat(before, dim=1).sum(dim=1) % VOCABULARY
        logits = nn.functional.one_hot(following, VOCABULARY)[:, None].float()
        return SimpleNamespace(logits=logits, past_key_values=before if self.cached else None)


def causal(**options):
    return Causal(**options)


def cramped():
    return Causal(most=2)


def forgetful():
    return Causal(cached=False)


def images_only():
    return nn.Flatten()


class NoHalf(Causal):
    def forward(self, input_ids, past_key_values=None, use_cache=False):
        if self.weight.dtype == torch.float16:
            raise RuntimeError("\"sums\" not implemented for 'Half'")
        return super().forward(input_ids, past_key_values, use_cache)


def no_half():
    return NoHalf()


class Tiring(Causal):
    """Fails with two sequences once it has been called with two so many times."""

    def __init__(self, calls):
        super().__init__(most=2)
        self.calls = calls

    def forward(self, input_ids, past_key_values=None, use_cache=False):
        if sum(shape[0] == 2 for _, shape in self.seen) >= self.calls:
            self.most = 1
        return super().forward(input_ids, past_key_values, use_cache)
