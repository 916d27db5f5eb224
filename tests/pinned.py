"""What a test of behaviour compares: golden files, and what is seen of a page or a command."""

import json
import math
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

RELATIVE = 1e-7
"""Versions of scipy differ by some 1e-8 in the p of Shapiro and Wilk."""
MOST_SHOWN = 15
VOID = {"meta", "img", "br", "link", "hr", "input"}


def differences(expected, found, path=""):
    """Where two pieces of plain data differ, a line each; floats may do so by a billionth."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in expected.keys() | found.keys():
            if key not in found:
                yield f"{path}/{key}: missing, was {short(expected[key])}"
            elif key not in expected:
                yield f"{path}/{key}: new, {short(found[key])}"
            else:
                yield from differences(expected[key], found[key], f"{path}/{key}")
    elif isinstance(expected, list) and isinstance(found, list):
        if len(expected) != len(found):
            yield f"{path}: {len(found)} items, were {len(expected)}"
        for number, pair in enumerate(zip(expected, found, strict=False)):
            yield from differences(*pair, f"{path}/{number}")
    elif not same(expected, found):
        yield f"{path}: {short(found)}, was {short(expected)}"


def same(expected, found):
    """Whether two leaves are the same; 1 and 1.0 are, 1 and true are not."""
    if isinstance(expected, bool) or isinstance(found, bool):
        return expected is found
    if isinstance(expected, int | float) and isinstance(found, int | float):
        return expected == found or math.isclose(expected, found, rel_tol=RELATIVE)
    return expected == found


def short(value):
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < 100 else f"{text[:100]}..."


class Golden:
    """Golden files of a folder: compared with, or written where `update` is set."""

    def __init__(self, folder: Path, *, update: bool) -> None:
        self.folder, self.update = folder, update

    def check(self, name: str, part: str, found: object) -> None:
        """Compare a part of a golden file, or write it anew."""
        path = self.folder / f"{name}.json"
        found = json.loads(json.dumps(found))
        whole = json.loads(path.read_text()) if path.is_file() else {}
        if self.update:
            path.parent.mkdir(exist_ok=True)
            path.write_text(written({**whole, part: found}) + "\n")
            return
        assert part in whole, f"{path} has no {part}: run with --update-golden"
        lines = sorted(differences(whole[part], found))
        more = f"\n... and {len(lines) - MOST_SHOWN} more" * (len(lines) > MOST_SHOWN)
        assert not lines, f"{name}, {part}:\n" + "\n".join(lines[:MOST_SHOWN]) + more


def written(value, indent=""):
    """JSON with a line for whatever has no parts of its own: compact, and changes can be read."""
    inner = indent + " "
    if isinstance(value, dict) and any(isinstance(one, dict | list) for one in value.values()):
        parts = [
            f"{inner}{json.dumps(key)}: {written(one, inner)}" for key, one in sorted(value.items())
        ]
        return "{\n" + ",\n".join(parts) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(one, dict | list) for one in value):
        return "[\n" + ",\n".join(inner + written(one, inner) for one in value) + f"\n{indent}]"
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


class Element:
    """An element of a page, with what stands in it."""

    def __init__(self, tag, attributes):
        self.tag, self.attributes, self.parts = tag, dict(attributes), []

    def all(self, *tags):
        """Every element within of these tags, in order."""
        for part in self.parts:
            if isinstance(part, Element):
                if part.tag in tags:
                    yield part
                yield from part.all(*tags)

    @property
    def text(self):
        """Its words, white space as one blank."""
        return " ".join("".join(self._texts()).split())

    def _texts(self):
        for part in self.parts:
            if isinstance(part, str):
                yield part
            else:
                yield from part._texts()


class _Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open = [Element("", ())]

    def handle_starttag(self, tag, attrs):
        element = Element(tag, attrs)
        self.open[-1].parts.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        while self.open.pop().tag != tag:
            pass

    def handle_data(self, data):
        self.open[-1].parts.append(data)


def read_page(html):
    """A page as elements."""
    reader = _Reader()
    reader.feed(html)
    return reader.open[0]


def words_of_page(html):
    """Tables by title, figures by title with caption and text, what is left out, and terms."""
    page = read_page(html)
    return {
        "tables": by_title(map(_table, _of_class(page, "div", "sheet"))),
        "figures": by_title(map(_figure, page.all("figure"))),
        "omitted": sorted(one.text for one in _of_class(page, "p", "omitted")),
        "notices": [one.text for one in _of_class(page, "p", "notice")],
        "terms": [[pair.tag, pair.text] for pair in page.all("dt", "dd")],
    }


def by_title(pairs):
    """A dictionary, for order is layout; the second of the same title is told apart."""
    seen, found = Counter(), {}
    for title, content in pairs:
        seen[title] += 1
        found[f"{title} #{seen[title]}" if seen[title] > 1 else title] = content
    return found


def _of_class(element, tag, name):
    return (one for one in element.all(tag) if name in one.attributes.get("class", "").split())


def _titled(caption):
    return next(caption.all("strong")).text


def _table(sheet):
    (table,), (caption,) = sheet.all("table"), _of_class(sheet, "p", "caption")
    rows = [[cell.text for cell in row.all("th", "td")] for row in table.all("tr")]
    heads = sum(1 for head in table.all("thead") for _ in head.all("tr"))
    content = {"caption": caption.text, "headings": rows[:heads], "cells": rows[heads:]}
    return _titled(caption), content


def _figure(figure):
    (caption,), (image,) = figure.all("figcaption"), figure.all("img")
    return _titled(caption), {"caption": caption.text, "alt": image.attributes["alt"]}
