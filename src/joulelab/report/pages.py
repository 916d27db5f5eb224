"""The report in files: pages, their figures, and tables for a paper.

::

    index.html                       the report of a study
    figures/*.svg  *.pdf             its figures
    tables/*.tex                     its tables as LaTeX
    paper.html    paper.md           tables and figures of the paper
    claims.html   claims.md          what these data say of the paper's findings
    paper/tables.tex  numbers.tex    Tables I to V, made of a macro for every number
    paper/figure-3.pdf  .svg  ...    at publication size

Every page is self-contained. An old page is replaced once the new one is complete.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pandas as pd

from joulelab import formats
from joulelab.files import write_whole
from joulelab.present import (
    Facts,
    Figure,
    Omitted,
    Part,
    Remark,
    Section,
    Table,
    Unavailable,
    View,
    html,
    shown,
    terminal,
)
from joulelab.present.data import SCHEMA_VERSION, tables_data
from joulelab.report import claims, conditions
from joulelab.report.claims import Scope, scopes
from joulelab.report.experiment import Experiment
from joulelab.report.instruments.section import INSTRUMENTS
from joulelab.report.kinds import general_remark, report_of
from joulelab.report.ledger import (
    ReportedStudy,
    diverged_runs,
    energy_by_domain,
    failed_runs,
    ledger_bars,
    ledger_by_work,
    runs_by_state,
    study_finding,
)
from joulelab.report.machines import machines
from joulelab.report.paper_pages import CLAIMS
from joulelab.report.prediction import PREDICTION, prediction_finding
from joulelab.report.report import Heading, SidePage
from joulelab.report.writing import (
    check_no_links,
    drawer,
    remove_old_figures,
    write_tables,
    writing,
)

STUDY = (ledger_bars, ledger_by_work, energy_by_domain, runs_by_state, failed_runs, diverged_runs)
"""Tables and figures of the study as a whole."""
MOST_SAID = 3
"""Most findings at the end of a run."""
MOST_LINES, LEAST_ROWS = 20, 2
"""At the end of a run: most lines in all, with that of the path, and fewest rows of its table."""
MOST_TITLES = 4
"""Most titles named of what is left out for one reason; the others are counted."""
REPRODUCE = (
    "`study.toml` in the results folder holds every setting: "
    "`joulelab run study.toml --out again`, with `--data-dir FOLDER` if the data are elsewhere. "
    "The same seeds give the same plan and, on the same data and processor, the same accuracies "
    "and other seeded results; energy varies from run to run. Every number here is in "
    "`joulelab report DIR --json`, every run in `joulelab export DIR --format csv`."
)


def write_report(study: ReportedStudy) -> Path:
    """Write the report of a study into ``report/``; finished or not, a study has one.

    Args:
        study: unchanged.

    Returns:
        The page.

    Raises:
        StoreWriteError: the folder cannot be written.
    """
    folder = study.results.folder / "report"
    check_no_links(folder)
    pages = side_pages(study.experiments)
    with writing(folder):
        links = tuple((page.label, page.file) for page in pages)
        heading = Heading(study.name, conditions.remarks(study), (("Report", "index.html"), *links))
        for page, on in pages.items():
            page.write(on, heading, folder)
        return write_whole(folder / "index.html", _study_page(study, links, folder))


def write_side_pages(
    name: str, experiments: Sequence[Experiment], folder: Path, remarks: Sequence[str] = ()
) -> Path | None:
    """Write only the pages beside the report, for several studies or an imported table.

    The pages name the experiments that have none of them.

    Args:
        name: heading of the pages.
        experiments: of all studies.
        folder: output folder.
        remarks: what to know before reading, in sentences.

    Returns:
        The last page, with the tables and figures of the paper; ``None`` if no experiment has one.

    Raises:
        StoreWriteError: the folder cannot be written.
    """
    pages = side_pages(experiments)
    if not pages:
        return None
    links = tuple((page.label, page.file) for page in pages)
    remarks = (*remarks, *not_joint(experiments))
    with writing(folder):
        written = [
            page.write(on, Heading(name, remarks, links), folder) for page, on in pages.items()
        ]
    return written[-1]


def side_pages(experiments: Sequence[Experiment]) -> dict[SidePage, list[Experiment]]:
    """The pages beside the report, each with its experiments."""
    found: dict[SidePage, list[Experiment]] = {}
    for one in experiments:
        for page in report_of(one).side_pages:
            if page.concerns(one):
                found.setdefault(page, []).append(one)
    return found


def not_joint(experiments: Sequence[Experiment]) -> list[str]:
    """A sentence that names the experiments on no page beside the report, if any."""
    on = {id(one) for those in side_pages(experiments).values() for one in those}
    names = [one.title for one in experiments if id(one) not in on]
    if not names:
        return []
    verb, its = ("is", "its") if len(names) == 1 else ("are", "their")
    return [
        f"{formats.listing(names)} {verb} not on the joint page, only in the report of {its} study."
    ]


def claimed(experiments: Sequence[Experiment]) -> list[Scope]:
    """The paper's findings tested on the experiments whose kinds have the claims page."""
    return scopes([one for one in experiments if CLAIMS in report_of(one).side_pages])


def report_data(study: ReportedStudy) -> dict[str, Any]:
    """The numbers of the report as plain data."""
    energy = study.energy
    return {
        "schema_version": SCHEMA_VERSION,
        "study": study.results.spec.get("name"),
        "finished": not conditions.progress(study.runs),
        "findings": study_findings(study),
        "claims": claims.data(claimed(study.experiments)),
        "scale": study.results.spec.get("miniature", {}).get("scale", 1.0),
        "energy": {
            "gross_j": energy.gross_j,
            "error_j": energy.error_j,
            "status": energy.status,
            "duration_s": energy.duration_s,
            "entries_without_energy": energy.unknown,
        },
        "study_tables": tables_data(study_tables(study)),
        "experiments": {
            one.name: {
                "kind": one.kind,
                "factors": list(one.factors),
                "planned": one.planned,
                "finished": len(one.runs),
                "failed": one.failed,
                "energy_column": one.energy.column,
                "energy_status": one.energy.status,
                "remarks": [
                    *filter(None, [general_remark(one, conditions.plugins(study.results))]),
                    *one.energy.remarks,
                ],
                "tables": report_of(one).data(one),
            }
            for one in study.experiments
        },
    }


def study_tables(study: ReportedStudy) -> list[Table | Omitted]:
    """The tables of the study as a whole, of its instruments and of its prediction."""
    made = shown([*STUDY, *INSTRUMENTS, *PREDICTION], study)
    return [one for one in made if not isinstance(one, Figure)]


def study_findings(study: ReportedStudy) -> list[str]:
    """Sentences on the whole study, the most important first."""
    said = [sentence for one in study.experiments for sentence in report_of(one).says(one)]
    try:
        predicted = [prediction_finding(study)]
    except Unavailable:
        predicted = []
    return [*said, study_finding(study), *predicted]


def study_view(study: ReportedStudy) -> View:
    """The report for a terminal: findings, every table, the energy of the study."""
    parts: list[Part] = [*study_findings(study), *map(Remark, conditions.remarks(study))]
    for one in study.experiments:
        parts.append(
            Section(one.title, [*map(Remark, one.energy.remarks), *experiment_tables(one)])
        )
    parts += map(claims.overview, claimed(study.experiments))
    parts.append(Section("The study as a whole", study_tables(study)))
    return View(parts)


def experiment_tables(experiment: Experiment) -> list[Part]:
    """The tables of an experiment; those left out for the same reason are named together."""
    report = report_of(experiment)
    if not len(experiment.runs):
        return ["No run has finished yet.", *report.progress(experiment)]
    made = [*report.progress(experiment), *_machines(experiment), *report.tables(experiment)]
    return _joined(made)


def _machines(experiment: Experiment) -> list[Table]:
    """The table of machines, where there are several kinds."""
    found = machines.shown(experiment)
    return [found] if isinstance(found, Table) else []


def brief_view(study: ReportedStudy) -> View:
    """The end of a run, on one screen: findings, cost, and one table if it fits."""
    *found, cost = _answer(study)
    rest: list[Part] = [cost, *map(Remark, conditions.remarks(study))]
    table = next((one for one in map(_lead_table, study.experiments) if one is not None), None)
    if table is None:
        return View([*found, *rest])
    while len(found) > 1 and not _fits([*found, *rest, _cut(table, LEAST_ROWS)]):
        found.pop()
    most = min(len(_shown(table)), MOST_LINES)
    for rows in range(max(most, LEAST_ROWS), LEAST_ROWS - 1, -1):
        if _fits(parts := [*found, *rest, _cut(table, rows)]):
            return View(parts)
    return View([*found, *rest])


def _fits(parts: Sequence[Part]) -> bool:
    """Whether parts fit at the end of a run, above the path of the page."""
    return terminal.height(parts) < MOST_LINES


def _lead_table(experiment: Experiment) -> Table | None:
    """The most important table, if available."""
    return next((one for one in _lead(experiment) if isinstance(one, Table)), None)


def _answer(study: ReportedStudy) -> list[str]:
    """Three findings, taken from the experiments in turn, and the cost."""
    found = [report_of(one).says(one) for one in study.experiments]
    turns = [said for turn in zip_longest(*found) for said in turn if said]
    first = set(turns[:MOST_SAID])
    return [*(said for one in found for said in one if said in first), study_finding(study)]


def _lead(experiment: Experiment) -> list[Table | Figure | Omitted]:
    """The most important figure and table, if available."""
    if not len(experiment.runs):
        return []
    return shown(report_of(experiment).lead, experiment)


def _cut(table: Table, most: int) -> Table:
    """The first rows of a table, without its note, and how many more there are."""
    rows = _shown(table)
    more = len(rows) - most
    if more <= 0:
        return replace(table, note="")
    return replace(table, shown=rows.head(most), note=f"and {formats.count(more, 'more row')}")


def _shown(table: Table) -> pd.DataFrame:
    """The shown rows of a table."""
    return table.frame if table.shown is None else pd.DataFrame(table.shown)


def _joined(made: Sequence[Table | Figure | Omitted]) -> list[Part]:
    """The same, with all that is left out for one reason named at the place of the first."""
    titles: dict[str, list[str]] = {}
    for one in made:
        if isinstance(one, Omitted):
            titles.setdefault(one.reason, []).append(one.title)
    parts: list[Part] = []
    for one in made:
        if not isinstance(one, Omitted):
            parts.append(one)
        elif one.reason in titles:
            named = titles.pop(one.reason)
            more = len(named) - MOST_TITLES
            few = [*named[:MOST_TITLES], *([f"and {more} more"] if more > 0 else [])]
            parts.append(replace(one, title="; ".join(few), several=len(named) > 1))
    return parts


def _study_page(study: ReportedStudy, links: Sequence[tuple[str, str]], folder: Path) -> str:
    """The page of a study: the answer, one figure and one table, then everything."""
    draw = drawer(folder / "figures")
    lead: list[Part] = [*map(Remark, conditions.remarks(study))]
    first = next((one for one in study.experiments if len(one.runs)), None)
    if first is not None:
        lead += [_named(first.name, one) for one in _lead(first) if not isinstance(one, Omitted)]
    body: list[Part] = [_experiment_section(one, study, first) for one in study.experiments]
    if scopes_found := claimed(study.experiments):
        intro = "The claims page gives the test, effect size and interval for each."
        overview = [claims.overview(scope) for scope in scopes_found]
        body.append(Section("The paper's findings on these data", [intro, *overview]))
    whole = [_named("study", one) for one in shown([*STUDY, *INSTRUMENTS], study)]
    predicted = [_named("study", one) for one in shown(PREDICTION, study)]
    body += [
        Section("The study as a whole", whole),
        Section("How good the prediction was", predicted, folded=True),
        Section("How the energy was read", list(conditions.reading(study))),
        Section("Conditions", [Facts(conditions.conditions(study.results))]),
        Section("How to reproduce this", [REPRODUCE]),
    ]
    write_tables([*lead, *body], folder / "tables")
    page = html.page(
        study.name,
        body,
        draw=draw,
        summary=str(study.results.spec.get("summary", "")),
        answer=_answer(study),
        lead=lead,
        links=links,
    )
    names = ("study", *(one.name for one in study.experiments))
    remove_old_figures([*lead, *body], folder / "figures", names)
    return page


def _experiment_section(
    experiment: Experiment, study: ReportedStudy, leading: Experiment | None
) -> Section:
    """An experiment: its factors, its progress, its findings, tables and figures."""
    runs, report = experiment.runs, report_of(experiment)
    ended = f"{len(runs):,} of {formats.count(experiment.planned, 'run')} finished"
    failed = f", {experiment.failed:,} failed" if experiment.failed else ""
    factors = f"Factors: {formats.listing(experiment.factors)}. " if experiment.factors else ""
    parts: list[Part] = [f"{factors}{ended}{failed}."]
    above = set(_answer(study))
    parts += [said for said in report.says(experiment) if said not in above]
    if diverged := int(runs["diverged"].sum()) if len(runs) else 0:
        parts.append(
            f"{formats.count(diverged, 'run')} diverged; their energy and accuracy are included."
        )
    parts += experiment.energy.remarks
    parts += [_named(experiment.name, one) for one in report.progress(experiment)]
    parts += [_named(experiment.name, one) for one in _machines(experiment)]
    if not len(runs):
        parts.append(Omitted("all", "Results", "no run has finished yet."))
    else:
        # Omit what is shown at the top of the page.
        lead = report.lead if experiment is leading else ()
        there = [one for one in lead if not isinstance(one.shown(experiment), Omitted)]
        rest = [one for one in report.contents if one not in there]
        parts += [_named(experiment.name, one) for one in _joined(shown(rest, experiment))]
    return Section(f"Experiment {experiment.title}", parts)


def _named(name: str, part: Part) -> Part:
    """A table or figure with the name of its subject in its key, for its files."""
    if isinstance(part, Table | Figure):
        return replace(part, key=f"{name}-{part.key}")
    return part
