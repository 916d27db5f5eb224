"""Hardware properties: precisions, processor, and CUDA's libraries."""

from __future__ import annotations

import contextlib
import functools
import platform
from collections.abc import Iterator
from pathlib import Path

import torch

from joulelab.errors import UsageError, quoted
from joulelab.learning.engine import Precision

AMPERE = (8, 0)
"""The first compute capability with TF32 and bfloat16."""

_BF16 = {"avx512_bf16", "amx_bf16", "bf16"}
"""Instruction sets that multiply bfloat16, with Linux's names for x86 and ARM."""


def check_precision(precision: str, device: torch.device) -> None:
    """Check that a device has a precision.

    Raises:
        UsageError: it is unknown, or the device does not support it.
    """
    if precision not in {Precision.FP32, Precision.TF32, Precision.BF16}:
        raise UsageError(
            f"precision = {quoted(precision)} is not possible", "choose fp32, tf32 or bf16"
        )
    if device.type == "cuda":
        capability = torch.cuda.get_device_capability(device)
        if precision != Precision.FP32 and capability < AMPERE:
            raise UsageError(
                f"{torch.cuda.get_device_name(device)} has no {precision} arithmetic",
                'set precision = "fp32"',
            )
    elif precision == Precision.TF32:
        raise UsageError("tf32 is a mode of NVIDIA GPUs", 'set precision = "fp32" or "bf16"')
    elif precision == Precision.BF16 and not has_bf16():
        raise UsageError("this processor has no bf16 arithmetic", 'set precision = "fp32"')


@contextlib.contextmanager
def libraries_set_to(precision: str, device: torch.device) -> Iterator[None]:
    """Set the rounding of CUDA's libraries, and let them benchmark algorithms."""
    if device.type != "cuda":
        yield
        return
    rounding = "tf32" if precision == Precision.TF32 else "ieee"
    products = torch.backends.cuda.matmul
    convolutions = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    before = products.fp32_precision, convolutions.fp32_precision, torch.backends.cudnn.benchmark
    products.fp32_precision = convolutions.fp32_precision = rounding
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        products.fp32_precision, convolutions.fp32_precision = before[:2]
        torch.backends.cudnn.benchmark = before[2]


@functools.cache
def processor() -> str:
    """Model and instruction sets."""
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8", errors="replace")
    except OSError:
        text = ""
    kept = ("model name", "flags", "Features")
    lines = sorted({line for line in text.splitlines() if line.startswith(kept)})
    return "\n".join(lines) or f"{platform.machine()} {platform.processor()}"


def has_bf16() -> bool:
    """Whether the processor multiplies bfloat16; False if unknown."""
    return not _BF16.isdisjoint(processor().split())
