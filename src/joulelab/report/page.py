"""The page: one self-contained HTML file with every table and figure of a study."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from joulelab import formats
from joulelab.errors import StoreWriteError
from joulelab.report import conditions, pictures, tables
from joulelab.report.experiment import Experiment, experiments
from joulelab.report.findings import experiment_findings, findings
from joulelab.report.ledger import study_energy, study_tables
from joulelab.report.pictures import Picture
from joulelab.report.style import save
from joulelab.report.tables import Omitted, Table
from joulelab.study.results import Results

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Block:
    """A table, a figure or what is said in its place, as the template shows it."""

    kind: str
    content: Table | Picture | Omitted
    image: str = ""


def write_report(results: Results) -> Path:
    """Write ``report/index.html`` and the figures beside it; finished or not, a study has a report.

    Args:
        results: what the study has found so far.

    Returns:
        The page. The old one stands until the new one is whole.

    Raises:
        StoreWriteError: the folder cannot be written.
    """
    folder = results.folder / "report"
    try:
        (folder / "figures").mkdir(parents=True, exist_ok=True)
        html = _html(results, folder / "figures")
        fresh, page = folder / "index.html.new", folder / "index.html"
        fresh.write_text(html, encoding="utf-8")
        fresh.replace(page)
    except OSError as error:
        raise StoreWriteError(
            f"{error.filename or folder} cannot be written: {error.strerror or error}",
            "free space or mend the permissions, then run `joulelab report` on the folder again",
        ) from error
    return page


def report_data(results: Results) -> dict[str, Any]:
    """The numbers of the report as plain data.

    Args:
        results: what the study has found so far.
    """
    found = experiments(results)
    energy = study_energy(results.ledger_frame())
    return {
        "schema_version": SCHEMA_VERSION,
        "study": results.spec.get("name"),
        "finished": not conditions.progress(results.to_frame()),
        "findings": findings(found, energy),
        "energy": {
            "gross_j": energy.gross_j,
            "error_j": energy.error_j,
            "status": energy.status,
            "duration_s": energy.duration_s,
            "entries_without_energy": energy.unknown,
        },
        "study_tables": _plain(study_tables(results)),
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
                "tables": _plain(experiment_tables(one)),
            }
            for one in found
        },
    }


def experiment_tables(experiment: Experiment) -> list[Table | Omitted]:
    """Every table of an experiment, in the order of the report."""
    makers = [
        *([tables.optima] if tables.STRATEGY in experiment.factors else []),
        tables.effects,
        tables.increases,
        tables.cluster_table,
        tables.variations,
        tables.pairs,
    ]
    return [make(experiment) for make in makers]


def _plain(made: Sequence[Table | Omitted]) -> dict[str, Any]:
    return {
        one.key: {"title": one.title, "omitted": one.reason}
        if isinstance(one, Omitted)
        else {"title": one.title, "rows": json.loads(one.raw.to_json(orient="records"))}
        for one in made
    }


def _html(results: Results, figures: Path) -> str:
    runs, manifest = results.to_frame(), results.manifest
    found = experiments(results)
    energy = study_energy(results.ledger_frame())
    environment = Environment(
        loader=PackageLoader("joulelab.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        name=results.spec.get("name", results.folder.name),
        summary=results.spec.get("summary", ""),
        unfinished=conditions.progress(runs),
        findings=findings(found, energy),
        energy=energy,
        counted=conditions.counted(runs),
        channels=conditions.channels(manifest),
        missing=conditions.missing(manifest),
        idle=conditions.idle_power(manifest),
        sections=[(one, _lead(one), _blocks(one, figures)) for one in found],
        study_blocks=_embed(
            "study", [pictures.ledger_picture(energy), *study_tables(results)], figures
        ),
        conditions=conditions.conditions(results),
    )


def _lead(experiment: Experiment) -> list[str]:
    """What an experiment was, how far it is, and what to bear in mind."""
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
    return [first, *experiment_findings(experiment), *flagged, *experiment.energy.remarks]


def _blocks(experiment: Experiment, figures: Path) -> list[Block]:
    if not len(experiment.runs):
        return _embed(
            experiment.name, [Omitted("all", "Results", "no run has finished yet.")], figures
        )
    made = {one.key: one for one in experiment_tables(experiment)}
    search = [pictures.convergence_picture(experiment), made["optima"]] if "optima" in made else []
    if experiment.energy.column is None:
        said = Omitted("energy", "Everything about energy", experiment.energy.remarks[0])
        return _embed(experiment.name, [*search, said], figures)
    blocks = [
        *search,
        pictures.energy_picture(experiment),
        made["kruskal"],
        made["increase"],
        pictures.trade_off_picture(experiment),
        made["clusters"],
        pictures.variation_picture(experiment),
        made["variation"],
        pictures.quantile_picture(experiment),
        made["posthoc"],
    ]
    return _embed(experiment.name, blocks, figures)


def _embed(
    name: str, contents: Sequence[Table | Picture | Omitted | None], figures: Path
) -> list[Block]:
    """Draw the figures into files and into the page."""
    blocks = []
    for content in contents:
        if isinstance(content, Picture):
            file = re.sub(r"[^A-Za-z0-9.]+", "-", f"{name}-{content.key}")
            picture = base64.b64encode(save(content.figure, figures, file)).decode("ascii")
            blocks.append(Block("picture", content, f"data:image/svg+xml;base64,{picture}"))
        elif content is not None:
            kind = "omitted" if isinstance(content, Omitted) else "table"
            blocks.append(Block(kind, content))
    return blocks
