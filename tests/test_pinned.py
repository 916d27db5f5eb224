"""What reports and commands say of finished studies is what they have always said.

The studies are in ``tests/data/studies``, and what is expected in ``tests/data/golden``. Where a
change is meant, ``pytest tests/test_pinned.py --update-golden`` writes it anew.
"""

import csv
import hashlib
import io
import json
import math
import re
import shutil
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from joulelab import Study
from pinned import words_of_page

STUDIES = Path(__file__).parent / "data" / "studies"
NAMES = sorted(path.name for path in STUDIES.iterdir())
TABLES = ("runs", "energy", "rounds", "ledger", "requests", "predictions")
PAGES = ("index.html", "claims.html", "paper.html")
SHIPPED = (
    "batching",
    "green-tuning",
    "quickstart",
    "timeline",
    "training-cost",
    "xu2023",
    "yarally2023-architecture",
    "yarally2023-batching",
    "yarally2023-tuning",
)


@pytest.fixture
def command(joulelab, unpictured):
    """Runs a command; nothing of a drawing is compared."""
    at_sigterm = signal.getsignal(signal.SIGTERM)
    yield joulelab
    signal.signal(signal.SIGTERM, at_sigterm)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A copy of every study, for a report is written into its folder."""
    copies = tmp_path_factory.mktemp("studies")
    shutil.copytree(STUDIES, copies, dirs_exist_ok=True)
    return copies


@pytest.fixture(scope="module")
def reports():
    """The JSON of reports that were written already, by name."""
    return {}


@pytest.fixture
def report(folders, reports, command):
    """Writes the report of a study, once; gives its JSON and its folder."""

    def write(name):
        if name not in reports:
            code, out, err = command("report", folders / name, "--json")
            assert code == 0, err
            reports[name] = as_json(out, folders)
        return reports[name], folders / name

    return write


def as_json(out, folder):
    """JSON of a command, paths within a folder without it."""
    return json.loads(out.replace(f"{folder}/", ""))


@pytest.mark.parametrize("name", NAMES)
def test_the_report_as_json(name, report, golden):
    found, _ = report(name)
    golden.check(name, "report", found)


@pytest.mark.parametrize("name", NAMES)
def test_the_words_of_the_pages(name, report, golden):
    _, folder = report(name)
    pages = {page: folder / "report" / page for page in PAGES}
    found = {
        page: words_of_page(path.read_text()) for page, path in pages.items() if path.is_file()
    }
    golden.check(name, "pages", found)


@pytest.mark.parametrize("name", NAMES)
def test_tables_and_numbers_in_latex(name, report, golden):
    _, folder = report(name)
    paper = folder / "report" / "paper"
    if not paper.is_dir():
        golden.check(name, "latex", None)
        return
    defined = re.findall(r"\\newcommand\{(\\\w+)\}\{(.*)\}", (paper / "numbers.tex").read_text())
    assert len(dict(defined)) == len(defined)
    tables = (paper / "tables.tex").read_text().splitlines()
    golden.check(name, "latex", {"numbers": dict(defined), "tables": tables})


@pytest.mark.parametrize("name", NAMES)
def test_status(name, folders, command, golden):
    code, out, _ = command("status", folders / name, "--json")
    golden.check(name, "status", [code, as_json(out, folders)])


@pytest.mark.parametrize("name", NAMES)
def test_every_table_as_csv(name, folders, command, golden):
    found = {}
    for table in TABLES:
        code, out, _ = command("export", folders / name, "--table", table)
        heading, *rows = csv.reader(io.StringIO(out))
        columns = zip(*rows, strict=True) if rows else [()] * len(heading)
        found[table] = {
            "exit code": code,
            "order": heading,
            "columns": {
                one: shortened([number(cell) for cell in column])
                for one, column in zip(heading, columns, strict=True)
            },
        }
    golden.check(name, "export", found)


def number(cell):
    """The number that a cell is, or its text."""
    try:
        return float(cell) if math.isfinite(float(cell)) else cell
    except ValueError:
        return cell


def shortened(column):
    """A column; of one that has everywhere the same, the value and how often."""
    same = len(column) > 1 and all(cell == column[0] for cell in column)
    return {"all": column[0], "rows": len(column)} if same else column


@pytest.mark.parametrize("name", NAMES)
def test_the_ledger_adds_up_to_the_energy_of_the_study(name, report, command):
    found, folder = report(name)
    rows = list(csv.DictReader(io.StringIO(command("export", folder, "--table", "ledger")[1])))
    booked_j = math.fsum(float(row["energy_gross_j"]) for row in rows if row["energy_gross_j"])
    status = json.loads(command("status", folder, "--json")[1])
    assert found["energy"]["gross_j"] == pytest.approx(booked_j, rel=1e-9)
    assert status["ledger_energy_gross_j"] == pytest.approx(booked_j, rel=1e-9)
    trainings = {row["kind"] for row in rows if row["runs"] not in ("", "[]", "0")}
    assert trainings <= {"training", "serving"}


@pytest.mark.parametrize(
    ("one", "other"),
    [("tuning", "troubled"), ("architecture", "instruments"), ("version-1", "version-2")],
)
def test_two_studies_compared(one, other, folders, command, golden):
    code, out, _ = command("compare", folders / one, folders / other, "--json")
    golden.check("compare", f"{one} {other}", [code, as_json(out, folders)])


def test_several_studies_together(folders, tmp_path, command, golden):
    both = [folders / "troubled", folders / "instruments"]
    code, out, _ = command("report", *both, "--out", tmp_path, "--json")
    numbers = dict(
        re.findall(
            r"\\newcommand\{(\\\w+)\}\{(.*)\}", (tmp_path / "paper" / "numbers.tex").read_text()
        )
    )
    found = json.loads(out.replace(f"{folders}/", "").replace(f"{tmp_path}/", ""))
    words = words_of_page((tmp_path / "paper.html").read_text())
    golden.check("together", "report", [code, found, numbers, words])


def test_places_instruments_traces_and_an_untimed_plan(folders, command, golden):
    trace = min((folders / "tuning" / "traces").iterdir())
    lines = {
        "places": ("places", folders / "training-cost", "--place", "FRA", "--place", "USA/oregon"),
        "places of two": (
            *("places", folders / "tuning", "--place", "NLD"),
            *("--place", "0.139 kg/kWh", "--by", "strategy"),
        ),
        "instruments": ("instruments", folders / "instruments"),
        "trace": ("trace", trace),
        "plan": (
            *("plan", folders / "architecture", "--untimed"),
            *("--from", folders / "architecture", "--device", "Some Processor"),
        ),
    }
    for what, line in lines.items():
        code, out, err = command(*line, "--json")
        assert out, err
        golden.check("other commands", what, [code, as_json(out, folders)])


def test_what_there_is(command, golden):
    found = json.loads(command("list", "--json")[1])
    names = {"schema_version": found.pop("schema_version")}
    for kind, parts in found.items():
        # Tests that ran before in this process may have registered parts of their own.
        own = [part for part in parts if part["origin"] == "joulelab"]
        assert all(part["summary"] for part in own)
        names[kind] = {part["name"]: part["origin"] for part in own}
    golden.check("shipped", "parts", names)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_plan_of_a_shipped_study(name, golden):
    study = Study.load(name)
    golden.check("shipped", name, {"study": study.spec.to_dict(), "plan": laid_out(study)})


@pytest.mark.parametrize("name", SHIPPED)
def test_a_miniature_of_a_shipped_study(name, golden):
    whole = Study.load(name).spec.to_dict()
    found = {}
    for scale in (0.3, 0.01):
        study = Study.load(name, scale=scale)
        thinned = flat(study.spec.to_dict())
        changed = {key: value for key, value in thinned.items() if flat(whole).get(key) != value}
        found[str(scale)] = {
            "changed": changed,
            "gone": sorted(flat(whole).keys() - thinned.keys()),
            "plan": laid_out(study),
        }
    golden.check("miniatures", name, found)


def laid_out(study):
    """Runs of a plan: how many, the first, and a digest of ids, blocks, seeds and their order."""
    runs = study.plan().runs
    lines = [f"{one.run_id} {one.position} {one.block} {one.seed}" for one in runs]
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return {"runs": len(runs), "first": lines[:3], "last": lines[-1], "sha256": digest}


def flat(value, path=""):
    """Nested tables as one, keys with dots."""
    if not isinstance(value, dict):
        return {path: value}
    return {
        key: one
        for name, inner in value.items()
        for key, one in flat(inner, f"{path}.{name}" if path else name).items()
    }


LINES = (
    "",
    "--help",
    "--version",
    "nonsense",
    "--nonsense",
    "list",
    "list --json",
    "list --nonsense",
    "list --plugin nowhere.py",
    "plan",
    "plan nonsense",
    "plan quickstart --set epochs=many",
    "plan quickstart --set nonsense=1",
    "plan quickstart --set epochs",
    "plan quickstart --scale 7",
    "plan quickstart --device H200",
    "plan quickstart --untimed --from nowhere",
    "plan {tuning} --untimed --from {tuning} --device Nonsense --json",
    "run nonsense",
    "run {version-1} --set epochs=2",
    "run {timeline} --json",
    "run {timeline} --set threads=2",
    "run {timeline} --out {architecture}",
    "run {troubled}",
    "run {troubled} --json",
    "run {empty}",
    "status {timeline}",
    "status {timeline} --json",
    "status {troubled}",
    "status {unfinished}",
    "status {version-1}",
    "status {empty}",
    "status nowhere",
    "status",
    "report {version-1}",
    "report {empty}",
    "report",
    "export {version-1}",
    "export {version-1} --format parquet --out {out}.parquet",
    "export {version-1} --format json",
    "export {version-1} --table nonsense",
    "export {version-1} --table requests",
    "export {batching} --table requests",
    "export {damaged}",
    "export {empty}",
    "compare {version-1} {version-2}",
    "compare {version-1} {version-2} --json",
    "compare {version-1}",
    "compare {version-1} {empty}",
    "places {training-cost}",
    "places {training-cost} --place NLD",
    "places {training-cost} --place NLD --json",
    "places {training-cost} --place Nowhereland",
    "places {training-cost} --place NLD --by nonsense",
    "places {training-cost} --place NLD --pue 0.5",
    "places {training-cost} --place NLD --within 3h",
    "instruments {instruments}",
    "instruments {instruments} --json",
    "instruments {version-1}",
    "instruments {empty}",
    "trace {trace}",
    "trace {trace} --json",
    "trace nowhere.parquet",
    "analyze tuning nowhere.csv",
    "analyze architecture {runs} --energy energy_gross_j --json",
    "replicate nonsense",
    "replicate",
    "import nonsense",
    "predict",
    "predict step nowhere.csv",
    "measure",
    "measure -- nonsense-command",
    "record --nonsense",
    "watch --nonsense",
    "load",
    "batch nonsense",
)


def test_exit_codes_and_streams(folders, tmp_path, command, monkeypatch, golden):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    shutil.copytree(STUDIES / "architecture", tmp_path / "damaged")
    damage(tmp_path / "damaged" / "runs.sqlite")
    places = {name: folders / name for name in NAMES}
    places |= {name: tmp_path / name for name in ("empty", "damaged", "out")}
    places["trace"] = min((STUDIES / "tuning" / "traces").iterdir())
    command("export", folders / "architecture", "--out", tmp_path / "runs.csv")
    places["runs"] = tmp_path / "runs.csv"
    found = {}
    for line in LINES:
        code, out, err = command(*line.format(**places).split())
        said = {"exit code": code, "stdout": bool(out), "stderr": bool(err)}
        if out.startswith("{"):
            said["json"] = sorted(json.loads(out))
            said["schema_version"] = json.loads(out).get("schema_version")
        if err.startswith("error: "):
            said["lines of error"] = len(err.splitlines())
        found[f"joulelab {line}"] = said
    golden.check("command lines", "all", found)


def damage(database):
    """Make a row unreadable."""
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("UPDATE runs SET factors = '{' WHERE position = 1")
        connection.commit()
