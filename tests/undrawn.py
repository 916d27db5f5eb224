"""Figures that are made and not drawn, for drawing them takes seconds."""

from pathlib import Path

SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>\n'


def undraw(patch):
    """From now on, until the patch is undone, a figure is saved as an empty one."""
    from matplotlib.figure import Figure

    def savefig(figure, file, *arguments, **settings):
        if hasattr(file, "write"):
            file.write(SVG)
        else:
            Path(file).write_bytes(SVG)

    patch.setattr(Figure, "savefig", savefig)
