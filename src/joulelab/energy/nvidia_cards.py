"""NVIDIA's cards: power sensors by generation, their errors, and power limits.

::

    average field  |<----------------- 1000 ms ----------------->|
    instant field                                       |<-25 ms->|     Hopper
    update                                              every 100 ms

    architecture          update   instant   nvmlDeviceGetPowerUsage, power.draw
    Pascal, Volta          20 ms     10 ms     10 ms     sees half of the time
    Turing                100 ms    100 ms    100 ms
    GA100 (A100, A30)     100 ms     25 ms     25 ms     sees a quarter of the time
    GA10x, Ada            100 ms    100 ms   1000 ms
    Hopper                100 ms     25 ms   1000 ms     sees a quarter of the time

Measured in arXiv 2312.02741; nvml.h states that the average field, and nvmlDeviceGetPowerUsage from
GA10x on, are means over one second. For an unmeasured architecture we assume an update every 100
ms, sampling of a quarter of the time, and the mean that nvml.h states; the same for a card that a
log does not name, whose mean may be over a second.

The gain differs between individual cards: against a wattmeter A100 were off by -5.7 %, two RTX 3090
-2 and -5.6 %, an RTX 2080 Ti -8 %, an RTX 2060 Super +13 %, a P100 +0.7 % (same source). So every
uncalibrated card gets the worst of these. At idle an RTX 4090 read 26 % too little: this share
applies to idle power, and under load no more than the same watts.

Limits are the board powers of NVIDIA's data sheets. GeForce cards of other vendors have higher
limits: an RTX 3090 of 350 W reached 440 W on its rails, so 1.4 times the limit counts as possible.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from joulelab.energy.trace import Sensor

RELATIVE_ERROR = 0.13
"""The worst card of arXiv 2312.02741 against a wattmeter."""
CALIBRATED_RELATIVE_ERROR = 0.05
"""NVIDIA's specification, for a card calibrated against a wattmeter."""
IDLE_ERROR = 0.36
"""26 % of the true value are 35 % of the reading."""
GEFORCE_IDLE_W = 40.0
IDLE_W = 60.0
AVERAGE_FIELD_S = 1.0
WORST_SEEN = 0.25
PARTNERS = 1.5


@dataclass(frozen=True)
class Architecture:
    """How the power sensors of one generation work.

    Attributes:
        name: NVIDIA's.
        update_s: time between two values in seconds.
        instant_s: averaging time of the instant field; ``None`` if never measured.
        ordinary_s: averaging time of nvmlDeviceGetPowerUsage.
    """

    name: str
    update_s: float
    instant_s: float | None
    ordinary_s: float | None

    @property
    def seen(self) -> float:
        """The share of time that the sensor samples; a quarter if unknown."""
        return WORST_SEEN if self.instant_s is None else min(1.0, self.instant_s / self.update_s)

    def sensor(self, averaging_s: float | None, idle_below_w: float = IDLE_W) -> Sensor:
        """The sensor behind one of its fields.

        Args:
            averaging_s: averaging time of the field; ``None``: a second at worst.
            idle_below_w: highest idle reading of such a card.
        """
        mean_s = AVERAGE_FIELD_S if averaging_s is None else averaging_s
        known = averaging_s is not None
        return Sensor(self.update_s, mean_s, self.seen, IDLE_ERROR, idle_below_w, known)


PASCAL = Architecture("Pascal", 0.02, 0.01, 0.01)
VOLTA = Architecture("Volta", 0.02, 0.01, 0.01)
TURING = Architecture("Turing", 0.1, 0.1, 0.1)
GA100 = Architecture("Ampere GA100", 0.1, 0.025, 0.025)
AMPERE = Architecture("Ampere", 0.1, 0.1, 1.0)
ADA = Architecture("Ada", 0.1, 0.1, 1.0)
HOPPER = Architecture("Hopper", 0.1, 0.025, 1.0)
BLACKWELL = Architecture("Blackwell", 0.1, None, 1.0)
UNKNOWN = Architecture("unknown", 0.1, None, None)

_BY_NAME: Sequence[tuple[str, Architecture]] = (
    (r"[BG]?B[123]00|RTX 50\d\d|Blackwell|GB10", BLACKWELL),
    (r"H100|H800|H200|H20|GH200", HOPPER),
    (r"A100|A800|A30", GA100),
    (r"RTX 40\d\d|Ada|L40S?|L4|L20|L2", ADA),
    (r"RTX 30\d\d|RTX A\d{3,4}|A2|A10G?|A10M|A16|A40|A6000|A5[05]00|A4[05]00|A2000", AMPERE),
    (r"RTX 20\d\d|GTX 16\d\d|T4G?|T[1246]00|T1000|T1200|TITAN RTX|Quadro RTX \d{4}", TURING),
    (r"V100S?|TITAN V|GV100", VOLTA),
    (r"GTX 10\d\d|P100|P40|P4|P6|TITAN Xp|GP100|P[1246]000|P2200|P[46]00", PASCAL),
)
_LIMITS_W: Sequence[tuple[str, float]] = (
    (r"RTX 5090", 575),
    (r"RTX 5080", 360),
    (r"RTX 5070 Ti", 300),
    (r"RTX 5070", 250),
    (r"RTX 5060 Ti", 180),
    (r"RTX 5060", 145),
    (r"RTX 4090", 450),
    (r"RTX 4080", 320),
    (r"RTX 4070 Ti", 285),
    (r"RTX 4070", 220),
    (r"RTX 4060 Ti", 165),
    (r"RTX 4060", 115),
    (r"RTX 3090 Ti", 450),
    (r"RTX 3090|RTX 3080 Ti", 350),
    (r"RTX 3080", 350),
    (r"RTX 3070 Ti", 290),
    (r"RTX 3070", 220),
    (r"RTX 3060 Ti", 200),
    (r"RTX 3060", 170),
    (r"RTX 3050", 130),
    (r"RTX 2080|GTX 1080 Ti", 260),
    (r"RTX 20[67]0", 215),
    (r"GTX 10[78]0", 180),
    (r"GTX 16\d\d|GTX 10[56]0", 125),
    (r"TITAN RTX", 280),
    (r"TITAN Xp?|TITAN V", 250),
    (r"B300|GB300", 1400),
    (r"B200|GB200", 1200),
    (r"B100", 700),
    (r"GH200", 1000),
    (r"H100 PCIe", 350),
    (r"H[128]00 NVL", 600),
    (r"H100|H800|H200", 700),
    (r"H20", 500),
    (r"A[18]00[- ]PCI\S*|A[18]00[- ]80GB[- ]PCI\S*", 300),
    (r"A[18]00", 500),
    (r"A30", 165),
    (r"A40", 300),
    (r"A10G|A16", 300),
    (r"A10M?", 150),
    (r"A2", 60),
    (r"L40S", 350),
    (r"L40|RTX 6000", 300),
    (r"L20", 275),
    (r"L4", 72),
    (r"RTX PRO 6000 Blackwell", 600),
    (r"RTX A6000", 300),
    (r"RTX 5000|RTX A5500", 265),
    (r"RTX A5000", 230),
    (r"RTX 4500|RTX A4500", 210),
    (r"RTX 4000|RTX A4000", 160),
    (r"RTX A?2000", 70),
    (r"RTX 8000", 295),
    (r"T4G?", 70),
    (r"V100S?[- ]PCI\S*|GV100", 250),
    (r"V100", 350),
    (r"P100", 300),
    (r"P40", 250),
    (r"P4|P6", 90),
)


def architecture_of(name: str) -> Architecture:
    """The generation of a card by its name; `UNKNOWN` if the name is not known.

    >>> architecture_of("NVIDIA A100-SXM4-80GB").name, architecture_of("RTX 6000 Ada").name
    ('Ampere GA100', 'Ada')
    """
    return next((found for names, found in _BY_NAME if _named(names, name)), UNKNOWN)


def idle_below_w(name: str) -> float:
    """Highest idle reading of a card, in watts.

    Args:
        name: of the card; empty where unknown.
    """
    return GEFORCE_IDLE_W if _named("GeForce|[RG]TX", name) else IDLE_W


def highest_w(name: str) -> float | None:
    """The highest power of a card of this name in watts; ``None`` if the name is not known.

    >>> highest_w("Tesla T4"), highest_w("NVIDIA GeForce RTX 3090"), highest_w("")
    (70.0, 525.0, None)
    """
    limit_w = next((limit_w for names, limit_w in _LIMITS_W if _named(names, name)), None)
    if limit_w is None:
        return None
    return float(limit_w) * (PARTNERS if _named(r"GeForce|GTX|RTX [2-5]0[5-9]0", name) else 1.0)


def logged_sensor(column: str, name: str = "") -> Sensor:
    """The sensor behind a column of a log of nvidia-smi.

    Args:
        column: ``power.draw``, ``power.draw.average`` or ``power.draw.instant``; another one may be
            any of them.
        name: of the card; empty if the log does not say.
    """
    card = architecture_of(name)
    if column.endswith(".average"):
        averaging_s: float | None = AVERAGE_FIELD_S
    elif column.endswith(".instant"):
        averaging_s = card.update_s if card.instant_s is None else card.instant_s
    else:
        averaging_s = card.ordinary_s
    return card.sensor(averaging_s, idle_below_w(name))


def _named(names: str, name: str) -> bool:
    return (
        re.search(rf"(?<![A-Za-z0-9])(?:{names})(?![A-Za-z0-9])", name, re.IGNORECASE) is not None
    )
