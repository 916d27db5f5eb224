"""Several commands, measured in blocks: how much energy each used beside the first.

Within a block every command is run once, in random order, so drift affects all of them; a ratio is
taken within the block (`joulelab.analysis.comparison`). With more than two commands the intervals
are wide enough to hold together (Bonferroni).
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from joulelab import formats
from joulelab.energy.command import Command, Trial
from joulelab.energy.measurement import Measurement
from joulelab.energy.reading import Status
from joulelab.errors import UsageError, quoted
from joulelab.present import Column, Table, words

if TYPE_CHECKING:
    from joulelab.analysis.comparison import Interval

LEAST_SHOWN = 0.05
"""A smaller difference is not asked for."""
MOST_SHOWN = 1000
"""A greater upper end of a ratio says no more than this."""
TWO = 2
NAMES = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
"""Of command lines."""


def swept(template: Sequence[str], sweeps: Sequence[str]) -> dict[str, Command]:
    """A command for every combination of values, by name.

    >>> swept(["train.py", "--lr={lr}"], ["lr=0.1,0.2"])
    {'lr=0.1': ['train.py', '--lr=0.1'], 'lr=0.2': ['train.py', '--lr=0.2']}

    Raises:
        UsageError: a sweep is not ``NAME=VALUE,VALUE``, or the template has no ``{NAME}``.
    """
    levels: dict[str, list[str]] = {}
    for sweep in sweeps:
        name, equals, values = sweep.partition("=")
        given = [value.strip() for value in values.split(",")]
        if not (name and equals and all(given) and len(set(given)) == len(given)):
            raise UsageError(
                f"--sweep {quoted(sweep)} is not a name with different values",
                "write --sweep batch-size=32,64,128",
            )
        if not any(f"{{{name}}}" in word for word in template):
            raise UsageError(
                f"the command has no {{{name}}}, which --sweep varies",
                f"joulelab measure --sweep {sweep} -- python train.py --{name} {{{name}}}",
            )
        levels[name] = given
    commands: dict[str, Command] = {}
    for combination in itertools.product(*levels.values()):
        chosen = dict(zip(levels, combination, strict=True))
        name = ", ".join(f"{key}={value}" for key, value in chosen.items())
        commands[name] = [_filled(word, chosen) for word in template]
    return commands


def _filled(word: str, values: Mapping[str, str]) -> str:
    """A word with every {NAME} replaced, and nothing in what it is replaced by."""
    names = re.compile("|".join(re.escape(f"{{{name}}}") for name in values))
    return names.sub(lambda found: values[found[0][1:-1]], word)


@dataclass(frozen=True)
class Quantity:
    """A quantity summarised over several runs.

    Attributes:
        name: for people.
        form: how a value is written.
        of: from a measurement to the value; ``None`` where unknown.
    """

    name: str
    form: Callable[[float | None], str]
    of: Callable[[Measurement], float | None]

    def interval(self, runs: Sequence[Measurement]) -> Interval | None:
        """Mean and confidence interval over the runs that have it; ``None`` if none has."""
        from joulelab.analysis.comparison import mean_interval

        values = self.values(runs)
        return mean_interval(values) if values else None

    def values(self, runs: Sequence[Measurement]) -> list[float]:
        """The known values."""
        return [value for one in runs if (value := self.of(one)) is not None]


QUANTITIES = {
    "gross_j": Quantity("gross", formats.joules, lambda one: one.total.gross_j),
    "net_j": Quantity("net", formats.joules, lambda one: one.total.net_j),
    "idle_j": Quantity("idle", formats.joules, lambda one: one.total.idle_j),
    "mean_power_w": Quantity("mean power", formats.watts, lambda one: one.mean_power_w),
    "duration_s": Quantity("duration", formats.duration, lambda one: one.duration_s),
    "co2e_g": Quantity("CO2e", formats.grams, lambda one: one.co2e_g),
}


@dataclass(frozen=True)
class Compared:
    """Commands side by side.

    Attributes:
        names: of the commands; all are compared with the first.
        lines: the commands as one types them.
        trials: those that count, each with its measurement.
    """

    names: Sequence[str]
    lines: Sequence[str]
    trials: Sequence[tuple[Trial, Measurement]]

    def runs(self, number: int) -> list[Measurement]:
        """The measurements of one command."""
        return [one for trial, one in self.trials if trial.number == number]

    def ratio(self, number: int, key: str = "gross_j") -> Interval | None:
        """A quantity of a command over that of the first, from the blocks in which both have it.

        Args:
            number: of the command.
            key: of `QUANTITIES`.
        """
        from joulelab.analysis.comparison import CONFIDENCE, ratio_interval

        by_block: dict[int, dict[int, float]] = {}
        for trial, measurement in self.trials:
            value = QUANTITIES[key].of(measurement)
            if value is not None and value > 0 and not trial.run.exit_code:
                by_block.setdefault(trial.block, {})[trial.number] = value
        both = [block for block in by_block.values() if 0 in block and number in block]
        if not both:
            return None
        confidence = 1 - (1 - CONFIDENCE) / (len(self.names) - 1)
        return ratio_interval(
            [block[number] for block in both], [block[0] for block in both], confidence
        )

    def verdict(self, number: int) -> str:
        """What the ratio of a command says: ``1.16 (0.99 to 1.36): no difference shown; ...``."""
        ratio = self.ratio(number)
        if ratio is None:
            return "cannot be compared: no block in which both energies are known"
        if math.isnan(ratio.low):
            return f"{ratio.value:.3g}, in one pair; --repeat 10 would say how sure that is"
        said = f"{_ratio_text(ratio)}: "
        if ratio.low > 1:
            return f"{said}more energy"
        if ratio.high < 1:
            return f"{said}less energy"
        from joulelab.analysis.comparison import pairs_to_show

        size = max(LEAST_SHOWN, round(abs(ratio.value - 1) / LEAST_SHOWN) * LEAST_SHOWN)
        needed = pairs_to_show(ratio.std, size, confidence=ratio.confidence)
        return (
            f"{said}no difference shown; about {needed} pairs would show one of {100 * size:.0f} %"
        )

    def sentence(self) -> str:
        """The answer: the second beside the first, or the least of several."""
        status = Status.of_sum(one.total.status for _, one in self.trials)
        how = "" if status is Status.MEASURED else f" ({status})"
        first = self.names[0]
        if len(self.names) == TWO:
            return f"Energy of {self.names[1]} over {first}{how}: {self.verdict(1)}"
        ratios = {
            number: ratio
            for number in range(1, len(self.names))
            if (ratio := self.ratio(number)) is not None
        }
        if not ratios:
            return f"Nothing can be compared with {first}: no block has known energies"
        least = min(ratios, key=lambda number: ratios[number].value)
        if ratios[least].value >= 1:
            return f"Least energy{how}: {first}; {self.names[least]} over it, {self.verdict(least)}"
        return f"Least energy{how}: {self.names[least]}; over {first}, {self.verdict(least)}"

    def table(self) -> Table:
        """A row for each command."""
        rows = []
        for number, (name, line) in enumerate(zip(self.names, self.lines, strict=True)):
            runs = self.runs(number)
            known = [one.total.gross_j for one in runs if one.total.gross_j is not None]
            time = self.ratio(number, "duration_s") if number else None
            rows.append(
                {
                    "": name,
                    "runs": len(runs),
                    "energy": sum(known) / len(known) if known else None,
                    "duration_s": sum(one.duration_s for one in runs) / len(runs) if runs else None,
                    "energy_ratio": self.verdict(number).partition(":")[0] if number else "1",
                    "time_ratio": f"{time.value:.3g}" if time else "1" if not number else "",
                    "command": line,
                }
            )
        first = self.names[0]
        return Table(
            rows,
            [
                words(""),
                Column("runs", wide=True),
                Column("energy", units=formats.ENERGY),
                Column("time", "duration_s", formats.duration),
                Column(f"energy over {first}", "energy_ratio"),
                Column(f"time over {first}", "time_ratio"),
                words("command", wide=True),
            ],
        )

    def data(self) -> dict[str, Any]:
        """The same as plain data."""
        others = range(1, len(self.names))
        ratios = {
            self.names[number]: {key: interval_data(self.ratio(number, key)) for key in QUANTITIES}
            for number in others
        }
        return {
            "commands": dict(zip(self.names, self.lines, strict=True)),
            "over": self.names[0],
            "ratio": ratios,
            "verdict": {self.names[number]: self.verdict(number) for number in others},
            "sentence": self.sentence(),
        }


def _ratio_text(ratio: Interval) -> str:
    """``1.16 (0.99 to 1.36)``, with more digits where the interval is narrow."""
    width = ratio.high - ratio.low
    decimals = max(2, 1 - math.floor(math.log10(width))) if width > 0 else 2
    value, low, high = (f"{one:.{decimals}f}" for one in (ratio.value, ratio.low, ratio.high))
    if ratio.high > MOST_SHOWN:
        high = f"more than {MOST_SHOWN:,}"
    return f"{value} ({low} to {high})"


def interval_data(interval: Interval | None) -> dict[str, Any] | None:
    """An interval as plain data."""
    if interval is None:
        return None
    names = ("value", "std", "low", "high", "confidence", "n")
    return {name: getattr(interval, name) for name in names}
