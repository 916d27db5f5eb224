"""The document of a page: one text without anything of a study, its style and script within."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from joulelab.present.html import style

PAGE = files("joulelab.live") / "page"


@cache
def document_of(page: str) -> tuple[str, tuple[str, str]]:
    """The document of a page, and its style and script as they are in it.

    Args:
        page: ``"study"`` or ``"watch"``.
    """
    css = f"{style()}\n{_text('live.css')}"
    script = "\n".join(map(_text, ("stream.js", "charts.js", f"{page}.js")))
    text = _text("page.html").replace("/* style */", css).replace("/* script */", script)
    return text.replace("<!-- body -->", _text(f"{page}.html")), (css, script)


def _text(name: str) -> str:
    return (PAGE / name).read_text("utf-8")
