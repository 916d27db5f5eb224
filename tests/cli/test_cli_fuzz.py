"""Results folders as chance damages them: every command answers, or says what is damaged."""

import contextlib
import io
import sqlite3
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import assert_in_words, copied, loosened, mutate_folder, refusal
from tiny_study import TINY, tiny
from typer.main import get_command

from joulelab.cli import app
from undrawn import undraw

CASES = settings(
    max_examples=25,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
THOUSANDS = settings(CASES, max_examples=1000)
SMALL = {
    "tuning": {**TINY["experiment"]["tuning"], "strategies": ["grid", "random"], "rounds": 2},
    "architecture": {**TINY["experiment"]["architecture"], "vary": {"relu": [False, True]}},
}
SMALL["architecture"]["network_options"] = {"linear_layers": 2, "conv_layers": 1}
TRAINING = "SimpleCNN --dataset digits --epochs 2 --option linear_layers=1 --option conv_layers=1"
QUICK = [
    "status DIR",
    "status DIR --json",
    "export DIR",
    "export DIR --table energy",
    "export DIR --table rounds",
    "export DIR --table ledger --format parquet",
    "export DIR --table requests",
    "export DIR --table predictions",
    "export DIR --format parquet",
    "places DIR --place NLD",
    "places DIR --place 412 --json",
    "instruments DIR",
    f"predict before {TRAINING} --from DIR",
    "plan WHOLE --untimed --from DIR",
    "compare DIR WHOLE",
]
SLOW = [
    "report DIR",
    "report DIR --json",
    "report DIR WHOLE",
    "compare WHOLE DIR --json",
    "run DIR",
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A small study that ended well, and nothing that takes long about its reports."""
    folder = tmp_path_factory.mktemp("whole") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_COLOR", "1")
        patch.chdir(folder.parent)
        undraw(patch)
        tiny(experiment=SMALL).run(folder)
        yield folder


JOULELAB = get_command(app)


def answer(whole, random, commands):
    """One command on one damaged folder."""
    folder = copied(whole, whole.parent / "damaged")
    mutate_folder(folder, random)
    words = random.choice(commands).split()
    folders = {"DIR": str(folder), "WHOLE": str(whole)}
    arguments = [folders.get(word, word) for word in words]
    said = io.TextIOWrapper(io.BytesIO(), "utf-8", newline="")
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(io.StringIO()):
        assert_in_words(refusal(lambda: JOULELAB(arguments, standalone_mode=False)))


@CASES
@given(random=st.randoms(use_true_random=False))
def test_a_command_on_a_damaged_folder_answers_or_says_what_is_damaged(whole, random):
    answer(whole, random, QUICK)


@settings(CASES, max_examples=2)
@given(random=st.randoms(use_true_random=False))
def test_so_does_a_report(whole, random):
    answer(whole, random, SLOW)


@pytest.mark.long
@THOUSANDS
@given(random=st.randoms(use_true_random=False))
def test_so_does_every_command_on_thousands_of_folders(whole, random):
    answer(whole, random, [*QUICK, *SLOW])


def test_an_export_says_what_it_has_left_out_and_ends_with_its_own_exit_code(
    whole, tmp_path, joulelab
):
    folder = copied(whole, tmp_path / "damaged")
    with closing(sqlite3.connect(folder / "runs.sqlite", isolation_level=None)) as connection:
        loosened(connection, "runs")
        connection.execute("UPDATE runs SET accuracy = 'abc' WHERE position = 1")
    code, table, said = joulelab("export", folder)
    assert code == 4
    assert len(table.splitlines()) == len(joulelab("export", whole)[1].splitlines()) - 1
    assert said.startswith("not all of it could be read; 1 place left out:\n")
    assert "row 2 of runs" in said
    assert "accuracy = 'abc'" in said
    code, table, said = joulelab("status", folder)
    assert (code, table) == (1, "")
    assert "`joulelab export` writes the rows that can be read" in said
    assert joulelab("export", whole)[0] == 0
