"""The command line as its users call it.

What a process does at its start and end is seen in processes of their own; all else in this one,
where torch is imported already.
"""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tomllib
from contextlib import closing, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
import tomli_w
import typer.main
from tiny_study import TINY, as_toml, layers_only, tiny

from joulelab import __version__
from joulelab.cli import app, main
from joulelab.cli.output import show
from joulelab.cli.planning import timed
from joulelab.cli.running import RunNames, run_study
from joulelab.registry import load_plugin
from joulelab.study.store import PlannedRun
from undrawn import undraw

STUDIES = Path(__file__).parent.parent / "data" / "studies"


@pytest.fixture(autouse=True)
def sigterm_ends_this_process(monkeypatch):
    monkeypatch.setattr("joulelab.cli.running.end_on_sigterm", lambda: None)


def in_a_process(*arguments, **settings):
    return subprocess.run(
        [sys.executable, "-m", "joulelab", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        **settings,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A small study, run from the command line: folder, study file, exit code and both outputs."""
    folder = tmp_path_factory.mktemp("cli")
    study = as_toml(folder, experiment=layers_only(vary={"conv_layers": [1, 2]}))
    with (
        pytest.MonkeyPatch.context() as patch,
        redirect_stdout(StringIO()) as out,
        redirect_stderr(StringIO()) as err,
    ):
        undraw(patch)
        patch.setattr("joulelab.cli.running.end_on_sigterm", lambda: None)
        patch.setenv("COLUMNS", "80")
        patch.setenv("NO_COLOR", "1")
        patch.setattr(sys, "argv", ["joulelab", "run", str(study), "--out", str(folder / "out")])
        with pytest.raises(SystemExit) as ended:
            main()
    return folder / "out", study, (ended.value.code, out.getvalue(), err.getvalue())


@pytest.mark.parametrize(
    ("arguments", "said", "heavy"),
    [
        (("--help",), "Usage: joulelab", "numpy pandas pydantic matplotlib scipy torch"),
        (("status", str(STUDIES / "tuning")), "not running", "matplotlib scipy torch"),
    ],
    ids=["help", "status"],
)
def test_nothing_heavy_is_imported_in_vain(arguments, said, heavy):
    program = (
        "import sys\n"
        f"sys.argv = {['joulelab', *arguments]}\n"
        "from joulelab.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print(sorted({set(heavy.split())} & set(sys.modules)))\n"
    )
    output = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert said in output
    assert output.splitlines()[-1] == "[]"


def test_list_names_every_kind_of_part_with_a_line(joulelab):
    data = json.loads(joulelab("list", "--json")[1])
    assert data["schema_version"] == 1
    del data["schema_version"]
    names = {kind: {part["name"] for part in parts} for kind, parts in data.items()}
    assert "quickstart" in names["studies"]
    assert {"DensePolyNN", "DenseLinearNN", "SimpleCNN"} <= names["networks"]
    assert {"digits", "fashion-mnist", "cifar10", "torchvision"} <= names["data_sets"]
    assert {"grid", "random", "bayesian-pi"} <= names["strategies"]
    assert {"nvml", "rapl", "estimate"} <= names["meters"]
    assert {"reference", "fast"} <= names["engines"]
    shipped = [part for parts in data.values() for part in parts if part["origin"] == "joulelab"]
    assert all(part["summary"] for part in shipped)


def test_list_shows_parts_of_ones_own_and_where_they_are_from(tmp_path):
    path = tmp_path / "parts.py"
    path.write_text(
        "from joulelab.learning.networks import networks\n\n\n"
        '@networks.register("cli-listed-net")\n'
        "def build(shape, classes):\n"
        '    """One [odd] network."""\n'
    )
    result = in_a_process("list", "--plugin", path, env={"COLUMNS": "300", "PATH": ""})
    assert result.returncode == 0, result.stderr
    listed = " ".join(result.stdout.split())
    assert f"cli-listed-net One [odd] network. [{path}]" in listed


def test_version_is_printed(joulelab):
    assert joulelab("--version") == (0, f"{__version__}\n", "")


def test_list_does_not_import_torch():
    result = in_a_process("list", env={"PYTHONPROFILEIMPORTTIME": "1", "PATH": ""})
    assert result.returncode == 0
    assert " torch\n" not in result.stderr


def test_run_prints_the_plan_tables_and_where_the_report_is(finished):
    out, _, (code, printed, progress) = finished
    assert code == 0, progress
    assert "Plan of tiny" in progress
    lines = printed.splitlines()
    assert lines[-1] == f"report  {out / 'report' / 'index.html'}"
    assert len(lines) <= 20, "the end of a run is one screen"
    assert max(map(len, lines[:-1])) <= 80, "but for a path, which is never broken"
    assert (out / "report" / "index.html").is_file()
    assert "estimated" in printed


def test_running_it_again_does_nothing_and_says_so(finished, joulelab, unpictured):
    out, study, _ = finished
    before = (out / "runs.sqlite").read_bytes()
    code, _, err = joulelab("run", study, "--out", out)
    assert code == 0
    assert "4 of them done already" in err
    assert (out / "runs.sqlite").read_bytes() == before


def test_a_results_folder_is_a_study_to_go_on_with(finished, joulelab, unpictured):
    out, _, _ = finished
    code, printed, err = joulelab("run", out, "--json")
    assert code == 0, err
    assert json.loads(printed)["folder"] == str(out)


def test_status_counts_runs_by_state(finished, joulelab):
    out, _, _ = finished
    data = json.loads(joulelab("status", out, "--json")[1])
    assert data["runs"]["layers"] == {"planned": 0, "running": 0, "finished": 4, "failed": 0}
    assert data["ledger_energy_gross_j"] > 0
    assert data["writing"] is False
    assert "4" in joulelab("status", out)[1]


def test_export_gives_csv_on_standard_output_and_parquet_in_a_file(finished, tmp_path, joulelab):
    out, _, _ = finished
    _, csv, _ = joulelab("export", out, "--format", "csv")
    assert len(csv.splitlines()) == 5
    _, predicted, _ = joulelab("export", out, "--table", "predictions")
    assert len(predicted.splitlines()) == 5
    assert "predicted_s" in predicted.splitlines()[0]
    code, _, err = joulelab("export", out, "--table", "curves")
    assert (code, err) == (0, "tiny has no curves: the table is empty\n")
    path = tmp_path / "runs.parquet"
    assert joulelab("export", out, "--format", "parquet", "--out", path)[0] == 0
    frame = pd.read_parquet(path)
    assert len(frame) == 4
    assert {"run_id", "accuracy", "energy_net_j", "conv_layers"} <= set(frame.columns)


def test_plan_predicts_without_leaving_anything(tmp_path, joulelab, monkeypatch):
    study = as_toml(tmp_path, experiment=layers_only())
    monkeypatch.chdir(tmp_path)
    _, printed, _ = joulelab("plan", study, "--json")
    data = json.loads(printed)
    assert data["runs"] == 8
    assert data["total"]["duration_s"] > 0
    assert data["total"]["energy_status"] == "estimated"
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.toml"]


def test_an_engine_that_cannot_train_everything_is_said_in_a_line_that_stays(
    tmp_path, capsys, monkeypatch, unpictured
):
    from grouping_engine import NAME, GroupingEngine  # and with it torch

    monkeypatch.setattr("joulelab.cli.running.end_on_sigterm", lambda: None)
    monkeypatch.setattr(GroupingEngine, "obstacle", too_deep)
    changes = {"engine": NAME, "experiment": layers_only(vary={"conv_layers": [1, 2]})}
    assert run_study(tiny(**changes), tmp_path / "out", as_json=False) == 0
    progress = " ".join(capsys.readouterr().err.split())
    remark = f"the {NAME} engine cannot train layers: conv_layers=2 (too deep): the whole study is"
    assert remark in progress
    assert "Plan of tiny (reference engine, fp32)" in progress
    show(timed(tiny(**changes, mix_engines=True)), as_json=True)
    printed = capsys.readouterr()
    assert "(too deep): the reference engine trains these" in " ".join(printed.err.split())
    data = json.loads(printed.out)
    assert [one["engine"] for one in data["configurations"]] == [NAME, "reference"]
    assert data["precision"] == "fp32"


def too_deep(engine, task, images, device):
    return "too deep" if task.network_options["conv_layers"] > 1 else None


def test_failed_runs_end_with_exit_code_3(tmp_path, joulelab, unpictured):
    (tmp_path / "parts.py").write_text(
        "from joulelab.learning.networks import networks\n"
        "from torch import nn\n\n\n"
        '@networks.register("cli-test-net")\n'
        "class Broken(nn.Module):\n"
        '    """Breaks down on its second batch."""\n\n'
        "    def __init__(self, shape, classes, width=1):\n"
        "        super().__init__()\n"
        "        self.layer = nn.Sequential(nn.Flatten(), nn.Linear(shape.size, classes))\n"
        "        self.calls = 0\n\n"
        "    def forward(self, images):\n"
        "        self.calls += 1\n"
        "        if self.calls > 5:\n"
        '            raise RuntimeError("worn out")\n'
        "        return self.layer(images)\n"
    )
    load_plugin(tmp_path / "parts.py")
    experiment = layers_only(network="cli-test-net", network_options={}, vary={"width": [1, 2]})
    study = as_toml(tmp_path, epochs=5, plugins=[str(tmp_path / "parts.py")], experiment=experiment)
    code, _, err = joulelab("run", study, "--out", tmp_path / "out")
    assert code == 3, err
    assert "worn out" in err
    assert "worn out" in joulelab("status", tmp_path / "out")[1]


def test_progress_is_a_line_for_each_run_or_none_at_all_and_failures_are_always_said(
    tmp_path, joulelab, undrawn
):
    energy = "[energy]\nmeters = ['estimate']\nidle_s = 0\ncool_down_s = 0\n"
    command = "[experiment.e]\nkind = 'command'\nvary = {a = ['true', 'false']}\ncommand = '{a}'"
    study = tmp_path / "s.toml"
    study.write_text(f"name = 's'\n{energy}{command}\nrepetitions = 1\n")
    code, _, err = joulelab("run", study, "--out", tmp_path / "verbose", "-v")
    assert code == 3
    assert re.search(r"^e: true: .* m?J, .* m?s$", err, re.MULTILINE)
    _, _, err = joulelab("run", study, "--out", tmp_path / "quiet", "-q")
    said = [line.partition(":")[0] for line in err.splitlines() if line[0] != " "]
    assert said[0] == "failed"
    assert said[-1].startswith("1 run failed")
    assert "2 runs" not in err
    assert "2 runs" in joulelab("run", study, "--out", tmp_path / "again")[2]


def test_a_line_of_a_run_names_its_repetition(tmp_path, joulelab, undrawn):
    energy = "[energy]\nmeters = ['estimate']\nidle_s = 0\ncool_down_s = 0\n"
    command = "[experiment.e]\nkind = 'command'\nvary = {a = ['true']}\ncommand = '{a}'"
    study = tmp_path / "s.toml"
    study.write_text(f"name = 's'\n{energy}{command}\nrepetitions = 3\n")
    code, _, err = joulelab("run", study, "--out", tmp_path / "out", "-v")
    assert code == 0, err
    assert sorted(re.findall(r"^e: true, (.*?): ", err, re.MULTILINE)) == [
        f"repetition {number} of 3" for number in (1, 2, 3)
    ]


def test_runs_are_named_by_what_tells_them_apart():
    def run(number, repetition, configuration="a"):
        return PlannedRun("", 0, 0, "e", "tuning", configuration, {}, number, repetition, 0)

    planned = [run(number, repetition) for number in range(3) for repetition in range(2)]
    names = RunNames([*planned, run(0, 0, "b")])
    assert names.of(planned[3:4]) == "e: a, round 2, repetition 2 of 2"
    assert names.of(planned[:2]) == "e: a, round 1, repetitions 1 to 2 of 2"
    assert names.of(planned[::2]) == "e: a, rounds 1 to 3, repetition 1 of 2"
    assert names.of([run(0, 0, "b")]) == "e: b, round 1"
    assert RunNames([run(0, 0)]).of([run(0, 0)]) == "e: a"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["run", "quikstart"], 2, "did you mean 'quickstart'?"),
        (["run", "quickstart", "--set", "epoch=3"], 2, "did you mean 'epochs'?"),
        (["run", "quickstart", "--set", "epochs=0"], 2, "epochs = 0 is not possible"),
        (["status", "/nowhere"], 1, "does not hold a study"),
        (["run", "quickstart", "--out", "/proc/joulelab"], 1, "cannot be written"),
        (["frobnicate"], 2, "joulelab: no such command 'frobnicate'\n"),
        (["plan", "--nope"], 2, "error: joulelab plan: no such option: --nope"),
        (["export", "DIR", "--table", "zz"], 2, "invalid value for '--table': 'zz' is not one of"),
        (["run", "quickstart", "--set", "dataset=folder:/nowhere", "--out", "OUT"], 1, "/nowhere"),
    ],
)
def test_a_mistake_is_one_or_two_lines_and_an_exit_code(
    arguments, code, words, tmp_path, joulelab, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    ended, _, said = joulelab(*arguments)
    assert ended == code
    assert words in said
    assert "Traceback" not in said
    error = said[said.find("error: ") :]
    assert len(error.strip().splitlines()) <= 2


def test_debug_shows_the_traceback(joulelab, monkeypatch):
    monkeypatch.setenv("JOULELAB_DEBUG", "")  # so that it is unset again
    code, _, said = joulelab("--debug", "status", "/nowhere")
    assert code == 1
    assert "Traceback" in said


def test_the_same_command_goes_on_in_the_same_folder(tmp_path):
    from joulelab.cli.options import default_folder

    plain = default_folder("quickstart", [])
    variant = default_folder("quickstart", ["dataset=cifar10"])
    assert plain == default_folder("quickstart", [])
    assert plain != variant
    assert default_folder(str(tmp_path), []) == tmp_path
    assert TINY["name"] not in str(plain)


def renamed(finished, folder, names):
    """A copy of a results folder with other names of its experiments, and without a report."""
    shutil.copytree(finished, folder, ignore=shutil.ignore_patterns("report"))
    study = tomllib.loads((folder / "study.toml").read_text())
    study["experiment"] = {names[old]: table for old, table in study["experiment"].items()}
    (folder / "study.toml").write_text(tomli_w.dumps(study))
    manifest = folder / "manifest.json"
    for old, new in names.items():
        manifest.write_text(manifest.read_text().replace(json.dumps(old), json.dumps(new)))
    with closing(sqlite3.connect(folder / "runs.sqlite")) as connection, connection:
        for table in ("runs", "rounds", "ledger"):
            for old, new in names.items():
                query = f"UPDATE {table} SET experiment = ? WHERE experiment = ?"
                connection.execute(query, (new, old))
    return folder


def test_the_names_of_experiments_may_be_of_any_length_and_kind(
    finished, tmp_path, joulelab, undrawn
):
    names = {"layers": f"Größe/../{'x' * 300}"}
    folder = renamed(finished[0], tmp_path / "out", names)
    code, _, said = joulelab("report", folder)
    assert code == 0, said
    before, after = (list((one / "report/figures").iterdir()) for one in (finished[0], folder))
    assert all(len(path.name) < 100 and path.name.isascii() for path in after)
    assert len(after) == len(before)


@pytest.mark.parametrize(
    ("link", "command", "code"),
    [
        ("report", ["report"], 1),
        ("report/figures", ["report"], 1),
        ("runs.parquet", ["export", "--format", "parquet"], 0),
        (".lock", ["status"], 0),
        (".lock", ["run"], 1),
        ("traces", ["run"], 1),
    ],
)
def test_nothing_is_written_where_a_link_in_a_results_folder_leads(
    finished, tmp_path, joulelab, link, command, code
):
    folder, elsewhere = tmp_path / "sent", tmp_path / "home"
    left_out = shutil.ignore_patterns("report", "traces", ".lock")
    shutil.copytree(finished[0], folder, ignore=left_out)
    elsewhere.mkdir()
    victim = elsewhere / "victim"
    victim.write_text("of the user")
    (folder / link).parent.mkdir(exist_ok=True)
    (folder / link).symlink_to(victim if "." in link else elsewhere)
    ended, _, said = joulelab(command[0], folder, *command[1:])
    assert ended == code, said
    if code:
        assert f"{folder / link} " in said
        assert "link" in said
    assert victim.read_text() == "of the user"
    assert list(elsewhere.iterdir()) == [victim]


def test_long_overrides_that_differ_at_the_end_have_folders_of_their_own():
    from joulelab.cli.options import default_folder

    long = [f"summary={'x' * 150}"]
    folders = {default_folder("quickstart", [*long, f"seed={seed}"]) for seed in (1, 2)}
    assert len(folders) == 2
    assert all(len(folder.name) <= 120 for folder in folders)


@pytest.mark.parametrize("command", ["status", "export", "run"])
def test_a_name_that_no_file_can_have_is_no_mistake_of_joulelab(joulelab, command):
    code, _, said = joulelab(command, "a" * 300)
    assert code == 2
    assert "defect" not in said
    assert len(said) < 200


def test_every_command_is_listed_in_a_group(joulelab):
    code, out, _ = joulelab("--help")
    assert code == 0
    headings = [line for line in out.splitlines() if re.fullmatch(r"\w+:", line)]
    assert headings == ["Options:", "Measure:", "Study:", "Analyse:", "Serve:", "Help:"]
    listed = re.findall(r"^  ([a-z]+) {2,}", out, re.MULTILINE)
    assert sorted(listed) == sorted(typer.main.get_command(app).commands)
    assert "..." not in out.partition("Measure:")[2]


def test_commands_are_completed_in_a_shell(tmp_path):
    words = {"_JOULELAB_COMPLETE": "complete_bash", "COMP_WORDS": "joulelab mea", "COMP_CWORD": "1"}
    done = subprocess.run(
        [Path(sys.executable).with_name("joulelab")],
        env=os.environ | words,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["measure"], done.stderr
