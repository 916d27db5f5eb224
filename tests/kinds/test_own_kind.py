"""A kind of experiment from outside, in one file: planned, killed, resumed, reported, exported."""

import json
import os
import signal
import sqlite3
import sys
import time
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path

import pytest
from pydantic import BaseModel
from tiny_study import TINY

from joulelab.errors import SpecError, UsageError
from joulelab.registry import load_plugin
from joulelab.study.design import Factor
from joulelab.study.plan import make_plan
from joulelab.study.results import Results
from joulelab.study.spec import ExperimentSpec, Kind, kinds
from joulelab.study.study import Study
from joulelab.study.study_file import check_spec

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_kind.py"
RUNS = 6
SECOND = "seconds = 1.0"
STUDY = """
plugins = ["own_kind.py"]

[experiment.sorting]
kind = "sorting"
algorithms = ["quicksort", "heapsort"]
sizes = [1000, 5000]
repetitions = 2
exclude = [{ algorithm = "heapsort", size = 5000 }]

[energy]
meters = ["estimate"]
interval_s = 0.02
idle_s = 0.05
cool_down_s = 0
"""


def forget(plugin):
    """As in a process that has not loaded the plug-in."""
    kinds._registered.pop("sorting", None)
    for name, module in list(sys.modules.items()):
        if getattr(module, "__file__", None) == str(plugin):
            del sys.modules[name]


@pytest.fixture(scope="module")
def study_file(tmp_path_factory):
    """The example, its windows short, beside a study file that names it."""
    folder = tmp_path_factory.mktemp("own")
    source = EXAMPLE.read_text()
    assert SECOND in source
    (folder / "own_kind.py").write_text(source.replace(SECOND, SECOND.replace("1.0", "0.1")))
    (folder / "sorting.toml").write_text(STUDY)
    yield folder / "sorting.toml"
    forget(folder / "own_kind.py")


def finished(folder):
    """The run ids of finished runs, also while another process writes."""
    if not (folder / "runs.sqlite").exists():
        return set()
    with closing(sqlite3.connect(folder / "runs.sqlite")) as connection:
        try:
            query = "SELECT run_id FROM runs WHERE state = 'finished'"
            return {run_id for (run_id,) in connection.execute(query)}
        except sqlite3.OperationalError:
            return set()


@pytest.fixture(scope="module")
def killed(study_file):
    """The folder of the study, killed after a run, and the runs that had finished."""
    folder = study_file.parent / "out"
    # Forked, it need not import everything again.
    process = get_context("fork").Process(target=lambda: Study.load(study_file).run(folder))
    process.start()
    while process.is_alive() and not finished(folder):
        time.sleep(0.02)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    done = finished(folder)
    assert done
    return folder, done


@pytest.fixture(scope="module")
def resumed(killed):
    """The folder of the finished study."""
    folder, done = killed
    before = Results.open(folder).to_frame().set_index("run_id")
    results = Study.load(folder).run(folder)
    after = results.to_frame().set_index("run_id")
    assert list(after["state"]) == ["finished"] * RUNS
    kept = (sorted(done), ["started_at", "sorts", "energy_gross_j"])
    assert after.loc[kept].astype(float).equals(before.loc[kept].astype(float))
    return folder


def test_it_is_planned_with_time_and_energy(study_file, joulelab):
    code, out, _ = joulelab("plan", study_file, "--json")
    assert code == 0
    told = json.loads(out)
    assert told["runs"] == RUNS
    assert told["total"]["duration_s"] > 0
    assert told["total"]["energy_net_j"] is not None


def test_it_is_a_part_that_list_shows_with_its_file(study_file, joulelab):
    plugin = study_file.parent / "own_kind.py"
    code, out, _ = joulelab("list", "--json", "--plugin", plugin)
    (shown,) = [one for one in json.loads(out)["kinds_of_experiment"] if one["name"] == "sorting"]
    assert code == 0
    assert shown["summary"] == "Sorting: algorithms x numbers of values."
    assert shown["origin"] == str(plugin)


def test_a_killed_study_goes_on_and_stores_what_the_function_returned(resumed):
    frame = Results.open(resumed).to_frame()
    assert (frame["values_sorted"] == frame["sorts"] * frame["size"]).all()
    assert (frame["sorts"] >= 1).all()
    assert set(frame["device"]) == {"cpu"}
    ledger = Results.open(resumed).ledger_frame()
    assert set(ledger["session"]) == {1, 2}
    assert (ledger.loc[ledger["kind"] == "sorting", "runs"] != "[]").all()


def test_the_report_shows_its_table_and_its_figure(resumed, joulelab, unpictured):
    code, out, _ = joulelab("report", resumed, "--json")
    assert code == 0
    (table,) = json.loads(out)["experiments"]["sorting"]["tables"].items()
    assert table[0] == "sorting-cost"
    assert {row["algorithm"] for row in table[1]["rows"]} == {"quicksort", "heapsort"}
    page = (resumed / "report" / "index.html").read_text()
    assert "By size." in page


def test_the_export_has_the_numbers(resumed, joulelab):
    code, out, _ = joulelab("export", resumed)
    assert code == 0
    assert {"algorithm", "size", "sorts", "values_sorted"} <= set(out.splitlines()[0].split(","))
    assert len(out.splitlines()) == RUNS + 1


def test_the_report_is_a_general_one_for_who_has_not_approved_of_the_plug_in(
    resumed, joulelab, unpictured, monkeypatch, tmp_path
):
    plugin = resumed.parent / "own_kind.py"
    approved = os.environ["JOULELAB_APPROVED"]
    forget(plugin)
    monkeypatch.setenv("JOULELAB_APPROVED", str(tmp_path / "nothing"))
    code, out, _ = joulelab("report", resumed, "--json")
    assert code == 0
    assert "sorting" not in kinds.names()
    told = json.loads(out)["experiments"]["sorting"]
    assert {"kruskal", "increase"} <= set(told["tables"])
    copy = resumed / "code" / plugin.name
    assert told["remarks"][0] == (
        "sorting is shown in the general report: its kind 'sorting' is unknown here (the plug-in "
        f"{copy} is new or has changed; read it, then run `joulelab plan` on this folder with "
        "--trust)."
    )
    page = (resumed / "report" / "index.html").read_text()
    assert page.index("is shown in the general report") < page.index("<table")
    monkeypatch.setenv("JOULELAB_APPROVED", approved)
    _, out, _ = joulelab("report", resumed, "--json")
    assert "sorting-cost" in json.loads(out)["experiments"]["sorting"]["tables"]


def test_a_miniature_leaves_out_repetitions(study_file):
    load_plugin(study_file.parent / "own_kind.py")
    path = study_file.with_name("ten.toml")
    path.write_text(STUDY.replace("repetitions = 2", "repetitions = 10"))
    study = Study.load(path, scale=0.4)
    assert study.spec.experiments()["sorting"].repetitions == 4
    assert study.spec.miniature_in_words() == "a miniature at scale 0.4: 4 of 10 repetitions"


def test_a_function_that_returns_what_cannot_be_stored_is_a_failed_run(study_file, tmp_path):
    source = (study_file.parent / "own_kind.py").read_text()
    wrong = source.replace('"sorts": sorts', '"sorts": [sorts]')
    plugin = tmp_path / "wrong.py"
    plugin.write_text(wrong.replace('register("sorting")', 'register("wrong")'))
    path = tmp_path / "wrong.toml"
    text = STUDY.replace("own_kind.py", "wrong.py").replace('kind = "sorting"', 'kind = "wrong"')
    path.write_text(text)
    try:
        results = Study.load(path).run(tmp_path / "out")
    finally:
        kinds._registered.pop("wrong", None)
    frame = results.to_frame()
    assert list(frame["state"]) == ["failed"] * RUNS
    assert "is of type list; return a mapping of names" in frame.loc[0, "error"]


@pytest.mark.parametrize(
    ("factors", "complaint"),
    [
        ([Factor("accuracy", (1, 2))], "'accuracy' has the name of a column of the results"),
        ([Factor("a", (1, 2)), Factor("a", (3,))], "'a' occurs twice"),
        ([Factor("a", ())], "'a' has no level"),
        ([Factor("a", (1, 2, 1))], "'a': the level 1 occurs twice"),
    ],
)
def test_the_factors_of_a_kind_are_checked(factors, complaint):
    class Spec(ExperimentSpec):
        """Any factors."""

        def factors(self):
            return factors

    kinds.register("any")(Kind(Spec, "nowhere:Nothing"))
    try:
        spec = check_spec({"name": "s", "experiment": {"e": {"kind": "any", "repetitions": 1}}})
        with pytest.raises(SpecError, match=complaint):
            make_plan(spec)
    finally:
        kinds._registered.pop("any")


def test_a_kind_adds_keys_to_the_whole_study_file_and_checks_them():
    class Keys(BaseModel):
        words: int = 3

    class Spec(ExperimentSpec):
        """Keyed: nothing but keys."""

        study_keys = Keys

        def factors(self):
            return (Factor("word", ("a", "b")),)

        def check(self, study):
            if study.words > 5:
                raise UsageError("words is more than 5", "give fewer")

    kinds.register("keyed")(Kind(Spec, "nowhere:Nothing"))
    try:
        data = {"name": "s", "experiment": {"one": {"kind": "keyed", "repetitions": 2}}}
        spec = check_spec(data)
        assert spec.to_dict()["words"] == 3
        assert [run.run_id for run in make_plan(spec).runs][:2] == ["one/a/0/0", "one/b/0/0"]
        with pytest.raises(SpecError, match="words is more than 5"):
            check_spec({**data, "words": 6})
        with pytest.raises(SpecError, match="unknown key 'wrds'"):
            check_spec({**data, "wrds": 6})
        both = {**TINY, "experiment": {**TINY["experiment"], **data["experiment"]}, "words": 4}
        told = check_spec(both).to_dict()
        assert (told["words"], told["epochs"]) == (4, TINY["epochs"])
    finally:
        kinds._registered.pop("keyed")
