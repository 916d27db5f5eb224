"""Commands as experiments: arguments, metrics, failures, and what is left behind."""

import json
import math
import os
import sqlite3
import stat
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from joulelab.errors import SpecError, UsageError
from joulelab.kinds.program.command_line import check_placeholders, fill, placeholders, split
from joulelab.kinds.program.executor import make_empty
from joulelab.kinds.program.metrics import (
    Metric,
    Patterns,
    Result,
    ResultError,
    read_events,
    read_result,
)
from joulelab.kinds.program.process import END_BYTES, KEPT_BYTES, Child, Stream
from joulelab.study.listener import Listener
from joulelab.study.results import Results
from joulelab.study.study import Study
from joulelab.study.study_file import check_spec

ENERGY = {"meters": ["estimate"], "interval_s": 0.02, "idle_s": 0, "cool_down_s": 0}
PYTHON = sys.executable


def study(folder, **table):
    """A study of one experiment with the factor ``a``, in a folder."""
    full = {"kind": "command", "repetitions": 1, "vary": {"a": [1]}, "cwd": str(folder)} | table
    return Study(check_spec({"name": "s", "energy": ENERGY, "experiment": {"e": full}}))


def script(folder, text):
    """A Python program in a folder: the command that runs it with the level of ``a``."""
    (folder / "work.py").write_text(f"import sys, json, os, time\na = sys.argv[1]\n{text}\n")
    return f"{PYTHON} work.py {{a}}"


def run(folder, **table):
    """The rows of a study that has been run."""
    return study(folder, **table).run(folder / "out").to_frame()


def test_arguments_are_split_before_they_are_filled_in(tmp_path):
    """Whatever is in a level is one argument, and no shell sees it."""
    levels = ["a b", 'say "hi"', "; touch owned", "$(touch owned)", "two\nlines", "it's", "*", "ä"]
    command = script(tmp_path, 'print(json.dumps({"seen": a}))')
    frame = run(tmp_path, command=command, vary={"a": levels})
    assert sorted(frame["seen"]) == sorted(levels)
    assert not (tmp_path / "owned").exists()


def test_a_shell_runs_the_line_only_if_asked_and_its_levels_are_quoted(tmp_path):
    levels = ["a b", "; touch owned", "it's"]
    line = 'printf \'{"seen": %d, "b": "%s"}\\n\' 1 {a} | cat'
    frame = run(
        tmp_path,
        command=line.replace('{"', '{{"').replace('"}', '"}}'),
        shell=True,
        vary={"a": levels},
    )
    assert sorted(frame["b"]) == sorted(levels)
    assert not (tmp_path / "owned").exists()


def test_placeholders_have_formats_and_every_run_its_seed_and_folder(tmp_path):
    text = (
        'open(os.path.join(sys.argv[3], "mine"), "w").close()\n'
        'print(json.dumps({"rate": a, "the_seed": int(sys.argv[2]), "env": os.environ["RATE"]}))'
    )
    command = script(tmp_path, text).replace("{a}", "{a:.3f} {seed} {out}")
    frame = run(
        tmp_path, command=command, vary={"a": [0.1, 0.25]}, repetitions=2,
        environment={"RATE": "r{a}"},
    )  # fmt: skip
    assert set(frame["rate"]) == {"0.100", "0.250"}
    assert set(frame["env"]) == {"r0.1", "r0.25"}
    assert (frame["the_seed"] == frame["seed"]).all()
    assert frame["seed"].nunique() == 4
    assert (frame["seed"] < 2**31).all()  # C's int, numpy.random.seed
    found = sorted(path.parent.name for path in (tmp_path / "out" / "outputs").glob("*/mine"))
    assert found == ["00001", "00002", "00003", "00004"]


@pytest.mark.parametrize(
    ("source", "table"),
    [
        ('print("epoch 1"); print(json.dumps({"acc": 0.5, "loss": 2.0}))', {}),
        ('print("epoch 1 loss=9"); print("loss=2.0 acc=0.5")', {
            "metrics": {
                "acc": {"better": "max", "pattern": r"acc=(\S+)"},
                "loss": {"better": "min", "pattern": r"loss=(\S+)"},
            }
        }),
        ('json.dump({"acc": 0.5, "loss": 2.0}, open("m.json", "w"))', {"metrics_file": "m.json"}),
        ('open(f"m{a}.csv", "w").write("acc,loss\\n0.1,9\\n0.5,2.0\\n")',
         {"metrics_file": "m{a}.csv"}),
        ('open(sys.argv[2] + "/m.jsonl", "w").write(\'{"acc": 0}\\n{"acc": 0.5, "loss": 2}\\n\')',
         {"metrics_file": "{out}/m.jsonl"}),
    ],
)  # fmt: skip
def test_metrics_come_from_the_output_a_file_or_a_pattern(tmp_path, source, table):
    command = f"{script(tmp_path, source)} {{out}}"
    frame = run(tmp_path, command=command, **{"metrics": {"acc": "max", "loss": "min"}} | table)
    assert frame[["acc", "loss"]].astype(float).to_numpy().tolist() == [[0.5, 2.0]]


FAILING = {
    "sys.exit('no data')": "exit code 1: no data",
    "raise ValueError('too wide')": "ValueError: too wide",
    "os.kill(os.getpid(), 11)": "signal 11",
    "print('done')": "no metric was found: its last line is 'done'",
    "pass": "it has printed nothing",
    "print('{\"other\": 1}')": "has none of them",
    'print(\'{"acc": 1, "accuracy": 93.1}\')': "accuracy_percent",
    "print('{\"acc\": [1]}')": "of type list",
    "time.sleep(60)": "took longer than 1.00 s",
    "print('{\"acc\": 1}')": "",
}


@pytest.fixture(scope="module")
def failing(tmp_path_factory):
    """The states and errors of runs that fail, and of a last one that does not."""
    folder = tmp_path_factory.mktemp("failing")
    branches = "\n".join(f"if a == '{n}': {body}" for n, body in enumerate(FAILING))
    table = {"vary": {"a": list(range(len(FAILING)))}, "metrics": {"acc": "max"}}
    return run(folder, command=script(folder, branches), timeout_s=1, **table).set_index("a")


@pytest.mark.parametrize("body", FAILING)
def test_a_run_that_fails_is_kept_with_its_reason(failing, body):
    row = failing.loc[list(FAILING).index(body)]
    assert row["state"] == ("failed" if FAILING[body] else "finished")
    assert FAILING[body] in str(row["error"])
    assert row["energy_gross_j"] >= 0


def test_a_command_that_fails_while_it_is_timed_is_told_once(tmp_path):
    heard = []
    listener = Listener()
    listener.doing = heard.append
    made = study(tmp_path, command=script(tmp_path, "sys.exit('no data')"), vary={"a": [1, 2]})
    made.predict(listener=listener)
    (told,) = (one for one in heard if "no data" in one)
    assert told == "going on without the timing of e: a=1: exit code 1: no data"


def test_a_metric_that_is_not_a_number_or_missing_is_unknown_with_a_reason(tmp_path):
    source = 'print({"1": \'{"acc": NaN, "loss": 1}\', "2": \'{"loss": 2}\'}[a])'
    frame = run(
        tmp_path, command=script(tmp_path, source), vary={"a": [1, 2]},
        metrics={"acc": "max", "loss": "min"},
    ).set_index("a")  # fmt: skip
    assert list(frame["state"]) == ["finished", "finished"]
    assert frame["acc"].isna().all()
    assert frame.loc[1, "remarks"] == "acc was nan"
    assert frame.loc[2, "remarks"] == "acc is not in the result of this run"
    assert list(frame["diverged"]) == [True, False]


def test_a_value_with_the_name_of_a_column_is_left_out_and_that_is_said():
    result = Result()
    result.add({"loss": 0.5, "duration_s": 3, "steps": 10})
    assert result.values == {"loss": 0.5, "steps": 10}
    assert result.remarks == {
        "duration_s": "duration_s is a column of the results: rename it in the program"
    }


@pytest.mark.parametrize(
    ("printed", "value", "remark"),
    [
        ('{"acc": 1e400}', None, "acc was inf"),
        (f'{{"acc": 1{"0" * 400}}}', None, "acc was inf"),
        ('{"acc": "0.5"}', 0.5, None),
        ('{"acc": null}', None, "acc is empty in the result of this run"),
        ('{"acc": "it was 1"}', "", "acc is the text 'it was 1', not a number"),
        ('{"acc": 1, "accuracy": "high"}', 1, "accuracy is the text 'high', not a number"),
        ('{"acc": 1, "classes": [1, 2]}', 1, "classes is of type list, not a number"),
        ('{"acc": 1, "a\\ud800": "\\ud800\\u0000b"}', 1, None),
        ('\ufeff{"acc": 1, "text": "one\u2028line"}\r\n', 1, None),
    ],
)
def test_whatever_the_result_has_can_be_stored(printed, value, remark):
    """A list, text or surrogate spoils neither the run nor the results folder."""
    result = Result()
    read_result(result, f"epoch 1\n{printed}")
    if value == "":
        with pytest.raises(ResultError, match="is the text"):
            result.check(["acc"], "")
    else:
        result.check(["acc"], "")
        assert result.values["acc"] == value
    assert [*result.remarks.values()] == ([] if remark is None else [remark])
    assert result.diverged == ("was inf" in (remark or ""))
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("SELECT json(?)", [json.dumps(result.values)])
    "".join(
        [*result.values, *(one for one in result.values.values() if isinstance(one, str))]
    ).encode()


def test_the_last_match_in_a_line_that_is_written_again_and_again_counts():
    """As by a progress bar, which ends its line only once."""
    patterns = Patterns({"loss": Metric(better="min", pattern=r"loss: (\S+)|\s$")})
    patterns.search("1/2 loss: 0.9\r2/2 loss: 0.5\r")
    assert patterns.found == {"loss": 0.5}


def test_a_file_that_another_run_has_written_is_not_the_result(tmp_path):
    old = tmp_path / "m.json"
    old.write_text('{"acc": 0.1}')
    os.utime(old, (time.time() - 100, time.time() - 100))
    source = 'if a == "1": json.dump({"acc": 0.9}, open("m.json", "w"))'
    frame = run(
        tmp_path, command=script(tmp_path, source), metrics={"acc": "max"}, metrics_file="m.json",
        vary={"a": [1, 2]}, repetitions=3,
    )  # fmt: skip
    assert (frame["state"] == "finished").tolist() == (frame["a"] == 1).tolist()
    assert frame["error"].dropna().str.contains("of an earlier run").all()


def test_a_file_that_would_be_waited_for_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "events.jsonl")
    assert read_events(tmp_path / "events.jsonl").curves == []
    with pytest.raises(ResultError, match="is not a file"):
        read_result(Result(), "", tmp_path / "events.jsonl")


def test_output_beyond_the_limit_is_dropped_and_its_end_kept(tmp_path):
    more = KEPT_BYTES + END_BYTES
    source = f'sys.stdout.write("x" * {more}); print(); print(\'{{"acc": 1}}\')'
    frame = run(tmp_path, command=script(tmp_path, source), metrics={"acc": "max"})
    assert frame["acc"][0] == 1
    (kept,) = (tmp_path / "out" / "outputs").glob("*/stdout.txt")
    assert KEPT_BYTES <= kept.stat().st_size < KEPT_BYTES + 100
    assert b"joulelab dropped" in kept.read_bytes()[-100:]


def test_what_a_program_leaves_running_is_ended_with_it(tmp_path):
    source = (
        "import subprocess\n"
        "left = subprocess.Popen(['sleep', '600'])\n"
        "print(json.dumps({'left': left.pid}))"
    )
    frame = run(tmp_path, command=script(tmp_path, source))
    pid = int(frame["left"][0])
    limit_s = time.monotonic() + 60
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < limit_s
        time.sleep(0.05)


def test_a_program_that_closes_its_output_early_is_waited_for(tmp_path):
    stdout, stderr = Stream(tmp_path / "o"), Stream(tmp_path / "e")
    code = "import os, time; os.close(1); os.close(2); time.sleep(0.3)"
    child = Child.start(
        [PYTHON, "-c", code], cwd=tmp_path, environment=os.environ, stdout=stdout, stderr=stderr
    )
    assert child.wait()
    assert child.process.returncode == 0


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"command": "no-such-program {a}"}, "no-such-program was not found"),
        ({"command": "./here {a}"}, "./here was not found"),
        ({"command": "true {a}", "cwd": "/no/such/folder"}, "/no/such/folder does not exist"),
    ],
)
def test_a_program_that_is_not_there_is_told_before_anything_runs(tmp_path, table, said):
    with pytest.raises(SpecError) as refused:
        study(tmp_path, **table).run(tmp_path / "out")
    assert said in str(refused.value)
    assert Results.open(tmp_path / "out").to_frame()["state"].tolist() in ([], ["planned"])


@pytest.mark.parametrize("made", ["file", "link", "read-only", "nothing"])
def test_the_folder_of_a_run_is_emptied_whatever_a_program_has_made_of_it(made):
    user = os.geteuid()
    with tempfile.TemporaryDirectory() as name:
        folder, other = Path(name, "00001"), Path(name, "other")
        other.mkdir()
        (other / "kept").touch()
        if made == "file":
            folder.touch()
        elif made == "link":
            folder.symlink_to(other)
        elif made == "read-only":
            (folder / "deep").mkdir(parents=True)
            (folder / "deep" / "file").touch()
            (folder / "deep").chmod(0o500)
        if user == 0:  # who may do anything
            for path in (Path(name), folder, folder / "deep"):
                if path.exists():
                    os.chown(path, 65534, 65534)
            os.seteuid(65534)
        try:
            make_empty(folder)
        finally:
            os.seteuid(user)
        assert list(folder.iterdir()) == []
        assert not folder.is_symlink()
        assert (other / "kept").exists()


def test_a_script_without_its_interpreter_is_told(tmp_path):
    (tmp_path / "here").write_text("#!/no/such/interpreter\n")
    (tmp_path / "here").chmod(stat.S_IRWXU)
    frame = run(tmp_path, command="./here {a}")
    assert "the interpreter in its first line does not exist" in frame["error"][0]


def test_a_file_that_is_not_executable_fails_with_the_remedy(tmp_path):
    (tmp_path / "here").write_text("#!/bin/sh\nexit 0\n")
    frame = run(tmp_path, command="./here {a}")
    assert "cannot be started: Permission denied" in frame["error"][0]
    (tmp_path / "here").chmod(stat.S_IRWXU)
    again = study(tmp_path, command="./here {a}").run(tmp_path / "out2").to_frame()
    assert list(again["state"]) == ["finished"]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("train {b}", "{b} is not a factor"),
        ("train", "'a' does not appear in the command"),
        ("train {a", "a brace begins or ends a placeholder"),
        ("train {}", "a brace begins"),
        ("train {a.b} {a}", "a brace begins"),
        ("train '{a}", "cannot be split into arguments: no closing quotation"),
        ("", "the command is empty"),
    ],
)
def test_a_command_that_does_not_fit_its_factors_is_refused(tmp_path, command, said):
    with pytest.raises(SpecError) as refused:
        study(tmp_path, command=command)
    assert said in str(refused.value)


def test_filling_in():
    assert split('a "b c" {x}') == ["a", "b c", "{x}"]
    assert split(["a b"]) == ["a b"]
    assert placeholders("{a}-{b-c:g} {{d}}") == ["a", "b-c"]
    assert fill("{a} {b} {c:03d} {{}}", {"a": True, "b": 0.1, "c": 7}) == "true 0.1 007 {}"
    with pytest.raises(UsageError, match="does not have the format"):
        fill("{a:d}", {"a": "x"})
    check_placeholders(["{a} {seed}"], ["a"], ["seed"])


def test_events_that_are_not_events_are_left_out(tmp_path):
    lines = [
        '{"t": 1.0, "phase": "load", "edge": "begin"}',
        '{"t": 1.5, "metric": "loss", "value": 2}',
        "garbage",
        '{"t": "x", "metric": "loss", "value": 2}',
        '{"t": 2.0, "metric": "loss", "value": NaN, "step": 7}',
        '{"t": 2.0, "metric": "loss", "value": 1, "step": null}',
        '{"t": 2.0, "metric": "loss", "value": 1, "step": "x"}',
        f'{{"t": 2.0, "metric": "loss", "value": 1{"0" * 400}, "step": 1{"0" * 30}}}',
        f'{{"t": 1{"0" * 400}, "metric": "loss", "value": 1}}',
        '{"t": 3.0, "phase": "load", "edge": "end"}',
        '{"t": 4.0, "phase": "load", "edge": "end"}',
    ]
    (tmp_path / "events.jsonl").write_text("\n".join(lines))
    events = read_events(tmp_path / "events.jsonl")
    assert events.phases == [("load", 1.0, 3.0)]
    assert [one[:2] for one in events.curves] == [("loss", step) for step in (0, 7, 2, 3, 4)]
    assert events.last == {"loss": math.inf}
    assert read_events(tmp_path / "none").curves == []
    assert json.loads(lines[0])
