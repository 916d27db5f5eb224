"""Numbers as people read them."""

import numpy as np

from joulelab import formats


def test_levels_of_numpy_are_written_like_those_of_python():
    levels = [True, 0.001, 16, "a"]
    ours = [formats.level(level) for level in levels]
    assert ours == ["on", "0.001", "16", "a"]
    assert [formats.level(level) for level in map(np.array, levels)] == ours


def test_unknown_is_never_zero():
    assert formats.joules(None) == formats.joules(float("nan")) == "unknown"
    assert formats.duration(None) == "unknown"


def test_a_metric_of_any_size_keeps_three_digits():
    values = (None, 0.0, 0.91349, 32.84, 11916.0, 250.0, 2.13e-5, -0.004, 1e12)
    assert [formats.quantity(value) for value in values] == [
        formats.DASH, "0.000", "0.913", "32.8", "11,916", "250", formats.signed("2.13e-05"),
        formats.signed("-4.00e-03"), "1.00e+12",
    ]  # fmt: skip


def test_numbers_are_rounded_for_people():
    assert [formats.joules(v) for v in (0.0, 8.571, 85.71, 1674.2, 125_300, 3_420_000)] == [
        "0.00 J",
        "8.57 J",
        "85.7 J",
        "1,674 J",
        "125.3 kJ",
        "3.42 MJ",
    ]
    durations = [formats.duration(v) for v in (1e-6, 1.5e-5, 1e-4, 0.00241, 0.42)]
    assert durations == [
        "1.00 \N{MICRO SIGN}s",
        "15.0 \N{MICRO SIGN}s",
        "0.10 ms",
        "2.41 ms",
        "0.42 s",
    ]
    assert formats.duration(3900) == "1 h 05 min"
    assert formats.duration(245) == "4 min 05 s"
    assert formats.p_value(1e-9) == "< 0.001"
    assert formats.change(-0.0213) == "\N{MINUS SIGN}2.1 %"
    assert formats.count(4, "batch") == "4 batches"
    nouns = ["run", "study", "day", "class", "epoch", "box", "wish"]
    plurals = ["runs", "studies", "days", "classes", "epochs", "boxes", "wishes"]
    assert [*map(formats.plural, nouns)] == plurals
    assert formats.listing(["a", "b", "c"]) == "a, b and c"
