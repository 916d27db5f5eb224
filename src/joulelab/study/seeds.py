"""Seeds that derive from the identity of what is seeded, never from the order of execution."""

from __future__ import annotations

import hashlib


def derive_seed(study_seed: int, *identity: str | int) -> int:
    """A seed for one thing within a study; the same whenever, wherever and after whatever it runs.

    Args:
        study_seed: the seed in the study file.
        identity: what is seeded, for instance ``("training", experiment, configuration, 3, 0)``.

    Returns:
        A whole number from 0 to 2**63 - 1: the first bits of a SHA-256.
    """
    text = "\x1f".join([str(study_seed), *map(str, identity)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
