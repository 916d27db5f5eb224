"""Continuous batching: a sequence joins the batch at any step, and leaves it with its last token.

waiting ──a place is free: prefill──> batch ──a step: one token each──> queues of tokens
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from inspect import signature

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import DynamicCache, PreTrainedModel


@dataclass
class Sequence:
    """A request: its tokens, how many are wanted, and where they go; ``None`` ends them."""

    ids: list[int]
    wanted: int
    ignore_end: bool
    tokens: asyncio.Queue[int | None] = field(default_factory=asyncio.Queue)
    made: int = 0
    gone: bool = False


class Engine:
    """The queue, and the loop that makes a token for every sequence of the batch at each step.

    Keys and values of the batch, (sequences, heads, length, width) for each layer, are padded on
    the left, so that all sequences end at the same place.
    """

    def __init__(self, model: PreTrainedModel, end_id: int, most: int) -> None:
        self.waiting: deque[Sequence] = deque()
        self.arrived = asyncio.Event()
        self._model, self._end_id, self._most = model, end_id, most
        self._running: list[Sequence] = []
        self._layers: list[tuple[Tensor, Tensor]] = []
        known = signature(model.forward).parameters
        self._cache_name = "cache" if "cache" in known else "past_key_values"

    async def serve(self) -> None:
        """Step after step, until cancelled."""
        while True:
            while not (self.waiting or self._running):
                self.arrived.clear()
                await self.arrived.wait()
            free = self._most - len(self._running)
            joining = [self.waiting.popleft() for _ in range(min(free, len(self.waiting)))]
            made = await asyncio.to_thread(self._step, joining)
            everyone, stay = [*self._running, *joining], []
            for place, (one, token) in enumerate(zip(everyone, made, strict=True)):
                one.ids.append(token)
                one.made += 1
                one.tokens.put_nowait(token)
                ended = token == self._end_id and not one.ignore_end
                if one.made >= one.wanted or ended or one.gone:
                    one.tokens.put_nowait(None)
                else:
                    stay.append(place)
            self._running = [everyone[place] for place in stay]
            if len(stay) < len(everyone):
                self._layers = [(k[stay], v[stay]) for k, v in self._layers]

    @torch.inference_mode()
    def _step(self, joining: list[Sequence]) -> list[int]:
        """The next token of each sequence: of the batch together, of those that join alone."""
        made: list[int] = []
        if running := self._running:
            lengths = torch.tensor([[len(one.ids)] for one in running])
            longest = int(lengths.max())
            cut = self._layers[0][0].shape[2] - (longest - 1)  # longer ones have left
            layers = [(k[:, :, cut:], v[:, :, cut:]) for k, v in self._layers]
            mask = (torch.arange(longest) >= longest - lengths).long()
            last = torch.tensor([one.ids[-1:] for one in running])
            tokens, self._layers = self._forward(last, mask, lengths - 1, DynamicCache(layers))
            made += tokens
        for one in joining:
            ids = torch.tensor([one.ids])
            places = torch.arange(len(one.ids))[None]
            tokens, layers = self._forward(ids, torch.ones_like(ids), places, DynamicCache())
            made += tokens
            self._layers = joined(self._layers, layers) if len(made) > 1 else layers
        return made

    def _forward(
        self, ids: Tensor, mask: Tensor, places: Tensor, cache: DynamicCache
    ) -> tuple[list[int], list[tuple[Tensor, Tensor]]]:
        """Greedy tokens of some sequences, and their keys and values by layer."""
        said = self._model(
            input_ids=ids, attention_mask=mask, position_ids=places, **{self._cache_name: cache}
        )
        return said.logits[:, -1].argmax(-1).tolist(), [(x.keys, x.values) for x in cache.layers]


def joined(
    batch: list[tuple[Tensor, Tensor]], one: list[tuple[Tensor, Tensor]]
) -> list[tuple[Tensor, Tensor]]:
    """The keys and values of a batch and of one more sequence, of the same length."""
    length = max(batch[0][0].shape[2], one[0][0].shape[2])

    def both(*parts: Tensor) -> Tensor:
        return torch.cat([pad(part, (0, 0, length - part.shape[2], 0)) for part in parts])

    return [(both(k, k1), both(v, v1)) for (k, v), (k1, v1) in zip(batch, one, strict=True)]
