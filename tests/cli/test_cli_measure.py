"""``joulelab measure`` as its users call it: exit codes, output, signals, tables, JSON."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from subprocess import CompletedProcess

import pandas as pd
import psutil
import pytest

from joulelab.analysis.comparison import Interval
from joulelab.cli import comparing, main

PYTHON = sys.executable


@pytest.fixture
def measure(monkeypatch, capfd):
    """Measures a command in this process, with the output of both."""

    def run(*arguments, idle=0):
        written = ["joulelab", "measure", "--idle", str(idle), *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", written)
        with pytest.raises(SystemExit) as ended:
            main()
        return CompletedProcess(written, ended.value.code, *capfd.readouterr())

    return run


def command(*arguments):
    return [PYTHON, "-m", "joulelab", "measure", "--idle", "0", *map(str, arguments)]


def test_output_and_exit_code_are_the_commands_own(measure):
    done = measure("--", PYTHON, "-c", "print('out'); raise SystemExit(3)")
    assert done.returncode == 3
    assert done.stdout == "out\n"
    first, second, third = done.stderr.splitlines()
    assert re.fullmatch(
        r"About [\d.]+ m?J, [\d.]+ m?s; estimated, could be .+ to [\d.]+ m?J", first
    )
    assert second.startswith("No sensor measured this: good for comparing, not for quoting")
    assert third == "CO2e unknown: name a place, for instance --place NLD"


def test_options_of_the_command_need_no_dashes_before_them(measure):
    done = measure(PYTHON, "-c", "import sys; print(sys.argv[1:])", "--json", "--repeat", "2")
    assert done.stdout == "['--json', '--repeat', '2']\n"


def test_standard_input_goes_to_the_command():
    line = command("--", PYTHON, "-c", "print(input()[::-1])")
    done = subprocess.run(line, input="abc\n", capture_output=True, text=True, check=False)
    assert done.stdout == "cba\n"


def test_json_is_alone_on_standard_output(measure):
    done = measure("--json", "--place", "NLD", "--", PYTHON, "-c", "print('out')")
    data = json.loads(done.stdout)
    assert "out\n" in done.stderr
    assert (data["schema_version"], data["exit_code"]) == (1, 0)
    measurement = data["measurement"]
    assert measurement["total"]["status"] == "estimated"
    assert measurement["total"]["gross_j"] > 0
    assert measurement["footprint"]["year"] > 2000
    assert measurement["co2e_g"] > 0
    assert {one["domain"] for one in measurement["readings"]} >= {"cpu:0", "dram:0"}


def test_a_closed_standard_output_is_heard_by_nobody_and_no_mistake():
    line = f"{shlex.join(command('--json', '--', 'sh', '-c', 'exit 3'))} >&- <&-"
    done = subprocess.run(line, shell=True, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (3, "")


def test_the_time_of_children_and_threads_is_in_the_estimate(measure):
    busy = "import time\nwhile time.process_time() < 0.2: pass"
    program = f"import subprocess, sys; subprocess.run([sys.executable, '-c', '''{busy}'''])"
    done = measure("--json", "--", PYTHON, "-c", program)
    readings = json.loads(done.stdout)["measurement"]["readings"]
    (cpu,) = [one for one in readings if one["domain"] == "cpu:0"]
    watts = json.loads(done.stdout)["measurement"]["total"]["gross_j"]
    assert cpu["gross_j"] > 0.2 * 0.5
    assert watts >= cpu["gross_j"]


def test_a_command_that_is_killed_gives_its_reading_and_the_code_of_a_shell(measure):
    done = measure("--", PYTHON, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    assert done.returncode == 128 + signal.SIGSEGV
    assert done.stderr.startswith("About ")


def test_the_domains_are_shown_on_request(measure):
    done = measure("-v", "--place", "NLD", "--", "true")
    assert "cpu:0" in done.stderr
    assert "longest gap" in done.stderr


def test_co2e_is_said_once_for_repeated_runs(measure):
    done = measure("--repeat", "2", "--place", "NLD", "--", "true")
    assert done.stderr.count("CO2e") == 1
    assert re.search(r"^Mean of 2 runs: [\d.]+ m?J", done.stderr, re.MULTILINE)


def test_without_progress_the_answer_stays(measure):
    done = measure("-q", "--repeat", 2, "--", "true")
    assert done.stderr.startswith("Mean of 2 runs: ")


def test_what_is_measured_by_a_sensor_is_said_with_its_bound(powercap, measure):
    done = measure("--domain", "cpu:0", "--", PYTHON, "-c", "")
    assert re.match(r"[\d.]+ m?J ± [\d.]+ m?J, [\d.]+ m?s; measured", done.stderr)
    assert "good for comparing" not in done.stderr


def test_a_script_without_its_interpreter_is_guessed(measure, tmp_path):
    script = tmp_path / "train.py"
    script.write_text("")
    done = measure("--", script, "--epochs", "3")
    assert done.returncode == 126
    assert f"did you mean python {script} --epochs 3?" in done.stderr


def test_a_command_in_quotes_is_asked_for_without(measure):
    done = measure("--", f"{PYTHON} train.py")
    assert done.returncode == 127
    assert f"without the quotes: joulelab measure -- {PYTHON} train.py" in done.stderr


def test_a_template_is_measured_with_every_value(measure):
    spin = "import time\nwhile time.process_time() < {s}: pass"
    done = measure("--json", "--repeat", "2", "--sweep", "s=0.05,0.3,0.1", "--", PYTHON, "-c", spin)
    data = json.loads(done.stdout)
    assert list(data["commands"]) == ["s=0.05", "s=0.3", "s=0.1"]
    assert set(data["ratio"]) == {"s=0.3", "s=0.1"}
    # Three commands: each of the two intervals is of 97.5 %, so that both hold in 95 %.
    assert data["ratio"]["s=0.3"]["gross_j"]["confidence"] == pytest.approx(0.975)
    assert data["sentence"].startswith("Least energy (estimated): s=0.05; ")


@pytest.mark.parametrize(("name", "code"), [("no-such-program-anywhere", 127), (os.devnull, 126)])
def test_a_command_that_cannot_be_started_has_the_code_of_a_shell(name, code, measure):
    done = measure("--", name)
    assert done.returncode == code
    assert f"{name} cannot be started" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 2


def test_the_trace_and_its_picture_are_written(tmp_path, measure):
    trace, plot = tmp_path / "t.parquet", tmp_path / "p.png"
    done = measure(
        "--trace", trace, "--plot", plot, "--", PYTHON, "-c", "import time; time.sleep(0.3)"
    )
    assert done.returncode == 0, done.stderr
    frame = pd.read_parquet(trace)
    assert set(frame["domain"]) == {"cpu:0", "dram:0"}
    assert frame["t_s"].max() > 0.25
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_repeated_runs_have_mean_deviation_and_interval(measure):
    done = measure("--json", "--repeat", "3", "--warmup", "1", "--", PYTHON, "-c", "")
    data = json.loads(done.stdout)
    assert [run["block"] for run in data["runs"]] == [0, 1, 2]
    gross = data["summary"]["gross_j"]
    values = [run["measurement"]["total"]["gross_j"] for run in data["runs"]]
    assert gross["n"] == 3
    assert gross["value"] == pytest.approx(sum(values) / 3)
    assert gross["low"] < gross["value"] < gross["high"]
    assert "warm-up" in done.stderr


def test_two_commands_are_compared_in_blocks_of_random_order(measure):
    shorter, longer = (
        f"{PYTHON} -IS -c \"exec('import time\\nwhile time.process_time() < {s}: pass')\""
        for s in (0.06, 0.18)
    )
    done = measure("--json", "--repeat", "4", "--seed", "1", "--compare", shorter, longer)
    data = json.loads(done.stdout)
    order = [run["command"] for run in data["runs"]]
    assert sorted(order[0:2]) == sorted(order[2:4]) == sorted(order[4:6]) == ["A", "B"]
    assert len({tuple(order[n : n + 2]) for n in (0, 2, 4, 6)}) == 2, "some blocks begin with B"
    ratio = data["ratio"]["B"]["gross_j"]
    assert ratio["n"] == 4
    assert 1.3 < ratio["low"] <= ratio["value"] <= ratio["high"] < 5
    assert data["sentence"].startswith("Energy of B over A (estimated): ")
    assert data["sentence"].endswith(": more energy")


def test_of_two_commands_it_is_said_first_which_used_less(joulelab):
    code, out, err = joulelab("measure", "--idle", 0, "--repeat", 2, "--compare", "true", "true")
    lines = [line.strip() for line in err.splitlines()]
    said = lines[4:]
    assert (code, out) == (0, "")
    assert said[0].startswith("Energy of B over A (estimated): ")
    assert "no difference shown; about" in " ".join(said[:2])
    assert said[-1] == "CO2e unknown: name a place, for instance --place NLD"
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("budget", ["0.5 s", "0.5J"])
def test_a_command_ends_when_its_budget_is_spent(budget, measure):
    done = measure("--json", "--budget", budget, "--", PYTHON, "-c", "while True: pass")
    data = json.loads(done.stdout)
    assert done.returncode == 5
    assert data["ended_by"] == "SIGTERM"
    assert data["exit_code"] == 128 + signal.SIGTERM
    whole = data["measurement"]
    assert (whole["duration_s"] if "s" in budget else whole["total"]["gross_j"]) >= 0.45


def test_a_command_that_ends_by_itself_has_kept_its_budget(measure):
    done = measure("--budget", "1h", "--", PYTHON, "-c", "raise SystemExit(7)")
    assert done.returncode == 7
    assert "budget" not in done.stderr


def test_a_command_that_ignores_the_request_to_end_is_killed(measure):
    program = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: pass"
    done = measure("--budget", "0.5 s", "--grace", "0.2", "--", PYTHON, "-c", program)
    assert done.returncode == 5
    assert "The budget of 0.50 s is spent: ended with SIGKILL" in done.stderr


def test_what_a_command_has_started_ends_with_it(measure, tmp_path):
    pid = tmp_path / "pid"
    # It ends some day even if this test is killed.
    loop = "end = time.time() + 60\nwhile time.time() < end: pass"
    started = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid()))\n{loop}"
    line = f"{shlex.join([PYTHON, '-c', started])} & wait"
    done = measure("--budget", "3 s", "--", "sh", "-c", line)
    assert done.returncode == 5
    child = int(pid.read_text())
    deadline = time.monotonic() + 10
    while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the child is still running"
        time.sleep(0.05)


def test_a_budget_that_idle_power_spends_is_refused(powercap, joulelab):
    code, _, err = joulelab("measure", "--idle", 1, "--budget", "0.001J", "--", "true")
    assert code == 2
    assert "idle power alone" in err


def test_a_run_that_fails_while_it_warms_up_leaves_nothing_measured(measure):
    done = measure("--json", "--warmup", "1", "--", "sh", "-c", "exit 3")
    assert done.returncode == 3
    assert json.loads(done.stdout)["measurement"] is None


def test_a_failing_run_ends_the_repetition_with_its_code(measure):
    done = measure("--repeat", "5", "--", PYTHON, "-c", "raise SystemExit(9)")
    assert done.returncode == 9
    assert done.stderr.count("exit code 9") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "no command is named"),
        (("--compare", "a"), "--compare is for 2 to 26 command lines, and not for 1"),
        (("--compare", "a", "b", "--repeat", "2"), "--repeat comes after the command lines"),
        (("--compare", "--sweep", "n=1,2", "true {n}", "b"), "both say what is compared"),
        (("--sweep", "n=1,1", "--", "true", "{n}"), "is not a name with different values"),
        (("--sweep", "n=1,2", "--", "true", "{m}"), "the command has no {n}"),
        (("--trace", "t.txt", "--", "true"), "a trace must be Parquet or CSV"),
        (("--plot", "p.gif", "--", "true"), "unknown figure format"),
        (("--repeat", "2", "--trace", "t.csv", "--", "true"), "for a single run"),
        (("--meter", "nvlm", "--", "true"), "did you mean 'nvml'?"),
        (("--place", "Atlantis", "--", "true"), "Atlantis"),
        (("--budget", "3 epochs", "--", "true"), "only trainings by joulelab have epochs"),
        (("--budget", "3", "--", "true"), "is not an amount above 0 with a unit"),
        (("--budget", "1gCO2e", "--", "true"), "needs the origin of the electricity"),
        (("--budget", "1J", "--repeat", "2", "--", "true"), "--budget is for a single run"),
        (("--domain", "gpu:9", "--", "true"), "'gpu:9' cannot be read here"),
        (("--interval", "0", "--", "true"), "interval"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_run(
    arguments, words, tmp_path, monkeypatch, joulelab
):
    monkeypatch.chdir(tmp_path)
    code, out, err = joulelab("measure", "--idle", 0, *arguments)
    assert code in (1, 2)
    assert out == ""
    assert words in err
    assert "Traceback" not in err


def test_strict_without_a_sensor_runs_nothing(measure):
    done = measure("--strict", "--meter", "estimate", "--", PYTHON, "-c", "print('ran')")
    assert done.returncode == 1
    assert "nothing can be measured here" in done.stderr
    assert done.stdout == ""


def test_strict_with_a_sensor_leaves_estimates_out(powercap, measure):
    done = measure("--strict", "--json", "--", PYTHON, "-c", "")
    assert done.returncode == 0, done.stderr
    measurement = json.loads(done.stdout)["measurement"]
    assert measurement["total"]["status"] == "measured"
    assert [one["domain"] for one in measurement["readings"]] == ["cpu:0"]


def test_strict_with_a_sensor_that_is_lost_ends_with_4(powercap, measure):
    empty = (
        f"import time; time.sleep(0.5); open({str(powercap / 'energy_uj')!r}, 'w'); time.sleep(1)"
    )
    done = measure("--strict", "--", PYTHON, "-c", empty)
    assert done.returncode == 4
    assert "said nothing for" in done.stderr


def test_strict_with_a_counter_that_stands_still_ends_with_4(still_powercap, measure):
    done = measure("--strict", "--", PYTHON, "-c", "import time; time.sleep(1.2)")
    assert done.returncode == 4
    assert "cpu:0: rapl: stood still for 1." in done.stderr
    assert "--strict: not measured: cpu:0" in done.stderr


def test_a_second_measurement_refuses_on_request_and_the_first_is_named(
    tmp_path, monkeypatch, measure
):
    monkeypatch.setenv("JOULELAB_LOCK_DIR", str(tmp_path))
    first = subprocess.Popen(
        command("--label", "the first", "--", PYTHON, "-c", "print('on', flush=True); input()"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert first.stdout.readline() == b"on\n"
    second = measure("--busy", "refuse", "--", PYTHON, "-c", "print('ran')")
    assert second.returncode == 1
    assert f"process {first.pid} (the first) is measuring on cpu" in second.stderr
    assert second.stdout == ""
    first.communicate(b"\n", timeout=60)
    assert first.returncode == 0


def test_a_measured_command_may_measure_itself(measure):
    program = "import joulelab\nwith joulelab.measure(busy='refuse') as m: pass\nprint(m.status)"
    done = measure("--", PYTHON, "-c", program)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "estimated\n"


def test_idle_power_is_measured_before_and_after(measure):
    began = time.monotonic()
    done = measure("--json", "--", PYTHON, "-c", "", idle=0.3)
    total = json.loads(done.stdout)["measurement"]["total"]
    assert time.monotonic() - began > 0.6
    assert total["net_j"] == pytest.approx(total["gross_j"] - total["idle_j"])


def test_a_ratio_of_which_nothing_is_known_is_not_shown_with_thirty_digits():
    words = comparing._ratio_text(Interval(2.83, 0.0, 2.3e27, 5.0, 2))
    assert words == "2.83 (0.00 to more than 1,000)"


def test_the_trace_is_written_though_nobody_reads_the_answer(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    path = tmp_path / "trace.csv"
    options = ("--idle", "0", "--busy", "share", "--trace", str(path))
    line = [sys.executable, "-m", "joulelab", "measure", *options, "--", "true"]
    subprocess.run(line, stdout=subprocess.DEVNULL, stderr=writing, check=False)
    os.close(writing)
    assert "t_s,domain" in path.read_text()
