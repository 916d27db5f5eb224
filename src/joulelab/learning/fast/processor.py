"""What the processor is, as far as schedules depend on it."""

from __future__ import annotations

import functools
import platform
from pathlib import Path

_BF16 = {"avx512_bf16", "amx_bf16", "bf16"}
"""Instruction sets that multiply bfloat16, as Linux names those of x86 and ARM."""


@functools.cache
def processor() -> str:
    """Model and instruction sets."""
    lines = [line for line in _cpuinfo() if line.startswith(("model name", "flags", "Features"))]
    return "\n".join(lines) or f"{platform.machine()} {platform.processor()}"


def has_bf16() -> bool:
    """Whether the processor multiplies bfloat16 by itself; False where that cannot be found out."""
    return not _BF16.isdisjoint(processor().split())


def _cpuinfo() -> list[str]:
    """The lines about the processors, each once."""
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8", errors="replace")
    except OSError:
        return []
    return sorted(set(text.splitlines()))
