import base64
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from reported_study import drawn, ledger_of, readings_of

from joulelab.cli.output import show
from joulelab.errors import StoreWriteError
from joulelab.present import Figure, latex, shown, terminal
from joulelab.report.kinds import report_of
from joulelab.report.ledger import ReportedStudy
from joulelab.report.pages import (
    MOST_LINES,
    STUDY,
    brief_view,
    report_data,
    study_view,
    write_report,
)
from joulelab.report.prediction import PREDICTION
from joulelab.study.results import Results


class Page(HTMLParser):
    """What a reader, and what a browser, finds on the page."""

    def __init__(self, html):
        super().__init__()
        self.html, self.words, self.loads, self.images, self.open = html, [], [], [], []
        self.ids, self.headings, self.tables, self.skip = [], [], [], 0
        self.feed(html)
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.skip += tag == "style"
        self.loads += [attrs[k] for k in ("src", "href", "srcset", "data") if k in attrs]
        self.ids += [attrs["id"]] if "id" in attrs else []
        if tag == "img":
            self.images.append(attrs)
        if tag == "th":
            assert attrs["scope"] in {"col", "row"}
        if tag == "table":
            self.tables.append("")

    def handle_endtag(self, tag):
        self.skip -= tag == "style"

    def handle_data(self, data):
        if not self.skip:
            self.words.append(data)


@pytest.fixture(scope="module")
def page(illustrated_study):
    """The page of a study that nothing is wrong with, with its figures."""
    found = Page((illustrated_study / "index.html").read_text("utf-8"))
    found.folder = illustrated_study
    return found


@pytest.fixture(scope="module")
def reported(published):
    """The published study; not to be changed."""
    return ReportedStudy(published)


@pytest.fixture
def written(unpictured):
    """Writes all pages without their figures."""
    return lambda study: Page(write_report(ReportedStudy(study)).read_text("utf-8"))


@pytest.fixture
def alone(unpictured, monkeypatch):
    """Writes the page of a study without its figures, and not the pages beside it."""
    monkeypatch.setattr("joulelab.report.pages.side_pages", lambda _: {})
    return lambda study: Page(write_report(ReportedStudy(study)).read_text("utf-8"))


@pytest.fixture
def layers(study):
    """The study with one experiment, half the page."""
    study.runs = study.runs[study.runs["experiment"] == "layers"].reset_index(drop=True)
    study.readings, study.ledger = readings_of(study.runs), ledger_of(study.runs)
    study.by_experiment = {"layers": study.by_experiment["layers"]}
    return study


def test_the_page_is_one_file_that_loads_nothing(page):
    assert page.images
    for address in page.loads:
        pages = {"claims.html", "paper.html"}
        assert address.startswith(("data:image/svg+xml;base64,", "#")) or address in pages
    assert "<script" not in page.html
    assert "@import" not in page.html
    assert "url(" not in page.html
    assert not re.search(r"https?://", page.html)


def test_the_figures_within_are_whole_and_load_nothing_either(page):
    for image in page.images:
        svg = base64.b64decode(image["src"].partition(",")[2]).decode("utf-8")
        assert svg.rstrip().endswith("</svg>")
        assert not re.search(r'(xlink:)?href="(?!#|data:)', svg)


def test_every_figure_says_in_words_what_it_shows_and_lies_beside_the_page(page):
    assert all(len(image["alt"]) > 20 for image in page.images)
    folder = page.folder / "figures"
    assert len(list(folder.glob("*.svg"))) == len(list(folder.glob("*.pdf"))) == len(page.images)
    assert {"tuning-convergence.svg", "layers-trade-off.pdf", "study-ledger.svg"} <= {
        path.name for path in folder.iterdir()
    }


def test_ids_are_unique_and_links_within_the_page_lead_somewhere(page):
    assert len(page.ids) == len(set(page.ids))
    assert {a[1:] for a in page.loads if a.startswith("#")} <= set(page.ids)


def test_names_from_the_study_are_escaped(page):
    assert "a &lt;small&gt; study" in page.html
    assert "Some Processor &lt;7&gt;" in page.html


def test_the_published_numbers_stand_on_the_page(reported, unpictured):
    text = Page(write_report(reported).read_text("utf-8")).text
    for number in ("1,674 J", "857 J", "0.872", "0.864", "0.889", "0.887", "0.011", "0.010"):
        assert number in text
    for number in ("481.799", "2,303.250", "176.545", "0.157", "0.750", "0.057"):
        assert number in text
    for number in ("0.155", "0.749", "0.055", "η², k = 8"):
        assert number in text
    for number in ("+95.3 %", "+4.9 %", "+2.7 %"):
        assert number in text
    assert (
        "conv_layers explains most of the measured energy (η² = 0.750 with the other factors held "
        "fixed, large; 0.750 of all runs)" in text
    )
    assert "4 instead of 1 means +95.3 % energy and +0.7 points of mean accuracy" in text
    assert "bayesian found the best accuracy in 5 of 6 settings, random in 1" in text
    assert "mean 0.73 %, maximum 1.21 %" in text


def test_energy_is_called_estimated_wherever_it_is(page):
    text = page.text
    assert "explains most of the estimated energy" in text
    assert re.search(r"The study used [\d,]+ J ± [\d,]+ J gross \(estimated\)", text)
    assert "measured energy" not in text
    assert "cpu:0 estimated estimate, error up to ± 40 % processor time" in text
    assert "processor time x 65 W of the table" in text


def test_what_could_not_be_read_is_said_with_the_remedy(page):
    text = page.text
    assert "gpu no NVIDIA driver install the driver" in text


def test_conditions_and_the_command_to_reproduce_are_on_the_page(page):
    text = page.text
    for words in ("c0ffee" * 8, "torch 2.11.0", "0123456789ab", "2 epochs, batches of 64", "7;"):
        assert words in text
    assert "joulelab run study.toml --out" in text
    assert "cpu:0: 11.2 W before and 11.4 W after the runs" in text


def test_the_engine_that_was_asked_for_is_among_the_conditions_before_anything_is_known(page):
    assert "Engine reference, fp32" in page.text


def test_engine_precision_and_groups_are_on_the_page(study, alone):
    study.runs = study.runs.assign(engine="fast", precision="bf16", group_size=4)
    text = alone(study).text
    assert "Engine fast, bf16: 72 runs, 4 at a time" in text
    assert text.count("equal by construction") == 2, "once in each experiment"
    assert "must not be compared" not in text


def test_an_experiment_of_several_engines_warns_and_the_others_do_not(study, alone):
    study.runs = study.runs.assign(engine="fast", precision="fp32", group_size=1)
    study.runs.loc[study.runs["experiment"] == "layers", "engine"] = "reference"
    study.runs.loc[study.runs.index[-1], "engine"] = "fast"
    remark = "the fast engine cannot train SimpleCNN (Dropout is not supported)"
    study.manifest = {**study.manifest, "engines": {"remark": remark}}
    text = alone(study).text
    warning = "(reference, fp32: 47 runs; fast, fp32: 1 run): their energies must not be compared"
    assert text.count("must not be compared") == 1
    assert warning in text
    assert remark in text
    assert "equal by construction" not in text
    data = report_data(ReportedStudy(study))["experiments"]
    assert any("must not be compared" in one for one in data["layers"]["remarks"])
    assert not data["tuning"]["remarks"]


def test_a_finished_study_is_not_called_unfinished(page):
    assert "not finished" not in page.text


def test_a_partly_finished_study_says_so_at_the_top(study, alone):
    study.runs.loc[study.runs.index[40:], "state"] = "planned"
    for column in ("accuracy", "energy_gross_j", "energy_net_j", "energy_idle_j"):
        study.runs.loc[study.runs.index[40:], column] = np.nan
    study.ledger = ledger_of(study.runs)
    text = alone(study).text
    assert "This study is not finished: 40 of 72 runs have ended" in text
    assert text.index("not finished") < text.index("How the energy was read")
    assert "16 of 48 runs finished" in text


def test_a_study_that_has_not_begun_has_a_report(study, written):
    study.runs = study.runs.iloc[:0]
    study.readings, study.ledger = study.readings.iloc[:0], study.ledger.iloc[:0]
    text = written(study).text
    assert "has not begun" in text
    assert "no run has finished yet" in text


def test_planned_runs_alone_make_no_empty_table(study, written):
    study.runs["state"] = "planned"
    empty = ["accuracy", "energy_gross_j", "energy_net_j", "energy_status"]
    study.runs[empty] = np.nan
    study.readings, study.ledger = study.readings.iloc[:0], study.ledger.iloc[:0]
    page = written(study)
    assert "0 of 72 runs have ended" in page.text
    assert "<tbody>\n</tbody>" not in page.html


def test_without_any_energy_the_reason_is_given_and_accuracies_stand(study, written):
    study.runs[["energy_gross_j", "energy_net_j", "energy_idle_j", "energy_error_j"]] = np.nan
    study.runs["energy_status"] = "missing"
    study.readings = readings_of(study.runs).assign(reason="no sensor and no estimate")
    study.ledger = ledger_of(study.runs).assign(energy_gross_j=np.nan, energy_status="missing")
    page = written(study)
    assert "No energy is known: cpu:0: no sensor and no estimate." in page.text
    left_out = "Energy of each configuration; Assumptions, before any test;"
    assert page.text.count(left_out) == 2, "once in each experiment"
    assert page.text.count("and 12 more are left out: No energy is known") == 2
    assert "Optimum accuracy and round of each strategy" in page.text
    assert "The energy of the study is unknown" in page.text
    assert "0.00 J" not in page.text


def test_runs_without_energy_are_counted_and_said(layers, alone):
    layers.runs.loc[:2, ["energy_gross_j", "energy_net_j"]] = np.nan
    layers.runs.loc[:2, "energy_status"] = "missing"
    text = alone(layers).text
    assert "3 finished runs of 48 without a figure of energy are left out" in text


def test_without_idle_power_energies_are_gross_and_said_to_be(layers, alone):
    layers.runs[["energy_net_j", "energy_idle_j"]] = np.nan
    layers.manifest = {**layers.manifest, "sessions": []}
    text = alone(layers).text
    assert "so the energies here are gross" in text
    assert "Mean gross energy of a training" in text
    assert "Idle power is unknown" in text


def test_measured_and_estimated_together_are_partly_estimated(layers, alone):
    layers.runs.loc[layers.runs.index[::2], "energy_status"] = "measured"
    assert "the partly estimated energy" in alone(layers).text


def test_a_single_run_a_configuration_leaves_the_variation_out(tmp_path, written):
    text = written(drawn(tmp_path, rounds=1, repetitions=1)).text
    assert "Variation of energy within a configuration is left out" in text
    assert "fewer than two values" in text


def test_failed_and_diverged_runs_are_listed(layers, alone):
    layers.runs.loc[0, ["state", "error"]] = ["failed", "CUDA out of memory"]
    layers.runs.loc[0, ["accuracy", "energy_net_j"]] = np.nan
    layers.runs.loc[5, "diverged"] = True
    layers.ledger = ledger_of(layers.runs)
    text = alone(layers).text
    assert "Failed runs (1)" in text
    assert "CUDA out of memory" in text
    assert "Diverged runs (1)" in text
    assert "1 run diverged; their energy and accuracy are included" in text
    assert "what failed or was interrupted used" in text


def test_a_report_replaces_the_old_one_and_leaves_nothing_else(study, written):
    page = study.folder / "report" / "index.html"
    page.parent.mkdir()
    page.write_text("old")
    assert written(study).html != "old"
    pages = {"index.html", "claims.html", "claims.md", "paper.html", "paper.md"}
    assert {path.name for path in page.parent.iterdir()} == {*pages, "figures", "paper", "tables"}


def test_a_folder_that_cannot_be_written_is_said(study):
    (study.folder / "report").write_text("in the way")
    with pytest.raises(StoreWriteError, match="cannot be written"):
        write_report(ReportedStudy(study))


def test_a_manifest_that_was_never_written_is_no_obstacle(layers, alone):
    layers.manifest = {}
    assert "How the energy was read" in alone(layers).text


def test_the_data_are_plain_json_with_the_unrounded_numbers(reported):
    data = json.loads(json.dumps(report_data(reported), allow_nan=False))
    assert data["schema_version"] == 1
    assert data["finished"] is True
    tables = data["experiments"]["layers"]["tables"]
    effects = {row["factor"]: row for row in tables["kruskal"]["rows"]}
    assert effects["conv_layers"]["eta_squared"] == pytest.approx(0.7498, abs=5e-4)
    assert effects["linear_layers"]["eta_squared_as_published"] == pytest.approx(0.155, abs=5e-4)
    high, low = tables["clusters"]["rows"]
    assert (high["cluster"], high["level"]) == ("E+", 4)
    assert high["energy_mean_j"] == pytest.approx(1674, abs=0.5)
    assert low["energy_mean_j"] == pytest.approx(857, abs=0.5)
    optima = data["experiments"]["tuning"]["tables"]["optima"]["rows"]
    assert len(optima) == 18


def test_the_data_of_an_unfinished_study_say_what_is_left_out(study):
    study.runs["state"] = "planned"
    data = report_data(ReportedStudy(study))
    assert data["finished"] is False
    assert data["experiments"]["layers"]["tables"]["kruskal"]["omitted"]
    json.dumps(data)


def lines_of(study, capsys, monkeypatch):
    """What a run ends with, as a terminal of 80 columns has it."""
    monkeypatch.setenv("COLUMNS", "80")
    show(brief_view(study), as_json=False)
    return capsys.readouterr().out.splitlines()


def test_a_run_ends_with_one_screen_answer_first(study, capsys, monkeypatch):
    lines = lines_of(ReportedStudy(study), capsys, monkeypatch)
    assert len(lines) < MOST_LINES == 20, "the last line says where the report is"
    assert max(map(len, lines)) <= 80
    assert re.match(r"In tuning, \w+ found the best accuracy", lines[0])
    text = " ".join(" ".join(lines).split())
    assert re.search(r"The study used [\d,]+ J", text)
    assert "Optimum accuracy and round of each strategy (Table III)" in text


def test_the_table_at_the_end_of_a_run_is_cut_and_says_so(reported, capsys, monkeypatch):
    lines = lines_of(reported, capsys, monkeypatch)
    assert len(lines) <= MOST_LINES
    assert re.search(r"and \d+ more rows$", lines[-1])


def test_tables_and_figures_of_an_earlier_report_go_and_other_files_stay(layers, alone):
    tables, figures = (layers.folder / "report" / name for name in ("tables", "figures"))
    gone = {tables / "layers-gone.tex", figures / "layers-gone.svg"}
    gone |= {figures / "layers-trade-off.png"}
    kept = {tables / "mine.tex", figures / "mine.pdf", figures / "layers-notes.txt"}
    for file in gone | kept:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"old")
    (tables / "layers-gone.tex").write_text(f"{latex.HEADER}\n\ngone")
    alone(layers)
    found = {*tables.iterdir(), *figures.iterdir()}
    assert kept < found
    assert not gone & found
    assert all(file.read_bytes() == b"old" for file in kept)
    assert all(file.read_bytes() != b"old" for file in found - kept)


@pytest.mark.parametrize("columns", [40, 58])
def test_a_narrow_terminal_also_has_the_end_of_a_run_on_one_screen(
    reported, capsys, monkeypatch, columns
):
    monkeypatch.setenv("COLUMNS", str(columns))
    show(brief_view(reported), as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < MOST_LINES
    assert "The study used" in " ".join(lines)


def test_an_unfinished_study_says_so_at_the_end_of_a_run(study, capsys, monkeypatch):
    study.runs.loc[study.runs.index[30:], "state"] = "planned"
    study.ledger = ledger_of(study.runs)
    lines = lines_of(ReportedStudy(study), capsys, monkeypatch)
    assert "not finished: 30 of 72 runs" in " ".join(lines)
    assert len(lines) <= MOST_LINES


def text_of(study):
    """The report as plain text, in one line."""
    return " ".join(terminal.to_text(*study_view(study).parts).split())


def test_the_report_as_text_has_tables_claims_and_the_total_with_its_status(reported):
    text = text_of(reported)
    for words in ("Table III", "Table IV", "Table V", "1,674 J", "857 J", "0.750", "+95.3 %"):
        assert words in text
    assert "gross (measured)" in text
    assert "Claims, layers (architecture) on digits" in text
    assert "A smaller network takes half the energy. holds" in text
    assert "cannot be decided with n = 6 configurations" in text


def test_a_reason_that_holds_for_every_table_is_said_once(study):
    study.runs[["energy_gross_j", "energy_net_j"]] = np.nan
    text = text_of(ReportedStudy(study))
    assert text.count("left out: No energy is known") == 2, "once for each experiment"
    assert "0 J" not in text.replace("30.0 J", "")


def test_nothing_is_made_up_of_a_study_without_a_finished_run(study):
    study.runs["state"] = "planned"
    text = text_of(ReportedStudy(study))
    assert text.count("No run has finished yet") == 2
    assert "No energy is known" not in text


@pytest.mark.parametrize(
    "name", ["tuning", "architecture", "batching", "timeline", "training-cost"]
)
def test_every_figure_of_a_finished_study_can_be_drawn(name, finished_study, request):
    if name in {"tuning", "architecture"}:
        request.getfixturevalue("undrawn")  # the page above has them, as they are laid out
    study = ReportedStudy(Results.open(finished_study(name)))
    made = shown([*STUDY, *PREDICTION], study)
    for one in study.experiments:
        made += shown(report_of(one).contents, one)
    figures = [one for one in made if isinstance(one, Figure)]
    assert len(figures) >= 2
    assert all(one.draw(one.drawn_for).axes for one in figures)
