"""Names of files, and writing where somebody else may have been before."""

import doctest

import pytest

from joulelab import files
from joulelab.files import NAME_LENGTH, replacing, safe_name, write_whole

ODD = [
    "x" * 300,
    "Größe",
    "größe",
    "Gr ß e",
    "日本",
    "本日",
    "!?",
    "?!",
    "",
    "..",
    ".hidden",
    "/etc/passwd",
    "CON",
    "aux.txt",
    "a\x00b\n\t\u202e",
    "\ud800",
    "a b",
    "A b",
    "a_b",
    "".join(map(chr, range(33, 3000, 7))),
]


def test_the_worked_example_holds():
    assert not doctest.testmod(files).failed


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("tuning-trade-off", "tuning-trade-off"),
        ("conv_layers x relu", "conv-layers-x-relu"),
        ("architecture-energy", "architecture-energy"),
        ("convergence-folder:/data/birds?side=32-5", "convergence-folder-data-birds-side-32-5"),
    ],
)
def test_what_is_fit_for_a_name_stays(text, name):
    assert safe_name(text) == name


def test_odd_names_become_files_of_their_own(tmp_path):
    taken = {}
    names = {text: safe_name(text, taken) for text in ODD}
    assert len({name.casefold() for name in names.values()}) == len(ODD)
    for text, name in names.items():
        assert safe_name(text, taken) == name
        assert len(name) <= NAME_LENGTH
        assert name.isascii()
        assert not name.startswith((".", "-"))
        (tmp_path / f"{name}.svg").write_text(name)
    assert len(list(tmp_path.iterdir())) == len(ODD)
    assert safe_name("CON").casefold() != "con"


@pytest.mark.parametrize("planted", ["report.html", "report.html.new"])
def test_a_file_is_not_written_through_a_link(tmp_path, planted):
    victim = tmp_path / "victim"
    victim.write_text("of root")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / planted).symlink_to(victim)
    write_whole(folder / "report.html", "new")
    assert victim.read_text() == "of root"
    assert (folder / "report.html").read_text() == "new"
    assert [path.name for path in folder.iterdir()] == ["report.html"]
    assert not (folder / "report.html").is_symlink()


def test_what_cannot_be_finished_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(TypeError), replacing(path) as file:
        file.writelines([b"half", "no bytes"])
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]
