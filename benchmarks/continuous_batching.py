"""Does `joulelab batch --llm` predict what continuous batching does? A real server in one process.

    python benchmarks/continuous_batching.py [--model gpt2-tiny] [--most 1 2 4] [--repeats 3]

The costs of tokens are measured as by the command. Then requests that all wait from the beginning
are answered with at most B sequences together, by the rules of `joulelab.serving.generation.
simulation` and with real caches: prompts are prefilled as they join, caches of different lengths
are padded on the left, and those of finished sequences are taken out. Windows and predictions are
of the same machine in the same minutes; costs are measured again before each repetition, so that
both see the same other programs.
"""

from __future__ import annotations

import argparse
import inspect
import statistics
import time
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from figures import machine, table, versions

import joulelab
from joulelab.energy.detection import open_recorder
from joulelab.kinds.generation.executor import GenerationExecutor, GenerationJob
from joulelab.kinds.generation.table_measuring import TokenWork
from joulelab.kinds.generation.token_table import TokenTable
from joulelab.kinds.inference.schedule import Patience, Schedule
from joulelab.learning.language_models import language_model_source
from joulelab.serving.generation.simulation import Lengths, simulate_tokens
from joulelab.serving.generation.tasks import DECODE, GenerationTask, Part
from joulelab.serving.tasks import ModelSource
from joulelab.study.accounting import counted


class ContinuousBatching:
    """Decodes up to a number of sequences together.

    Args:
        model: of transformers.
        most: sequences together.
        lengths: of every request.
    """

    def __init__(self, model: torch.nn.Module, most: int, lengths: Lengths) -> None:
        self._model, self._most, self._lengths = model, most, lengths
        taken = inspect.signature(model.forward).parameters
        self._cache = "cache" if "cache" in taken else "past_key_values"

    @torch.inference_mode()
    def serve(self, requests: int) -> tuple[float, list[float]]:
        """Answer requests that all wait; seconds of it, and the time per token of each."""
        from transformers import DynamicCache

        waiting, began_s = requests, time.monotonic()
        left: list[int] = []
        first_s: list[float] = []
        per_token_s: list[float] = []
        keys: list[tuple[torch.Tensor, torch.Tensor]] = []
        mask = torch.zeros(0, 0, dtype=torch.long)
        tokens = torch.zeros(0, 1, dtype=torch.long)
        while waiting or left:
            if joining := min(waiting, self._most - len(left)):
                waiting -= joining
                prompts = torch.randint(1000, (joining, self._lengths.prompt))
                out = self._model(input_ids=prompts, use_cache=True, logits_to_keep=1)
                new = [(one.keys, one.values) for one in _cache(out).layers]
                keys, mask = _joined(keys, mask, new)
                tokens = torch.cat([tokens, out.logits[:, -1:].argmax(-1)])
                left += joining * [self._lengths.output - 1]
                first_s += joining * [time.monotonic()]
            cache = DynamicCache()
            for layer, (key, value) in enumerate(keys):
                cache.update(key, value, layer)
            mask = torch.cat([mask, torch.ones(len(left), 1, dtype=torch.long)], dim=1)
            places = (mask.sum(dim=1, keepdim=True) - 1).long()
            out = self._model(
                input_ids=tokens,
                attention_mask=mask,
                position_ids=places,
                use_cache=True,
                **{self._cache: cache},
            )
            tokens = out.logits[:, -1:].argmax(-1)
            keys = [(one.keys, one.values) for one in _cache(out).layers]
            left = [one - 1 for one in left]
            if 0 in left:
                now_s = time.monotonic()
                done = [place for place, one in enumerate(left) if not one]
                per_token_s += [(now_s - first_s[one]) / (self._lengths.output - 1) for one in done]
                stay = [place for place, one in enumerate(left) if one]
                left, first_s = [left[one] for one in stay], [first_s[one] for one in stay]
                tokens, mask = tokens[stay], mask[stay]
                used = int(mask.sum(dim=1).max()) if stay else 0
                mask = mask[:, mask.shape[1] - used :]
                keys = [(k[stay][:, :, -used:], v[stay][:, :, -used:]) for k, v in keys]
        return time.monotonic() - began_s, per_token_s


def _cache(out: Any) -> Any:  # noqa: ANN401 - transformers' own
    return getattr(out, "cache", None) or out.past_key_values


def _joined(
    keys: list[tuple[torch.Tensor, torch.Tensor]],
    mask: torch.Tensor,
    new: list[tuple[torch.Tensor, torch.Tensor]],
) -> tuple[list[tuple[torch.Tensor, torch.Tensor]], torch.Tensor]:
    """The caches of both, the shorter one padded on the left."""
    ones = torch.ones(new[0][0].shape[0], new[0][0].shape[2], dtype=torch.long)
    if not len(mask):
        return new, ones
    long = max(mask.shape[1], ones.shape[1])

    def padded(one: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.pad(one, (0, 0, long - one.shape[2], 0))

    both = [
        (torch.cat([padded(k), padded(nk)]), torch.cat([padded(v), padded(nv)]))
        for (k, v), (nk, nv) in zip(keys, new, strict=True)
    ]
    masks = [torch.nn.functional.pad(one, (long - one.shape[1], 0)) for one in (mask, ones)]
    return both, torch.cat(masks)


def measured(model: str, lengths: Lengths, most: int, patience_s: float, seed: int) -> TokenTable:
    """The costs of tokens of a model on this machine."""
    factory, options, weights = language_model_source(model)
    threads = torch.get_num_threads()
    task = GenerationTask(
        ModelSource(factory, options),
        "float32",
        1,
        lengths.prompt,
        lengths.output,
        (Part(DECODE, 0.0, 1),),
    )
    with ExitStack() as stack:
        recorder = stack.enter_context(open_recorder(None, interval_s=0.1))
        executor = GenerationExecutor(recorder, "cpu", 0.0, lambda _: None)
        stack.callback(executor.close)
        found = Schedule(
            executor,
            TokenWork(GenerationJob("loading", "cpu", threads, task)),
            Patience(patience_s, most),
            lambda measurement: counted(measurement, None, "cpu"),
            lambda _: None,
            seed,
        ).run()
    return TokenTable(
        model=model,
        weights=weights,
        precision="float32",
        machine="",
        device="cpu",
        threads=threads,
        measured_at="",
        sources=found.sources,
        windows=found.windows,
        remarks=found.remarks,
    )


def main() -> None:
    """Measure, predict, serve, and print predicted and actual."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="gpt2-tiny")
    parser.add_argument("--most", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--requests", type=int, default=16)
    parser.add_argument("--input-tokens", type=int, default=64)
    parser.add_argument("--output-tokens", type=int, default=32)
    parser.add_argument("--patience", type=float, default=60.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    lengths = Lengths(args.input_tokens, args.output_tokens)
    factory, options, _ = language_model_source(args.model)
    model = ModelSource(factory, options).load().eval()
    ratios: dict[int, list[tuple[float, ...]]] = {most: [] for most in args.most}
    for repeat in range(args.repeats):
        costs = measured(args.model, lengths, max(args.most), args.patience, repeat).costs
        for most in args.most:
            if most > costs.batches[-1]:
                continue  # patience ran out before
            expected = simulate_tokens(np.zeros(args.requests), most, lengths, costs)
            server = ContinuousBatching(model, most, lengths)
            server.serve(most)
            joulelab.measure_idle(2.0)
            with joulelab.measure() as window:
                seconds, per_token_s = server.serve(args.requests)
            tokens = args.requests * lengths.output
            net_j = window.net_j
            ratios[most].append(
                (
                    expected.tokens_per_s,
                    tokens / seconds,
                    expected.net_j_per_token or np.nan,
                    np.nan if net_j is None else net_j / tokens,
                    float(np.median(expected.per_token_s)),
                    statistics.median(per_token_s),
                )
            )
    rows = []
    for most, those in ratios.items():
        if those:
            means = np.median(np.array(those), axis=0)
            changes = [f"{means[at + 1] / means[at] - 1:+.0%}" for at in (0, 2, 4)]
            rows.append(
                [
                    str(most),
                    f"{means[0]:.1f}",
                    f"{means[1]:.1f} ({changes[0]})",
                    f"{means[2]:.3f} J",
                    f"{means[3]:.3f} J ({changes[1]})",
                    f"{1e3 * means[4]:.1f} ms",
                    f"{1e3 * means[5]:.1f} ms ({changes[2]})",
                    str(len(those)),
                ]
            )
    print(f"{args.model}, {lengths}, {args.requests} requests that wait from the beginning")
    print(
        table(
            [
                "together",
                "tokens/s, predicted",
                "actual",
                "net J/token, predicted",
                "actual",
                "time per token, predicted",
                "actual",
                "repeats",
            ],
            rows,
        )
    )
    print(machine(), versions())


if __name__ == "__main__":
    main()
