"""The one direction of imports."""

import ast
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import joulelab

PACKAGE = Path(joulelab.__file__).parent
MAY_IMPORT = {
    "present": set(),
    "tabular": set(),
    "energy": {"tabular"},
    "learning": set(),
    "tuning": set(),
    "serving": {"tabular"},
    "analysis": set(),
    "replication": {"analysis", "tabular"},
    "study": {"energy"},
    "report": {"study", "analysis", "energy", "tuning"},
    "kinds": {"study", "report", "analysis", "energy", "learning", "tuning", "serving"},
    "live": {"study", "analysis", "energy"},
    "sinks": {"energy", "study"},
    "forecast": {"kinds", "study", "analysis", "energy", "learning", "sinks"},
    "execution": {"study", "energy", "kinds"},
    "callbacks": {"forecast", "energy", "sinks"},
    "cards": {"study", "report", "energy", "replication"},
    "profiling": {"kinds", "energy"},
    "cli": {
        "cards",
        "kinds",
        "live",
        "study",
        "analysis",
        "replication",
        "report",
        "forecast",
        "profiling",
        "execution",
        "energy",
        "learning",
        "tuning",
        "serving",
        "sinks",
        "tabular",
    },
}
BRIDGES = {"tuning/optuna/energy.py": {"energy"}, "energy/measuring.py": {"sinks"}}
"""Files that bring rooms together for a user's own program."""
ROOT_MODULES = {
    "budget",
    "errors",
    "files",
    "formats",
    "image_limit",
    "lazy",
    "optional",
    "plain",
    "registry",
    "settings",
    "__version__",
}


@cache
def imports(path):
    """The import statements anywhere in a file."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]


def imported_rooms(path):
    """The rooms, or modules at the root, that a file imports anywhere in it."""
    for node in imports(path):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("joulelab."):
            yield node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (a.name.split(".")[1] for a in node.names if a.name.startswith("joulelab."))


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_it_may(room):
    allowed = MAY_IMPORT[room] | {room, "present"} | ROOT_MODULES
    wrong = {
        f"{path.relative_to(PACKAGE)} imports {other}"
        for path in (PACKAGE / room).rglob("*.py")
        for other in imported_rooms(path)
        if other not in allowed | BRIDGES.get(str(path.relative_to(PACKAGE)), set())
    }
    assert not wrong


def imported_modules(path, modules):
    """The modules of the package that a file imports anywhere in it, for types alone too."""
    for node in imports(path):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("joulelab"):
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            yield from (name for name in names if name in modules)


def test_no_modules_import_each_other_in_a_circle():
    modules = {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path
        for path in PACKAGE.rglob("*.py")
        # The face of a package names what is public, and imports it when it is asked for.
        if path.name != "__init__.py"
    }
    graph = {name: set(imported_modules(path, modules)) for name, path in modules.items()}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_the_energy_room_never_imports_torch():
    for path in (PACKAGE / "energy").rglob("*.py"):
        names = {
            name.split(".")[0]
            for node in imports(path)
            for name in (
                [a.name for a in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
            )
        }
        assert "torch" not in names, path
