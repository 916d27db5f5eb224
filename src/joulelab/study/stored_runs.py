"""Runs and rounds in the database of a results folder: planned, looked up, scored."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from joulelab.study.database import Database
from joulelab.study.planned_run import PlannedRun


class StoredRuns(Database):
    """The tables of runs and rounds; `StoredLedger` changes the state of runs."""

    def plan(self, runs: Sequence[PlannedRun]) -> None:
        """Enter the planned runs; existing ones are unchanged."""
        names = [field.name for field in fields(PlannedRun)]
        statement = (
            f"INSERT OR IGNORE INTO runs ({', '.join(names)})"
            f" VALUES ({', '.join(f':{name}' for name in names)})"
        )
        with self._transaction() as connection:
            connection.executemany(
                statement,
                [{**vars(run), "factors": json.dumps(dict(run.factors))} for run in runs],
            )

    def states(self) -> dict[str, str]:
        """The state of every run by its id."""
        return dict(self._query("SELECT run_id, state FROM runs"))

    def block_sessions(self) -> list[tuple[int, int]]:
        """Blocks, and the sessions in which runs of them have finished."""
        return [
            (int(block), int(session))
            for block, session in self._query(
                "SELECT DISTINCT block, last_session FROM runs"
                " WHERE state IN ('finished', 'failed') AND last_session IS NOT NULL"
            )
        ]

    def finished_values(
        self, column: str, round_of: tuple[str, str, int] | None = None
    ) -> list[Any]:
        """The values of finished runs in a column, in the order of the plan, without nulls.

        Args:
            column: of the runs.
            round_of: experiment, configuration and number of the round; default: all runs.
        """
        where = (
            "" if round_of is None else " AND experiment = ? AND configuration = ? AND round = ?"
        )
        rows = self._query(
            f"SELECT {column} FROM runs WHERE state = 'finished' AND {column} IS NOT NULL{where}"
            " ORDER BY position",
            round_of or (),
        )
        return [value for (value,) in rows]

    def proposed(
        self, experiment: str, configuration: str, round_number: int
    ) -> tuple[dict[str, Any], float | None] | None:
        """The hyperparameters of a round, if proposed, and its score, if known."""
        rows = self._query(
            "SELECT hyperparameters, score FROM rounds"
            " WHERE experiment = ? AND configuration = ? AND round = ?",
            (experiment, configuration, round_number),
        )
        return (json.loads(rows[0][0]), rows[0][1]) if rows else None

    def propose(
        self, experiment: str, configuration: str, round_number: int, values: Mapping[str, Any]
    ) -> None:
        """Store the hyperparameters of a round, before training."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO rounds VALUES (?, ?, ?, ?, NULL)",
                (experiment, configuration, round_number, json.dumps(dict(values))),
            )

    def score(
        self, experiment: str, configuration: str, round_number: int, score: float | None
    ) -> None:
        """Store the score of a finished round; ``None`` if every repetition failed."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE rounds SET score = ?"
                " WHERE experiment = ? AND configuration = ? AND round = ?",
                (score, experiment, configuration, round_number),
            )
