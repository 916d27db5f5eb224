"""Read any table of runs: find its factors, results and energies.

::

    architecture   one row per training:  energy_j, accuracy, and factors of any name
    tuning         one row per round or training:  strategy, round, accuracy, and further factors

Known columns that are not factors: ``round``, ``repetition``, ``configuration``, ``best_accuracy``,
``duration_s``, ``utilisation_mean``, ``flops``, and the hyperparameters ``learning_rate``,
``beta1``, ``beta2``, ``epsilon``, ``weight_decay``. Every other column with values is a factor,
unless it has more than 20 different values that are numbers or different in every row, or it is a
result: such a column is not used, with a remark. If factors are named, only these count, and in a
search the strategy. In the column of a factor ``none`` is a level; empty cells, ``-``, ``na``,
``n/a``, ``nan`` and ``null`` are missing.

Energies are in joules, or in the unit of their heading (``Energy (Wh)``), of the end of their name
(``energy_kwh``), or of the argument. In Experiment-Runner's ``run_table.csv`` only runs that are
``DONE`` count.

Without a column ``round``, rows of a configuration with the same hyperparameters are a round. They
are numbered by first appearance: in the table if every configuration has the same sets, otherwise
in the configuration. Without hyperparameters, all rows are one round. A column ``relu_layers``
whose values are 0 and something else becomes the factor ``relu``, off or on, because the number of
ReLU layers only repeats the number of convolutional layers.

A designed experiment sets its factors, so their levels recur; what it measures is a different
number in nearly every run. A numeric column is a result if more than half of its values are
different and they vary within a combination of the other columns, or are fractions that no other
run has; also if its name says that it was measured, its values are fractions, and another column
determines them, like the memory used by a model.

An export of joulelab has its identity first, then the factors, then everything else, so its factors
need not be named::

    run_id, position, block, experiment, kind, configuration,  strategy, relu, ...,  round, ...

Rows of another kind, and the factors that only these have, are left out. Only finished runs count,
and runs that were trained together (``group_size``, ``started_at``) share a measurement.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from joulelab import formats
from joulelab.errors import DatasetError, UsageError, suggestion
from joulelab.tabular.reader import read_table
from joulelab.tabular.table import MISSING, Table, folded

Kind = Literal["architecture", "tuning"]

HYPERPARAMETERS = ("learning_rate", "beta1", "beta2", "epsilon", "weight_decay")
MEASURES = ("duration_s", "utilisation_mean", "flops", "best_accuracy")
PLACES = ("round", "repetition", "configuration")
RUN, DONE = "__run_id", "__done"
"""Columns of Experiment-Runner: the run of a row, and whether it is ``DONE``."""
TOGETHER = ("group_size", "started_at")
STATES = frozenset({"planned", "running", "finished", "failed"})
"""States of a run in an export of joulelab."""
WITHOUT_LEVEL = MISSING - {"none"}
INFINITE = {text: float(text) for text in ("inf", "+inf", "infinity", "-inf", "-infinity")}
ENERGIES = ("energy_j", "energy_net_j", "energy_gross_j", "energy")
"""Columns with the energy of a run; the first one present is used."""
CODECARBON = ("energy_consumed", "cpu_energy", "gpu_energy", "ram_energy")
JOULES = {
    "J": 1.0,
    "kJ": 1e3,
    "MJ": 1e6,
    "mJ": 1e-3,
    "Wh": 3.6e3,
    "kWh": 3.6e6,
    "mWh": 3.6,
    "uJ": 1e-6,
    "Ws": 1.0,
}
"""Units of energy in joules; mJ and MJ are distinguished by their case."""
EITHER = {"mj": "mJ or MJ", "mwh": "mWh or MWh"}
"""Units that are ambiguous in lower case."""
IDENTITY = ("run_id", "position", "block", "experiment", "kind", "configuration")
"""First columns of an export of joulelab."""
MEASURED = re.compile(
    r"time|duration|latency|energy|power|memory|usage|utili[sz]ation|temperature|throughput|"
    r"accuracy|loss|score|recall|emissions?|carbon|co2|joules?|watts?|runtime|perplexity|count"
)
"""Parts of the names of results."""
ENOUGH = 8
"""Number of rows in which levels of a factor would recur."""
MOST_LEVELS = 20
HUNDRED = 100.0


@dataclass(frozen=True)
class RunsTable:
    """A table of runs, ready for analysis.

    Attributes:
        path: of the file.
        frame: one row per run: ``round`` (from 0), ``accuracy`` (0 to 1), the factors, the energy
            and all measures present.
        factors: columns with levels.
        energy: column in joules; ``None`` if there is none.
        remarks: omissions and assumptions, in sentences.
    """

    path: Path
    frame: pd.DataFrame
    factors: tuple[str, ...]
    energy: str | None
    remarks: tuple[str, ...]


def read_runs(
    path: Path,
    kind: Kind,
    factors: Sequence[str] = (),
    energy: str | None = None,
    unit: str | None = None,
) -> RunsTable:
    """Read a table of runs.

    Args:
        path: a CSV file.
        kind: kind of experiment.
        factors: columns that are factors; default: found automatically.
        energy: column with the energy; default: found automatically.
        unit: of the energy, one of `JOULES`; default: from its heading, else joules.

    Raises:
        DatasetError: the file cannot be read or lacks a column, or a cell is not valid.
        UsageError: a named column does not exist or cannot be a factor, there is no energy or no
            factor, or no row has a level of every factor.
    """
    table = read_table(path, DatasetError)
    remarks = list(table.remarks)
    _refuse_twins(table)
    table = _done(table, remarks)
    named = [folded(factor) for factor in factors]
    if _is_exported(table):
        table, exported = _runs_of_kind(table, kind, remarks)
        if not len(table):
            raise UsageError(f"{path} has no run of kind {kind!r}", "choose a kind that it has")
        named = named or [folded(name) for name in exported]
    table.require(*(["accuracy"] if kind == "architecture" else ["strategy", "round", "accuracy"]))
    joules = _energy(table, kind, energy)
    frame = _measures(table, joules, unit, remarks)
    named = named or _found_factors(table, joules, remarks)
    if kind == "tuning" or "strategy" in named:
        named = ["strategy", *named]
    chosen = []
    for factor in dict.fromkeys(named):
        found = _require_factor(table, factor, joules)
        name, levels = _levels(factor, found, table)
        frame[name] = pd.Series(levels, dtype=object)
        chosen.append(name)
    if not chosen:
        raise UsageError(f"no column of {path} is a factor", "name an existing one with --factor")
    frame["round"] = _rounds(table, frame, chosen)
    kept = _whole(table, frame, chosen, remarks)
    _remark_on_values(kept, joules, remarks)
    constant = [name for name in chosen if kept[name].nunique() <= 1]
    if constant:
        remarks.append(f"Constant, so without effect: {formats.listing(constant)}.")
    return RunsTable(path, kept.reset_index(drop=True), tuple(chosen), joules, tuple(remarks))


def _refuse_twins(table: Table) -> None:
    """Refuse two columns whose names differ only in spelling."""
    names: dict[str, str] = {}
    for text in table.headings:
        table.column(text)  # raises if the same name occurs twice
        twin = names.setdefault(folded(text), text)
        if twin != text:
            raise table.error(
                f"the columns {twin!r} and {text!r} have the same name", "rename one of them"
            )


def _done(table: Table, remarks: list[str]) -> Table:
    """Keep only the runs that Experiment-Runner has finished."""
    name = table.column(DONE)
    if name is None:
        return table
    done = np.array([text.casefold().endswith("done") for text in table.texts(name)])
    if not done.any():
        raise UsageError(f"no row of {table.path} is DONE", "finish the experiment first")
    if not done.all():
        said = formats.count(int((~done).sum()), "unfinished run")
        remarks.append(f"{said} left out ({name} is not DONE).")
    return table.rows(done)


def _is_exported(table: Table) -> bool:
    """Whether the table is an export of joulelab."""
    names = [folded(name) for name in table.headings]
    return tuple(names[: len(IDENTITY)]) == IDENTITY and "round" in names


def _runs_of_kind(table: Table, kind: str, remarks: list[str]) -> tuple[Table, list[str]]:
    """The rows of a kind of experiment in an export, and its factors; both may be empty."""
    names = list(table.headings)
    kinds = table.texts(names[IDENTITY.index("kind")])
    kept = [row for row, cell in enumerate(kinds) if cell == kind]
    if others := len(table) - len(kept):
        remarks.append(f"{formats.count(others, 'run')} of another kind of experiment left out.")
    found = table.rows(kept)
    between = names[len(IDENTITY) : [folded(name) for name in names].index("round")]
    return found, [name for name in between if any(found.texts(name))]


def _energy(table: Table, kind: Kind, named: str | None) -> str | None:
    """The folded name of the energy column."""
    if named is not None:
        if table.column(named) is None:
            raise _absent(table, named)
        return folded(named)
    found = next((name for name in ENERGIES if table.column(name)), None)
    if found is None:
        those = [
            text
            for text, heading in table.headings.items()
            if "energy" in folded(text)
            and (_spelt(heading.unit) in JOULES or _unit_of_name(heading.name))
        ]
        if len(those) > 1:
            raise UsageError(
                f"{table.path} has several columns with an energy: {', '.join(those)}",
                "choose one with --energy",
            )
        found = folded(those[0]) if those else None
    if found is None and kind == "architecture":
        raise UsageError(
            f"{table.path} has no column with an energy: {', '.join(ENERGIES)}",
            "name it with --energy",
        )
    return found


def _unit_of_name(name: str) -> str:
    """The unit of energy at the end of a name; empty if there is none."""
    start, _, last = folded(name).rpartition("_")
    if not start:
        return ""
    return EITHER.get(last) or next((unit for unit in JOULES if unit.casefold() == last), "")


def _absent(table: Table, name: str) -> UsageError:
    known = suggestion(folded(name), [folded(one) for one in table.headings])
    return UsageError(f"{table.path} has no column {name!r}", known)


def _require_factor(table: Table, name: str, energy: str | None) -> str:
    """The heading of a factor's column."""
    found = table.column(name)
    if found is None:
        raise _absent(table, name)
    if name in {"accuracy", "round", energy}:
        raise UsageError(f"the column {name!r} is not a factor", "choose another one with --factor")
    return found


def _measures(
    table: Table, energy: str | None, unit: str | None, remarks: list[str]
) -> pd.DataFrame:
    """The numeric columns: accuracy, energy and measures of every row."""
    columns: dict[str, pd.Series[Any]] = {
        "accuracy": pd.Series(table.bounded(table.require("accuracy")[0], 0.0, HUNDRED))
    }
    if energy:
        columns[energy] = pd.Series(_joules(table, table.require(energy)[0], unit, remarks))
    for name in (*HYPERPARAMETERS, *MEASURES):
        if (found := table.column(name)) and name not in columns:
            columns[name] = pd.Series(table.bounded(found))
    if all(table.column(name) for name in TOGETHER):
        group_size, started_at = table.require(*TOGETHER)
        columns["group_size"] = pd.Series(table.bounded(group_size))
        columns["started_at"] = pd.Series(table.texts(started_at), dtype=object)
    if status := table.column("energy_status"):
        columns["energy_status"] = pd.Series(table.texts(status), dtype=object)
    return pd.DataFrame(columns)


def _joules(table: Table, name: str, unit: str | None, remarks: list[str]) -> Any:  # noqa: ANN401 - an array
    """(n,) energies; infinite cells stay infinite, for `analysis.negative_energy` to find."""
    heading = table.headings[name]
    said = heading.unit or _unit_of_name(heading.name)
    known = said if said in JOULES else _spelt(said)
    if unit is None and said and known not in JOULES:
        raise table.error(
            f"its unit may be {said}" if " or " in said else f"{said!r} is not a unit of energy",
            f"state it: --unit {' or '.join(JOULES)}",
            column=name,
        )
    if unit is not None and known in JOULES and known != unit:
        raise UsageError(
            f"--unit {unit}, and the column {name!r} says {known}", "remove one of the two"
        )
    if not said and unit is None and folded(name) in CODECARBON and _is_codecarbon(table):
        said = known = "kWh"
        remarks.append(f"{name} is in kWh, as CodeCarbon writes it.")
    used = unit or known or "J"
    if not said and unit is None and "joule" not in folded(name):
        remarks.append(f"{name} is assumed to be in joules; --unit overrides this.")
    texts = table.texts(name)
    values = table.numbers(name, missing=MISSING | INFINITE.keys()).values * JOULES[used]
    return np.array([INFINITE.get(t.casefold(), v) for t, v in zip(texts, values, strict=True)])


def _is_codecarbon(table: Table) -> bool:
    return all(table.column(name) for name in ("energy_consumed", "emissions"))


def _spelt(unit: str) -> str:
    """Normalise the spelling of a unit: joules, kilowatt-hours, KWH."""
    words = {
        "joule": "J",
        "joules": "J",
        "kilojoules": "kJ",
        "megajoules": "MJ",
        "watt-hours": "Wh",
    }
    plain = unit.casefold().replace(" ", "").replace("\N{GREEK SMALL LETTER MU}", "u")
    by_letters = {one.casefold(): one for one in JOULES if one.casefold() not in EITHER}
    return words.get(plain) or by_letters.get(plain, unit)


def _whole(
    table: Table, frame: pd.DataFrame, factors: Sequence[str], remarks: list[str]
) -> pd.DataFrame:
    """Rows of finished runs with a round and a level of every factor; accuracies from 0 to 1."""
    above = frame["accuracy"] > 1
    if above.sum() > frame["accuracy"].notna().sum() / 2:
        remarks.append("Accuracies in the file are assumed to be in per cent.")
        frame["accuracy"] /= HUNDRED
    elif above.any():
        row = int(above.to_numpy().argmax())
        raise table.error(
            "above 1, but most accuracies are shares of 1", "fix the cell", row, "accuracy"
        )
    state = table.column("state")
    states = table.texts(state) if state else []
    if states and set(states) <= STATES:
        done = pd.Series([state == "finished" for state in states])
        if not done.all():
            said = formats.count(int((~done).sum()), "run")
            remarks.append(f"{said} that did not finish left out.")
        frame = frame[done]
    kept = frame.dropna(subset=list(factors))
    if without := len(frame) - len(kept):
        remarks.append(f"{formats.count(without, 'row')} without a level of every factor left out.")
    whole = kept[kept["round"].notna()]
    if without := len(kept) - len(whole):
        remarks.append(f"{formats.count(without, 'row')} without a round left out.")
    if not len(whole):
        raise UsageError(
            f"no row of {table.path} is complete: {' '.join(remarks)}",
            "choose factors that every run has with --factor",
        )
    return whole.astype({"round": int})


def _remark_on_values(runs: pd.DataFrame, energy: str | None, remarks: list[str]) -> None:
    for name in ("accuracy", *([energy] if energy else [])):
        if missing := int(runs[name].isna().sum()):
            remarks.append(
                f"{formats.count(missing, 'row')} without {name} left out where it is needed."
            )


def _found_factors(table: Table, energy: str | None, remarks: list[str]) -> list[str]:
    own = {"accuracy", energy, RUN, DONE, *ENERGIES}
    known = own | {*HYPERPARAMETERS, *MEASURES, *PLACES, *TOGETHER}
    cells = {folded(name): table.texts(name) for name in table.headings if name}
    plain = {folded(text): folded(heading.name) for text, heading in table.headings.items()}
    different = {
        name: {text for text in texts if text.casefold() not in WITHOUT_LEVEL}
        for name, texts in cells.items()
        if not {name, plain[name]} & known
    }
    found, alone, results = [], [], []
    for name, levels in different.items():
        if not levels:
            continue
        numbers = all(_is_number(text) for text in levels)
        if len(levels) > MOST_LEVELS and (numbers or len(levels) == len(table)):
            alone.append(f"{name} ({len(levels):,} different values)")
        elif numbers and _is_result(name, cells, [one for one in different if one != name]):
            results.append(name)
        else:
            found.append(name)
    if results:
        remarks.append(f"Treated as results: {formats.listing(results)}; --factor overrides this.")
    if alone:
        remarks.append(
            f"Not treated as factors: {formats.listing(alone)}; --factor overrides this."
        )
    return found


def _is_number(cell: str) -> bool:
    """Whether a cell is a finite number.

    >>> _is_number("1e3"), _is_number("fp16"), _is_number("nan")
    (True, False, False)
    """
    try:
        number = float(cell)
    except ValueError:
        return False
    return math.isfinite(number)


def _is_result(name: str, cells: Mapping[str, Sequence[str]], others: Sequence[str]) -> bool:
    """Whether a numeric column was measured, given the other columns that may be factors."""
    values = [text for text in cells[name] if text]
    different = set(values)
    fractions = any(not float(text).is_integer() for text in different if _is_number(text))
    if 2 * len(different) <= len(values):
        measured = fractions and bool(MEASURED.search(name))
        return measured and any(_decides(cells[one], cells[name]) for one in others)
    by_hand = [cells[one] for one in others if 1 < len(set(cells[one])) <= len(values) / 2]
    combinations = list(zip(*by_hand, strict=True)) or [()] * len(cells[name])
    varies = len(set(zip(combinations, cells[name], strict=True))) > len(set(combinations))
    named = bool(MEASURED.search(name))
    unlike_any = (fractions or named) and len(different) == len(values) >= ENOUGH
    return (bool(by_hand) and varies) or unlike_any or (fractions and named)


def _decides(levels: Sequence[str], texts: Sequence[str]) -> bool:
    """Whether each level of one column has a single value of another."""
    pairs = set(zip(levels, texts, strict=True))
    return len(set(levels)) > 1 and len(pairs) == len(set(levels))


def _levels(name: str, found: str, table: Table) -> tuple[str, list[Any]]:
    """The name of a factor and its levels, one per row."""
    texts = table.texts(found)
    if table.decimal_comma:
        texts = [t.replace(",", ".") if _is_number(t.replace(",", ".")) else t for t in texts]
    levels = [_level(text) for text in texts]
    if name == "relu_layers" and table.column("relu") is None:
        counts = {level for level in levels if level is not None}
        if 0 in counts and len(counts) > 1 and all(isinstance(level, int) for level in counts):
            return "relu", [None if level is None else bool(level) for level in levels]
    return name, levels


def _level(cell: str) -> bool | int | float | str | None:
    """A level: a truth value, a number or a word.

    >>> _level("3.0"), _level("true"), _level("SimpleCNN"), _level("")
    (3, True, 'SimpleCNN', None)
    """
    if cell.casefold() in WITHOUT_LEVEL:
        return None
    if cell.casefold() in {"true", "false"}:
        return cell.casefold() == "true"
    if not _is_number(cell):
        return cell
    number = float(cell)
    return int(number) if number.is_integer() else number


def _rounds(table: Table, frame: pd.DataFrame, factors: Sequence[str]) -> pd.Series[Any]:
    """Round numbers from 0, even if the file counts from 1."""
    if column := table.column("round"):
        rounds = pd.Series(table.bounded(column, 0, whole=True)).astype("Int64")
        return rounds if (rounds == 0).any() else rounds - 1
    sets = [
        name
        for name in HYPERPARAMETERS
        if name not in factors and name in frame and frame[name].notna().any()
    ]
    if not sets:
        return pd.Series(0, index=frame.index)
    rounds = frame.groupby(sets, dropna=False, sort=False).ngroup()
    whole = frame.dropna(subset=list(factors))
    known = rounds[whole.index].groupby([whole[name] for name in factors], sort=False)
    if (known.nunique() == rounds[whole.index].nunique()).all():
        return rounds
    for _, rows in whole.groupby(list(factors), sort=False):
        rounds[rows.index] = rows.groupby(sets, dropna=False, sort=False).ngroup()
    return rounds
