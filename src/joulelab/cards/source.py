"""The work that a card is about, wherever it is stored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from joulelab.cards.measurements import FORMS, work_of_measurements
from joulelab.cards.studies import work_of_study
from joulelab.cards.work import Asked, Work, assumed
from joulelab.errors import UsageError
from joulelab.plain import is_there


def work_of(path: Path, asked: Asked) -> Work:
    """The work that a results folder, a measurement or a file of CodeCarbon is about.

    Args:
        path: of the folder or file.
        asked: what the user adds.

    Raises:
        StoreError: the folder has no study, or cannot be read.
        DatasetError: the file of CodeCarbon cannot be read.
        UsageError: the file is something else; it has no such run; the place is unknown.
    """
    if not is_there(path):
        raise UsageError(f"{path} does not exist", FORMS)
    if path.is_dir():
        found = work_of_study(path, asked)
    elif path.suffix.lower() == ".csv":
        from joulelab.cards.emissions import work_of_emissions

        found = work_of_emissions(path, asked)
    else:
        found = work_of_measurements(path, asked)
    added = {
        name: value
        for name, value in (("name", asked.name), ("hardware", asked.hardware))
        if value is not None
    }
    if asked.phase is not None:
        remarks = tuple(one for one in found.remarks if one != assumed(found.phase))
        found = replace(found, phase=asked.phase, phase_known=True, remarks=remarks)
    return replace(found, **added)  # type: ignore[arg-type]
