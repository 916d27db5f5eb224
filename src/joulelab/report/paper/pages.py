"""The tables and figures of the paper in files: HTML, Markdown, LaTeX, PDF and SVG.

::

    paper.html     claims.html      to look at
    paper.md       claims.md        for a repository or an issue
    paper/tables.tex                Tables I to V, booktabs, made of macros
    paper/numbers.tex               a macro for every number of tables and claims
    paper/figure-3.pdf  .svg  ...   at publication size
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from joulelab.files import safe_name, write_whole
from joulelab.present.style import save
from joulelab.report import claims
from joulelab.report.experiment import Experiment
from joulelab.report.paper import latex, markdown
from joulelab.report.paper.numbered import paper_figures
from joulelab.report.paper.table import PaperTable, spans
from joulelab.report.paper.tables import paper_tables
from joulelab.report.pictures import Picture
from joulelab.report.rendering import page
from joulelab.report.tables import Omitted

FIGURES = "paper"


@dataclass(frozen=True)
class Heading:
    """What stands at the top of both pages.

    Attributes:
        name: of the study, or of several.
        unfinished: a sentence where runs are still to come; empty otherwise.
        remarks: what a reader must know of all that follows, in sentences.
        links: label and file of the pages beside it.
    """

    name: str
    unfinished: str = ""
    remarks: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()


def write_claims(found: Sequence[claims.Scope], heading: Heading, folder: Path) -> Path:
    """Write ``claims.html`` and ``claims.md``.

    Args:
        found: the claims.
        heading: what stands above them.
        folder: where to; it exists.

    Raises:
        OSError: a file cannot be written.
    """
    remarks = "".join(
        f"{remark}\n\n" for remark in (heading.unfinished, *heading.remarks) if remark
    )
    text = claims.markdown(found, heading.name)
    first, rest = text.split("\n", 1)
    write_whole(folder / "claims.md", f"{first}\n\n{remarks}{rest.lstrip()}")
    shown = page(
        "claims",
        **vars(heading),
        scopes=found,
        classes=claims.CLASSES,
        effect=claims.effect_words,
    )
    return write_whole(folder / "claims.html", shown)


def write_paper(
    experiments: Sequence[Experiment],
    found: Sequence[claims.Scope],
    heading: Heading,
    folder: Path,
) -> Path:
    """Write ``paper.html``, ``paper.md`` and the folder ``paper``.

    Args:
        experiments: of one study or of several.
        found: their claims, whose numbers get macros too.
        heading: what stands above the tables.
        folder: where to; it exists.

    Raises:
        OSError: a file cannot be written.
    """
    (folder / FIGURES).mkdir(exist_ok=True)
    made = [*paper_tables(experiments), *_in_files(paper_figures(experiments))]
    items = [_item(one, folder / FIGURES) for one in made]
    tables = [one for one in made if isinstance(one, PaperTable)]
    numbers = [*(number for table in tables for number in table.named), *claims.named(found)]
    write_whole(folder / FIGURES / "numbers.tex", latex.numbers(numbers))
    write_whole(folder / FIGURES / "tables.tex", latex.tables(tables))
    write_whole(folder / "paper.md", _markdown(heading, made))
    shown = page(
        "paper",
        **vars(heading),
        items=items,
        spans=spans,
        latex=f"{FIGURES}/tables.tex",
        macros=f"{FIGURES}/numbers.tex",
    )
    return write_whole(folder / "paper.html", shown)


def _in_files(made: Sequence[Picture | Omitted]) -> Iterator[Picture | Omitted]:
    """Figures with keys that name files, no two the same, as of two searches on one data set."""
    files: dict[str, str] = {}
    seen: Counter[str] = Counter()
    for one in made:
        seen[one.key] += 1
        more = f"-{seen[one.key]}" if seen[one.key] > 1 else ""
        key = safe_name(f"{one.key}{more}", files) if isinstance(one, Picture) else one.key
        yield replace(one, key=key)


def _item(one: object, folder: Path) -> tuple[str, object, str]:
    if isinstance(one, PaperTable):
        return "table", one, ""
    if not isinstance(one, Picture):
        return "omitted", one, ""
    drawn = base64.b64encode(save(one.figure, folder, one.key, ("svg", "pdf"))).decode("ascii")
    return "figure", one, f"data:image/svg+xml;base64,{drawn}"


def _markdown(heading: Heading, made: Sequence[object]) -> str:
    parts = [f"# {heading.name}: tables and figures of the paper"]
    parts += [remark for remark in (heading.unfinished, *heading.remarks) if remark]
    for one in made:
        if isinstance(one, PaperTable):
            parts.append(markdown.table(one))
        elif isinstance(one, Picture):
            parts.append(f"![{one.alt}]({FIGURES}/{one.key}.svg)\n\n**{one.title}.** {one.note}")
        else:
            parts.append(
                f"**{getattr(one, 'title', '')}** is left out: {getattr(one, 'reason', '')}"
            )
    return "\n\n".join(parts) + "\n"
