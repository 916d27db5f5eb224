"""Pages of HTML: headings, what stands out, what is folded, and anchors."""

import pytest

from joulelab.present import Column, Facts, Figure, Omitted, Remark, Section, Table, html, words
from pinned import Element, read_page

SVG = b"<svg xmlns='http://www.w3.org/2000/svg'/>"


def energies(**more):
    columns = [
        words("network", form=str),
        Column("mean", "j", str, group="energy", bold=lambda row: row["j"] < 2),
        Column("share", form=str, group="energy"),
        words("status", form=str, tone=lambda row: "bad" if row["status"] == "missing" else ""),
    ]
    rows = [
        {"network": "<b>CNN</b>", "j": 1, "share": "10 %", "status": "measured"},
        {"network": "MLP & co", "j": 9, "share": "90 %", "status": "missing"},
    ]
    return Table(rows, columns, **{"note": "A note.", "key": "k", "title": "Energy", **more})


def a_figure(**more):
    return Figure(lambda _: None, "How to read it.", "A <curve>", "fig", "A figure", **more)


def page(*body, **more):
    return read_page(html.page("A title", body, draw=lambda _: SVG, **more))


def only(element, *tags) -> Element:
    (found,) = element.all(*tags)
    return found


def of_class(element, tag, name):
    return [one for one in element.all(tag) if name in one.attributes.get("class", "").split()]


def test_headings_say_what_they_are_of_and_groups_span_their_columns():
    groups, headings, *_ = page(energies()).all("tr")
    assert [(one.text, one.attributes["colspan"]) for one in groups.all("th")] == [
        ("", "1"),
        ("energy", "2"),
        ("", "1"),
    ]
    assert [one.attributes["scope"] for one in groups.all("th")] == ["col", "colgroup", "col"]
    assert [one.text for one in headings.all("th")] == ["network", "mean", "share", "status"]
    assert {one.attributes["scope"] for one in headings.all("th")} == {"col"}
    words_of = [one.text for one in of_class(headings, "th", "text")]
    assert words_of == ["network", "status"]


def test_a_row_begins_with_its_name_and_what_matters_stands_out():
    found = page(energies())
    *_, first, second = found.all("tr")
    assert only(first, "th").attributes["scope"] == "row"
    assert [one.text for one in first.all("strong")] == ["1"]
    assert [one.text for one in of_class(second, "span", "bad")] == ["missing"]
    assert not list(first.all("span"))


def test_names_are_escaped():
    made = html.page("a < b", [energies(), "x & y"], draw=lambda _: SVG)
    assert "&lt;b&gt;CNN&lt;/b&gt;" in made
    assert "MLP &amp; co" in made
    assert "<title>a &lt; b</title>" in made
    assert "x &amp; y" in made


def test_a_caption_stands_outside_of_what_scrolls_and_names_it():
    sheet = of_class(page(energies()), "div", "sheet")[0]
    caption, scroll = of_class(sheet, "p", "caption")[0], of_class(sheet, "div", "scroll")[0]
    assert caption.text == "Energy. A note."
    assert not of_class(scroll, "p", "caption")
    assert scroll.attributes["aria-labelledby"] == caption.attributes["id"]
    assert "tabindex" in scroll.attributes, "the keyboard reaches what scrolls"


def test_a_title_that_ends_a_sentence_has_no_second_full_stop():
    for title in ("Does time stand for energy?", "Done."):
        assert f"{title} A note." in page(energies(title=title)).text
    assert "Energy. A note." in page(energies()).text


def test_a_total_is_the_last_row_and_marked():
    total = {"network": "all", "j": 10, "share": "100 %", "status": ""}
    rows = list(page(energies(total=total)).all("tr"))
    assert [row.attributes.get("class") for row in rows] == [*[None] * 4, "total"]


def test_what_is_folded_can_be_opened_and_says_how_long_it_is():
    found = page(
        energies(folded=True),
        a_figure(folded=True),
        Section("Details", ["said"], folded=True),
        energies(title="Open"),
    )
    summaries = [only(one, "summary").text for one in found.all("details")]
    assert summaries == ["Energy (2 rows)", "A figure", "Details"]
    assert len(list(found.all("table"))) == 2


def test_a_figure_is_within_the_page_with_its_words():
    found = page(a_figure())
    image = only(found, "img")
    assert image.attributes["src"].startswith("data:image/svg+xml;base64,")
    assert image.attributes["alt"] == "A <curve>"
    assert only(found, "figcaption").text == "A figure. How to read it."


def test_anchors_are_unique_and_the_list_of_sections_leads_to_them():
    body = [
        Section("Energy", [energies(), energies()]),
        Section("Energy", [Section("Energy", ["inner"])]),
        Section("Folded", ["said"], folded=True),
    ]
    found = page(*body)
    everything = list(found.all("p", "section", "h2", "h3", "div", "nav"))
    ids = [one.attributes["id"] for one in everything if "id" in one.attributes]
    assert len(ids) == len(set(ids))
    links = [one.attributes["href"] for one in only(found, "nav").all("a")]
    assert len(links) == 2
    assert {link.removeprefix("#") for link in links} <= set(ids)


def test_the_answer_and_what_leads_stand_before_the_list_of_sections():
    made = html.page(
        "A title",
        [Section("One", ["first"]), Section("Two", ["second"])],
        draw=lambda _: SVG,
        answer=["It is so."],
        lead=[Remark("Mind this."), energies()],
        links=[("Claims", "claims.html")],
    )
    order = ["It is so.", "Mind this.", "Energy", "claims.html", "first", "second"]
    places = [made.index(one) for one in order]
    assert places == sorted(places)


@pytest.mark.parametrize("tone", ["good", "doubtful", "bad"])
def test_a_remark_has_its_tone(tone):
    (found,) = of_class(page(Remark("Mind this.", tone)), "p", tone)
    assert found.text == "Mind this."


def test_what_is_left_out_and_facts_are_said():
    found = page(Omitted("k", "A table", "it failed."), Facts([("seed", "7")]))
    assert "A table is left out: it failed." in found.text
    assert [one.text for one in found.all("dt", "dd")] == ["seed", "7"]


def test_a_fragment_is_a_table_alone():
    made = html.fragment(energies())
    assert made.strip().startswith("<div")
    assert "<html" not in made
    assert "A note." in made


def test_backticks_mark_code_and_the_rest_is_escaped():
    made = html.page("t", ["Run `a <b>` of <i> 'x'."], draw=lambda _: SVG)
    assert "<p>Run <code>a &lt;b&gt;</code> of &lt;i&gt; &#39;x&#39;.</p>" in made
