"""What a user may set of the NVML meter, checked: calibration factors, the power field, which GPUs.

Settings come from TOML, from ``nvml?setting=value`` (where a list is a text) or from Python.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from joulelab.energy.meters.calibrated import SETTING, known_factors
from joulelab.energy.meters.nvml_gpu import plain_uuid
from joulelab.energy.meters.nvml_sensor import POWER_FIELDS
from joulelab.errors import SettingsError, suggestion


def factors_by_uuid(calibration: object) -> dict[str, float]:
    """Calibration factors by UUID as `plain_uuid` writes it.

    Args:
        calibration: from UUID to factor, or one number for all cards; ``None`` for none.

    Returns:
        One number by `calibrated.EVERY`.

    Raises:
        SettingsError: it is neither, a factor is not a positive number, or a card is named by its
            number, which may be another card's tomorrow.
    """
    if calibration is None:
        return {}
    factors = known_factors(calibration, "nvml:")
    for uuid in factors:
        if re.fullmatch(r"(gpu:)?\d+", uuid):
            raise SettingsError(
                f"nvml: {SETTING}: {uuid!r} is no UUID of a card",
                'write [meter.nvml] calibration = { "GPU-<uuid>" = 1.06 }; `nvidia-smi -L` has it',
            )
    return {plain_uuid(uuid): factor for uuid, factor in factors.items()}


def known_power_field(name: object) -> str:
    """A key of `POWER_FIELDS`.

    Raises:
        SettingsError: it is none.
    """
    if not isinstance(name, str) or name not in POWER_FIELDS:
        raise SettingsError(
            f"nvml: there is no power_field {name!r}", suggestion(str(name), POWER_FIELDS)
        )
    return name


def gpu_numbers(gpus: object) -> tuple[int, ...] | None:
    """NVML's numbers of the GPUs to read, in order and each once; ``None`` for all.

    Args:
        gpus: ``None``, a number, numbers, or a text such as ``"0,2"``.

    Raises:
        SettingsError: it is something else, or names no GPU.
    """
    if gpus is None:
        return None
    parts: Sequence[object] = [gpus]
    if isinstance(gpus, str):
        parts = [int(part) if part.strip().isdecimal() else part for part in gpus.split(",")]
    elif isinstance(gpus, Sequence):
        parts = gpus
    numbers = [part for part in parts if isinstance(part, int) and not isinstance(part, bool)]
    if not numbers or len(numbers) < len(parts) or min(numbers) < 0:
        raise SettingsError(
            f"nvml: gpus = {gpus!r} does not number GPUs",
            "give the numbers of `nvidia-smi -L`, for instance gpus = [0, 2] or nvml?gpus=0,2",
        )
    return tuple(sorted(set(numbers)))
