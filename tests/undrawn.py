"""Figures that are not drawn, for that takes seconds."""

from pathlib import Path

from joulelab.files import safe_name

SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>\n'


def undraw(patch):
    """Until the patch is undone, figures are not laid out, and are saved as empty ones."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    def savefig(figure, file, *arguments, **settings):
        if hasattr(file, "write"):
            file.write(SVG)
        else:
            Path(file).write_bytes(SVG)

    patch.setattr(Figure, "savefig", savefig)
    patch.setattr(Figure, "draw_without_rendering", lambda _: None)
    patch.setattr(ConstrainedLayoutEngine, "execute", lambda *_: None)


def unpicture(patch, modules=("pages", "paper_pages")):
    """Until the patch is undone, pages that these modules write have empty pictures."""

    def drawer(folder, *_):
        folder.mkdir(exist_ok=True)

        def draw(figure):
            (folder / f"{safe_name(figure.key)}.svg").write_bytes(SVG)
            return SVG

        return draw

    for module in modules:
        patch.setattr(f"joulelab.report.{module}.drawer", drawer)
