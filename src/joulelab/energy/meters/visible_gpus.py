"""Which NVIDIA GPUs a program can use: CUDA_VISIBLE_DEVICES, read as CUDA reads it.

::

    not set                                  all
    "", "-1", "none"                         none
    "2,0"     "2 ,0x"     "2,0,-1,1"         numbers 2 and 0: the first invalid entry ends the list
    "GPU-5e1f"                               the card whose UUID starts so; none if two do
    "MIG-GPU-5e1f.../1/0"     "MIG-90aa..."  the card that the instance is a part of
    "0,0"                                    none: a card is listed twice

CUDA counts cards by speed, the fastest first, unless ``CUDA_DEVICE_ORDER=PCI_BUS_ID``; NVML counts
them along the bus. On a machine with cards of one model both are the same. If models differ, or a
card is split by MIG, only CUDA knows which card a number means: then all count.

Rules: CUDA C++ Programming Guide, Environment Variables; Multi-Instance GPU User Guide, Device
Enumeration; repeated and half numeric entries as found by experiment with torch.cuda.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import pynvml

from joulelab.energy.meters.nvml_gpu import optional

VISIBLE, ORDER, BY_BUS = "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "PCI_BUS_ID"
_NUMBER = re.compile(r"\s*([+-]?\d+)")


@dataclass(frozen=True)
class Card:
    """A GPU of this machine.

    Attributes:
        index: NVML's number.
        uuid: with the prefix ``GPU-``.
        name: of the model.
        bus: its address on the PCI bus; empty if the driver does not report it.
        split: whether it is split by MIG.
    """

    index: int
    uuid: str
    name: str
    bus: str = ""
    split: bool = False


@dataclass(frozen=True)
class Visible:
    """The GPUs that a program can use.

    Attributes:
        indices: NVML's indices; ``None`` if unknown.
        why: the reason in that case.
    """

    indices: frozenset[int] | None
    why: str = ""


def visible(
    environment: Mapping[str, str],
    cards: Sequence[Card],
    card_of_instance: Callable[[str], int | None] = lambda _: None,
) -> Visible:
    """The GPUs that a program with this environment can use.

    Args:
        environment: its variables.
        cards: every GPU of the machine.
        card_of_instance: returns the index of the card of a MIG instance, given its UUID.
    """
    everything = frozenset(card.index for card in cards)
    text = environment.get(VISIBLE)
    if text is None:
        return Visible(everything)
    entries = [entry.strip() for entry in text.split(",")]
    if entries[0].upper().startswith(("GPU-", "MIG-")):
        return _named(entries, cards, card_of_instance)
    numbers = _numbers(entries, len(cards))
    if set(numbers) in (set(), set(range(len(cards)))):
        return Visible(everything if numbers else frozenset())
    if any(card.split for card in cards):
        return Visible(None, "with a GPU split by MIG its numbers count instances")
    if environment.get(ORDER) != BY_BUS and len({card.name for card in cards}) > 1:
        return Visible(
            None,
            f"CUDA numbers the fastest GPU first, and the models differ: set {ORDER}={BY_BUS}, or "
            "name "
            "UUIDs",
        )
    ordered = sorted(cards, key=lambda card: (card.bus, card.index))
    return Visible(frozenset(ordered[number].index for number in numbers))


def machine_cards() -> list[Card]:
    """All GPUs of NVML; lost ones have no name. NVML must be open."""
    cards = []
    for index in range(pynvml.nvmlDeviceGetCount()):
        card = Card(index, "", "")
        with suppress(pynvml.NVMLError):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            pci = optional(pynvml.nvmlDeviceGetPciInfo, handle)
            mig = optional(pynvml.nvmlDeviceGetMigMode, handle)
            card = Card(
                index,
                str(pynvml.nvmlDeviceGetUUID(handle)),
                str(pynvml.nvmlDeviceGetName(handle)),
                "" if pci is None else str(pci.busId),
                bool(mig and mig[0]),
            )
        cards.append(card)
    return cards


def card_of_instance(uuid: str) -> int | None:
    """NVML's index of the card of a MIG instance; ``None`` if unknown."""
    with suppress(pynvml.NVMLError):
        instance = pynvml.nvmlDeviceGetHandleByUUID(uuid)
        card = pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(instance)
        return int(pynvml.nvmlDeviceGetIndex(card))
    return None


def _numbers(entries: Iterable[str], count: int) -> list[int]:
    """The numbers before the first invalid entry; empty if one occurs twice."""
    numbers: list[int] = []
    for entry in entries:
        match = _NUMBER.match(entry)
        if match is None or not 0 <= int(match[1]) < count:
            break
        numbers.append(int(match[1]))
    return numbers if len(set(numbers)) == len(numbers) else []


def _named(
    entries: Iterable[str], cards: Sequence[Card], card_of_instance: Callable[[str], int | None]
) -> Visible:
    found: list[int] = []
    named: list[str] = []
    for entry in entries:
        name, instance = entry.upper(), ""
        if name.startswith("MIG-GPU-"):
            name, _, instance = name.removeprefix("MIG-").partition("/")
        if name.startswith("GPU-"):
            begin = [card.index for card in cards if card.uuid.upper().startswith(name)]
            if len(begin) != 1:
                break
            index = begin[0]
        elif name.startswith("MIG-"):
            split = [card.index for card in cards if card.split]
            held_by = card_of_instance(entry)
            if held_by is None and len(split) != 1:
                return Visible(None, f"no known GPU holds the instance {entry}")
            index = split[0] if held_by is None else held_by
        else:
            break
        found.append(index)
        # Two instances of a card are two devices, the same card twice is a mistake.
        named.append(entry.upper() if instance or name.startswith("MIG-") else f"{index}")
    return Visible(frozenset(found) if len(set(named)) == len(named) else frozenset())
