"""The pages of claims, tables and figures: whole, self-contained, and nothing unescaped."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from reported_study import drawn

from joulelab.report.experiment import experiments
from joulelab.report.ledger import ReportedStudy
from joulelab.report.pages import report_data, write_report, write_side_pages


class Page(HTMLParser):
    """Words, addresses and ids of a page."""

    def __init__(self, html):
        super().__init__()
        self.html, self.words, self.loads, self.ids = html, [], [], []
        self.rows, self.hidden = [], 0
        self.feed(html)
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.hidden += tag == "style"
        self.loads += [attrs[k] for k in ("src", "href", "srcset", "data") if k in attrs]
        self.ids += [attrs["id"]] if "id" in attrs else []
        if tag == "tr":
            self.rows.append(0)
        if tag in {"td", "th"}:
            self.rows[-1] += int(attrs.get("colspan", 1))

    def handle_endtag(self, tag):
        self.hidden -= tag == "style"

    def handle_data(self, data):
        if not self.hidden:
            self.words.append(data)


@pytest.fixture(scope="module")
def folder(illustrated_paper):
    """The report of a whole study, in which names hold what HTML would understand."""
    return illustrated_paper


@pytest.fixture(scope="module", params=["claims.html", "paper.html"])
def page(folder, request):
    return Page((folder / request.param).read_text("utf-8"))


def test_pages_load_nothing_from_elsewhere(page):
    names = {"index.html", "claims.html", "paper.html"}
    assert page.loads
    begins = ("data:image/svg+xml;base64,", "#")
    assert all(one.startswith(begins) or one in names for one in page.loads)
    assert "<script" not in page.html
    assert "url(" not in page.html
    assert not re.search(r"https?://", page.html)


def test_ids_are_unique(page):
    assert len(page.ids) == len(set(page.ids))


def test_links_lead_to_what_is_there(page, folder):
    for address in page.loads:
        if address.startswith("#"):
            assert address[1:] in page.ids
        else:
            assert address.startswith("data:") or (folder / address).is_file()


def test_names_are_escaped(folder):
    html = (folder / "paper.html").read_text("utf-8")
    assert "<b>CNN" not in html
    assert "&lt;b&gt;CNN&lt;/b&gt; &amp; co" in html
    assert "<i>" not in (folder / "index.html").read_text("utf-8")


def test_every_table_and_figure_of_the_paper_is_on_the_page_or_its_absence_is_said(folder):
    text = Page((folder / "paper.html").read_text("utf-8")).text
    for number in ("I", "II", "III", "IV", "V"):
        assert f"Table {number}." in text
    for number in (7, 8, 9):
        assert f"Figure {number}." in text
    assert "As Figures 3 to 6. Convergence on digits, 3 hyperparameters" in text


def test_every_claim_is_on_its_page_with_rule_source_and_evidence(folder):
    text = Page((folder / "claims.html").read_text("utf-8")).text
    for words in ("Bayesian search reaches the best accuracy.", "returns diminish"):
        assert words in text
    assert text.count("Rule") == text.count("Source") == text.count("Evidence") == 7
    assert "n = 8 configurations" in text


def test_figures_are_written_as_pdf_and_svg(folder):
    for name in ("figure-9", "convergence-digits-3"):
        assert (folder / "paper" / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        assert b"</svg>" in (folder / "paper" / f"{name}.svg").read_bytes()


def test_markdown_says_the_same(folder):
    text = (folder / "paper.md").read_text("utf-8")
    assert text.startswith("# trial: tables and figures of the paper\n")
    for number in ("I", "II", "III", "IV", "V"):
        assert f"**Table {number}. " in text
    assert "](paper/figure-9.svg)" in text
    claims = (folder / "claims.md").read_text("utf-8")
    lines = [line for line in claims.splitlines() if line.startswith("|")]
    assert len(lines) == 2 * 2 + 3 + 4
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {5}


def test_rows_of_the_papers_tables_are_as_wide_as_their_heads(folder):
    html = (folder / "paper.html").read_text("utf-8")
    for table in re.findall(r"<table>.*?</table>", html, re.DOTALL):
        assert len(set(Page(table).rows)) == 1


def test_macros_of_tables_and_claims_are_letters_and_defined_once(folder):
    numbers = (folder / "paper" / "numbers.tex").read_text("utf-8")
    defined = re.findall(r"\\newcommand\{(.*?)\}\{", numbers)
    assert len(defined) == len(set(defined))
    assert all(re.fullmatch(r"\\JL[A-Za-z]+", one) for one in defined)
    used = set(re.findall(r"\\JL[A-Za-z]+", (folder / "paper" / "tables.tex").read_text("utf-8")))
    assert used < set(defined)
    claims = set(defined) - used
    assert claims
    assert all(one.startswith(r"\JLClaim") for one in claims)


def test_an_unfinished_study_says_so_on_every_page(unpictured, tmp_path):
    study = drawn(tmp_path)
    study.runs.loc[study.runs.index[50:], "state"] = "planned"
    folder = write_report(ReportedStudy(study)).parent
    for name in ("claims.html", "paper.html", "claims.md", "paper.md"):
        assert "This study is not finished: 50 of 72 runs" in (folder / name).read_text("utf-8")


def test_a_study_without_a_finished_run_has_pages_that_say_what_is_left_out(unpictured, tmp_path):
    study = drawn(tmp_path)
    study.runs["state"] = "planned"
    folder = write_report(ReportedStudy(study)).parent
    claims = (folder / "claims.html").read_text("utf-8")
    assert "no experiment with finished runs can decide one yet" in claims
    paper = Page((folder / "paper.html").read_text("utf-8")).text
    assert paper.count("no experiment with finished runs compares") == 8
    assert (folder / "paper" / "tables.tex").read_text("utf-8").strip().startswith("%")


def test_two_studies_on_one_data_set_have_a_report_together(unpictured, tmp_path):
    one, other = drawn(tmp_path), drawn(tmp_path, seed=6)
    found = [*experiments(one), *experiments(other)]
    folder = write_side_pages("one and other", found, tmp_path / "together").parent
    text = Page((folder / "paper.html").read_text("utf-8")).text
    assert "digits (1), 3 hyperparameters" in text
    claims = Page((folder / "claims.html").read_text("utf-8")).text
    for name in ("tuning on digits (1)", "tuning on digits (2)", "layers (architecture) on"):
        assert name in claims
    assert "All data sets together" not in claims
    assert not (folder / "index.html").exists()
    assert "index.html" not in (folder / "paper.html").read_text("utf-8")


def test_searches_on_two_data_sets_are_judged_together_too(unpictured, tmp_path):
    one, other = drawn(tmp_path), drawn(tmp_path, seed=6)
    found = [*experiments(one), *(replace(e, dataset="mnist") for e in experiments(other))]
    folder = write_side_pages("one and other", found, tmp_path / "together").parent
    claims = (folder / "claims.md").read_text("utf-8")
    assert "## All data sets together" in claims
    part = claims[claims.index("## All data sets together") :]
    assert "cannot be decided with n = 4 configurations" in part


def test_tables_from_elsewhere_have_pages(unpictured, tmp_path):
    found = experiments(drawn(tmp_path))
    path = write_side_pages("a & b.csv", found, tmp_path / "elsewhere", ["A remark."])
    assert path.name == "paper.html"
    assert "a &amp; b.csv: tables and figures" in path.read_text("utf-8")
    assert "A remark." in path.read_text("utf-8")


def test_data_of_claims_are_plain_and_say_all(tmp_path):
    data = json.loads(json.dumps(report_data(ReportedStudy(drawn(tmp_path))), allow_nan=False))
    assert len(data["claims"]) == 7
    for claim in data["claims"]:
        assert claim["outcome"] in {"holds", "does not hold", "cannot be decided"}
        basis = f" on {claim['basis']} energy" if claim["basis"] else ""
        assert claim["verdict"] == f"{claim['outcome']}{basis}"
        assert set(claim["effect"]) == {"name", "value", "low", "high", "reference"}
        assert claim["source"].startswith("Yarally et al.")
        assert claim["unit"] in {
            "configurations",
            "rounds",
            "rounds of configurations",
        }
    row = data["experiments"]["layers"]["tables"]["kruskal"]["rows"][1]
    assert 0 < row["p"] < 1e-6, "small, and not rounded to 0"
