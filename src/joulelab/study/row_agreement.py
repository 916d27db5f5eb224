"""Whether the rows of a results folder agree with its study file, and with each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from joulelab.errors import StoreCorruptError, quoted
from joulelab.study.database import DATABASE
from joulelab.study.store_reading import (
    COLUMNS,
    RESTORE,
    OnDamage,
    read_manifest,
    read_rows,
    read_study,
    refuse,
)


class RowAgreement:
    """What is known of the rows so far.

    Args:
        folder: with results.
        study: its study file.
        on_damage: is told of each row that does not agree.

    Attributes:
        factors: names of the factors of each experiment.
    """

    def __init__(self, folder: Path, study: Mapping[str, Any], on_damage: OnDamage) -> None:
        self.factors: dict[str, list[str]] = {}
        self._place = folder / DATABASE
        self._kinds = {name: table["kind"] for name, table in study["experiment"].items()}
        self._on_damage = on_damage
        self._ids: set[str] = set()
        self._places: set[tuple[Any, ...]] = set()
        self._levels: dict[tuple[str, str], Mapping[str, Any]] = {}

    def kept(self, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Those of some rows that agree.

        Args:
            rows: of ``runs``.

        Raises:
            StoreCorruptError: what `on_damage` raises.
        """
        kept = []
        for row in rows:
            if wrong := self._disagreement(row):
                message = f"{self._place}: the run {quoted(row['run_id'])}: {wrong}"
                self._on_damage(StoreCorruptError(message, RESTORE))
            else:
                kept.append(row)
        return kept

    def _disagreement(self, row: Mapping[str, Any]) -> str:
        """What is wrong with a row, in words; empty where nothing is."""
        experiment, configuration = row["experiment"], row["configuration"]
        key = (experiment, configuration)
        if experiment not in self._kinds:
            return f"study.toml has no experiment {quoted(experiment)}"
        if row["kind"] != self._kinds[experiment]:
            said = f"its kind is {quoted(row['kind'])}"
            return f"{said}, and {quoted(self._kinds[experiment])} in study.toml"
        place = (*key, row["round"], row["repetition"])
        if place in self._places or row["run_id"] in self._ids:
            return "another run has its name, or its round and repetition"
        if list(row["factors"]) != self.factors.setdefault(experiment, list(row["factors"])):
            return f"its factors are not those of the other runs of {quoted(experiment)}"
        if row["factors"] != self._levels.setdefault(key, row["factors"]):
            return "its levels are not those of the other runs of its configuration"
        self._ids.add(row["run_id"])
        self._places.add(place)
        return ""


def check_folder(folder: Path) -> None:
    """Read all of a results folder, so that nobody goes on with a damaged one.

    Args:
        folder: with results.

    Raises:
        StoreCorruptError: says where.
    """
    read_manifest(folder)
    agreement = RowAgreement(folder, read_study(folder), refuse)
    for table in COLUMNS:
        for rows in read_rows(folder, table):
            if table == "runs":
                agreement.kept(rows)
