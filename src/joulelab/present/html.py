"""Self-contained HTML pages and fragments."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from joulelab.errors import UsageError
from joulelab.present.faults import Unavailable
from joulelab.present.parts import Figure, Omitted, Part, Section, Table, stopped

if TYPE_CHECKING:
    from jinja2.runtime import Macro

Draw = Callable[[Figure], bytes]
"""From a figure to SVG."""
NOTEBOOK_STYLE = (
    "<style>.joulelab th, .joulelab td { text-align: right; } "
    ".joulelab th.text, .joulelab td.text { text-align: left; }</style>"
)


def page(
    title: str,
    body: Sequence[Part],
    *,
    draw: Draw,
    summary: str = "",
    answer: Sequence[str] = (),
    lead: Sequence[Part] = (),
    links: Sequence[tuple[str, str]] = (),
) -> str:
    """A complete page.

    Args:
        title: its heading.
        body: contents after the list of sections.
        draw: draws figures, and writes files if required.
        summary: a line below the title.
        answer: highlighted sentences at the top.
        lead: contents before the list of sections: the main figure and table.
        links: label and file of related pages.
    """
    pictures: dict[int, str] = {}
    lead, body = _pictured(lead, draw, pictures), _pictured(body, draw, pictures)
    contents = [part for part in body if isinstance(part, Section) and not part.folded]
    return _template("page").render(
        title=title,
        summary=summary,
        answer=answer,
        lead=lead,
        links=links,
        contents=contents if len(contents) > 1 else (),
        body=body,
        anchor=_anchors(),
        image=lambda figure: pictures[id(figure)],
    )


def rendered(template: str, **values: object) -> str:
    """A page of a layout of its own, with the common style.

    Args:
        template: its name, without suffix.
        values: that it shows; parts among them are without figures.
    """
    return _template(template).render(anchor=_anchors(), image=None, **values)


def style() -> str:
    """The style of every page."""
    return (files("joulelab.present") / "templates" / "style.css").read_text("utf-8")


def fragment(*parts: Part) -> str:
    """Parts without a page, for a notebook; without figures."""
    module = _template("parts").make_module({"anchor": _anchors(), "image": None})
    show: Macro = module.show  # type: ignore[attr-defined]  # a macro of the template
    return f'<div class="joulelab">{NOTEBOOK_STYLE}{show(parts, 3)}</div>'


def _anchors() -> Callable[[Table | Section], str]:
    """Unique anchors within a page."""
    names: dict[int, str] = {}

    def anchor(part: Table | Section) -> str:
        if id(part) not in names:
            name = re.sub(r"[^a-z0-9]+", "-", part.title.casefold()).strip("-") or "part"
            taken = {*names.values()}
            free = (name, *(f"{name}-{number}" for number in range(2, len(taken) + 3)))
            names[id(part)] = next(one for one in free if one not in taken)
        return names[id(part)]

    return anchor


def _pictured(parts: Sequence[Part], draw: Draw, pictures: dict[int, str]) -> list[Part]:
    """The parts, with figures that cannot be drawn left out; adds a data URL for each other one."""
    made: list[Part] = []
    for part in parts:
        if isinstance(part, Section):
            made.append(replace(part, parts=_pictured(part.parts, draw, pictures)))
            continue
        if isinstance(part, Figure):
            try:
                drawn = base64.b64encode(draw(part)).decode("ascii")
            except Unavailable as error:
                made.append(Omitted(part.key, part.title, error.reason))
                continue
            except UsageError as error:
                made.append(Omitted(part.key, part.title, error.message))
                continue
            pictures[id(part)] = f"data:image/svg+xml;base64,{drawn}"
        made.append(part)
    return made


def _prose(text: str) -> Markup:
    """Sentences, in which backticks mark code."""
    parts = re.split(r"`([^`]+)`", text)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if number % 2 else escape(part)
        for number, part in enumerate(parts)
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("joulelab.present"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["kind_of"] = lambda part: type(part).__name__
    environment.filters["stopped"] = stopped
    environment.filters["prose"] = _prose
    return environment


def _template(name: str) -> Template:
    return _environment().get_template(f"{name}.html.j2")
