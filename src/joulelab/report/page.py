"""The page: one self-contained HTML file with every table and figure of a study."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from joulelab import formats
from joulelab.files import safe_name, write_whole
from joulelab.present.style import save
from joulelab.report import (
    claims,
    conditions,
    pictures,
    rendering,
)
from joulelab.report.chapter import Shown, chapter, trainings
from joulelab.report.claims import CLASSES, Scope, scopes
from joulelab.report.experiment import Experiment, experiments
from joulelab.report.findings import study_finding
from joulelab.report.instruments.picture import instrument_pictures
from joulelab.report.ledger import StudyEnergy, study_energy, study_tables
from joulelab.report.paper.pages import Heading, write_claims, write_paper
from joulelab.report.pictures import Picture
from joulelab.report.prediction_tables import (
    prediction_contents,
    prediction_finding,
    prediction_tables,
)
from joulelab.report.rendering import check_no_links, writing
from joulelab.report.tables import Omitted, Table
from joulelab.study.results import Results

SCHEMA_VERSION = 1
LINKS = (
    ("Report", "index.html"),
    ("Claims", "claims.html"),
    ("Tables and figures of the paper", "paper.html"),
)
"""Label and file of every page."""


@dataclass(frozen=True)
class Block:
    """A table, a figure or what is said in its place, as the template shows it."""

    kind: str
    content: Table | Picture | Omitted
    image: str = ""


def write_report(results: Results, found: Sequence[Experiment] | None = None) -> Path:
    """Write the report of a study into ``report/``; finished or not, a study has one.

    ``index.html`` is the page of the study, ``claims.html`` that of the paper's findings,
    ``paper.html`` that of its tables and figures; `joulelab.report.paper.pages` says what else is
    written.

    Args:
        results: what the study has found so far.
        found: its experiments, where the caller has them already.

    Returns:
        The page. The old one stands until the new one is whole.

    Raises:
        StoreWriteError: the folder cannot be written.
    """
    folder = results.folder / "report"
    found = experiments(results) if found is None else found
    claimed = scopes(trainings(found))
    heading = Heading(
        _name(results), conditions.progress(results.to_frame()), conditions.thinning(results), LINKS
    )
    check_no_links(folder)
    with writing(folder):
        (folder / "figures").mkdir(exist_ok=True)
        if trained := trainings(found):
            write_claims(claimed, heading, folder)
            write_paper(trained, claimed, heading, folder)
        return write_whole(
            folder / "index.html", _html(results, found, claimed, folder / "figures")
        )


def write_joint_report(
    studies: Sequence[Results], found: Sequence[Experiment], folder: Path
) -> Path:
    """Write the claims, tables and figures of several studies together.

    Args:
        studies: for instance both experiments on both data sets.
        found: the experiments of all of them.
        folder: where to.

    Returns:
        The page with the tables and figures.

    Raises:
        StoreWriteError: the folder cannot be written.
    """
    claimed = scopes(trainings(found))
    unfinished = [
        f"{_name(results)}: {said}"
        for results in studies
        if (said := conditions.progress(results.to_frame()))
    ]
    remarks = tuple(
        f"{_name(results)}: {said}" for results in studies for said in conditions.thinning(results)
    )
    name = formats.listing([_name(results) for results in studies])
    heading = Heading(name, " ".join(unfinished), remarks, LINKS[1:])
    with writing(folder):
        write_claims(claimed, heading, folder)
        return write_paper(trainings(found), claimed, heading, folder)


def write_tables_report(name: str, found: Sequence[Experiment], folder: Path) -> Path:
    """Write the claims, tables and figures of experiments that somebody else has run.

    Args:
        name: what stands above them.
        found: the experiments.
        folder: where to.

    Raises:
        StoreWriteError: the folder cannot be written.
    """
    claimed = scopes(trainings(found))
    heading = Heading(name, links=LINKS[1:])
    with writing(folder):
        write_claims(claimed, heading, folder)
        return write_paper(trainings(found), claimed, heading, folder)


def tables_data(experiment: Experiment) -> dict[str, Any]:
    """Every table of an experiment as plain data, by its key."""
    return _plain(chapter(experiment).tables(experiment))


def report_data(results: Results, found: Sequence[Experiment] | None = None) -> dict[str, Any]:
    """The numbers of the report as plain data.

    Args:
        results: what the study has found so far.
        found: its experiments, where the caller has them already.
    """
    found = experiments(results) if found is None else found
    energy = study_energy(results.ledger_frame())
    return {
        "schema_version": SCHEMA_VERSION,
        "study": results.spec.get("name"),
        "finished": not conditions.progress(results.to_frame()),
        "findings": study_findings(results, found, energy),
        "claims": claims.data(scopes(trainings(found))),
        "scale": results.spec.get("miniature", {}).get("scale", 1.0),
        "energy": {
            "gross_j": energy.gross_j,
            "error_j": energy.error_j,
            "status": energy.status,
            "duration_s": energy.duration_s,
            "entries_without_energy": energy.unknown,
        },
        "study_tables": _plain([*study_tables(results), *prediction_tables(results)]),
        "experiments": {
            one.name: {
                "kind": one.kind,
                "factors": list(one.factors),
                "planned": one.planned,
                "finished": len(one.runs),
                "failed": one.failed,
                "energy_column": one.energy.column,
                "energy_status": one.energy.status,
                "remarks": list(one.energy.remarks),
                "tables": tables_data(one),
            }
            for one in found
        },
    }


def _plain(made: Sequence[Table | Omitted]) -> dict[str, Any]:
    return {
        one.key: {"title": one.title, "omitted": one.reason}
        if isinstance(one, Omitted)
        else {
            "title": one.title,
            "rows": json.loads(one.raw.to_json(orient="records", double_precision=15)),
        }
        for one in made
    }


def study_findings(results: Results, found: Sequence[Experiment], energy: StudyEnergy) -> list[str]:
    """Sentences on the whole study, the most important first."""
    said = [sentence for one in found for sentence in chapter(one).findings(one)]
    predicted = prediction_finding(results)
    return [*said, study_finding(energy), *([predicted] if predicted else [])]


def _name(results: Results) -> str:
    return str(results.spec.get("name", results.folder.name))


def _html(
    results: Results, found: Sequence[Experiment], claimed: Sequence[Scope], figures: Path
) -> str:
    runs, manifest = results.to_frame(), results.manifest
    energy = study_energy(results.ledger_frame())
    files: dict[str, str] = {}
    return rendering.page(
        "report",
        name=_name(results),
        summary=results.spec.get("summary", ""),
        unfinished=conditions.progress(runs),
        remarks=conditions.thinning(results),
        links=LINKS[1:] if trainings(found) else (),
        scopes=claimed,
        classes=CLASSES,
        findings=study_findings(results, found, energy),
        energy=energy,
        counted=conditions.counted(runs),
        channels=conditions.channels(manifest),
        missing=conditions.missing(manifest),
        idle=conditions.idle_power(manifest),
        sections=[
            (
                one,
                _lead(one, alone=len(found) == 1),
                _embed(one.name, _contents(one), figures, files),
            )
            for one in found
        ],
        study_blocks=_embed(
            "study",
            [
                pictures.ledger_picture(energy),
                *study_tables(results),
                *instrument_pictures(results),
                *prediction_contents(results),
            ],
            figures,
            files,
        ),
        conditions=conditions.conditions(results),
    )


def _lead(experiment: Experiment, *, alone: bool) -> list[str]:
    """What an experiment was, how far it is, and what to bear in mind.

    Args:
        experiment: with or without finished runs.
        alone: its findings stand at the top of the page already.
    """
    ended = f"{len(experiment.runs):,} of {formats.count(experiment.planned, 'run')} finished"
    failed = f", {experiment.failed:,} failed" if experiment.failed else ""
    diverged = int(experiment.runs["diverged"].sum()) if len(experiment.runs) else 0
    flagged = (
        [f"{formats.count(diverged, 'run')} diverged; their energy and accuracy are included."]
        if diverged
        else []
    )
    factors = f"Factors: {formats.listing(experiment.factors)}. " if experiment.factors else ""
    first = f"{factors}{ended}{failed}."
    found = [] if alone else chapter(experiment).findings(experiment)
    return [first, *found, *flagged, *experiment.energy.remarks]


def _contents(experiment: Experiment) -> Sequence[Shown]:
    if not len(experiment.runs):
        return [Omitted("all", "Results", "no run has finished yet.")]
    return chapter(experiment).contents(experiment)


def _embed(
    name: str, contents: Sequence[Shown], figures: Path, files: dict[str, str]
) -> list[Block]:
    """Draw the figures into files, those so far being `files`, and into the page."""
    blocks = []
    for content in contents:
        if isinstance(content, Picture):
            file = safe_name(f"{name}-{content.key}", files)
            picture = base64.b64encode(save(content.figure, figures, file)).decode("ascii")
            blocks.append(Block("picture", content, f"data:image/svg+xml;base64,{picture}"))
        elif content is not None:
            kind = "omitted" if isinstance(content, Omitted) else "table"
            blocks.append(Block(kind, content))
    return blocks
