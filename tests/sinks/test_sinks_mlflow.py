"""Measurements and the runs of studies in MLflow, in a folder of its own kind of store."""

import json

import pytest
from kept_sink import measuring, until

import joulelab
from joulelab.errors import JoulelabError, UsageError
from joulelab.sinks.study_log import StudyLog, log_study
from joulelab.study.results import Results
from joulelab.study.study import Study
from joulelab.study.study_file import check_spec


@pytest.fixture(scope="module", autouse=True)
def installed():
    """Importing MLflow takes seconds, which collecting tests need not."""
    pytest.importorskip("mlflow")


@pytest.fixture
def uri(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return str(tmp_path / "mlruns")


def client_of(uri):
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def runs(uri, experiment):
    """Every run of an experiment."""
    client = client_of(uri)
    found = client.get_experiment_by_name(experiment)
    return client.search_runs([found.experiment_id]) if found else []


def test_a_measurement_is_a_run(processor, quick, uri, capsys):
    tracked = joulelab.track(
        range(3), quiet=True, label="mine", meters=["rapl"], to=f"mlflow:{uri}", place="NLD"
    )
    for _ in tracked:
        with joulelab.phase("evaluation"):
            until(lambda: tracked.follower.so_far().energy_j)
    (run,) = runs(uri, "Default")
    assert run.info.run_name == "mine"
    assert run.info.status == "FINISHED"
    assert run.data.metrics["energy_j"] == pytest.approx(tracked.measurement.energy_j, rel=1e-3)
    parts = [run.data.metrics[f"{one}/energy_j"] for one in ("cpu:0", "dram:0")]
    assert sum(parts) == pytest.approx(tracked.measurement.energy_j, rel=1e-3)
    assert "phase/evaluation/energy_j" in run.data.metrics
    assert run.data.tags["joulelab.status"] == "measured"
    assert run.data.tags["joulelab.domains"] == "cpu:0 + dram:0"
    assert "Netherlands" in run.data.tags["joulelab.co2e"]
    steps = client_of(uri).get_metric_history(run.info.run_id, "energy_j")
    assert {one.step for one in steps} == {1, 2, 3}
    assert capsys.readouterr() == ("", "")


def test_the_run_that_the_program_has_begun_gets_the_values(processor, quick, uri, monkeypatch):
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with mlflow.start_run():
        mlflow.log_metric("loss", 0.5)
        with measuring("mlflow") as (measured, _):
            pass
    (run,) = runs(uri, "Default")
    assert run.data.metrics["loss"] == 0.5
    assert run.data.metrics["joulelab/energy_j"] == pytest.approx(measured.energy_j)
    assert run.info.status == "FINISHED"


def test_a_failed_block_is_a_failed_run(processor, quick, uri):
    with (
        pytest.raises(ValueError, match="mine"),
        joulelab.measure(meters=["rapl"], to=f"mlflow:{uri}"),
    ):
        raise ValueError("mine")
    assert [run.info.status for run in runs(uri, "Default")] == ["FAILED"]


def test_a_folder_that_mlflow_refuses_is_said_on_entry(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    with pytest.raises(UsageError, match="cannot be used") as refused:
        joulelab.measure(to=f"mlflow:{tmp_path / 'mlruns'}").start()
    assert "mlflow server" in refused.value.hint


LONG = ["architecture", "training-cost", "timeline", "troubled", "version-1"]


@pytest.mark.parametrize(
    "kind",
    ["unfinished", "batching", *(pytest.param(kind, marks=pytest.mark.long) for kind in LONG)],
)
def test_each_run_of_a_study_is_logged_once(finished_study, uri, kind):
    folder = finished_study(kind)
    frame = Results.open(folder).to_frame().set_index("run_id")
    ended = frame[frame["state"].isin(["finished", "failed"])]
    assert log_study(folder, uri) == len(ended) > 0
    assert log_study(folder, uri) == 0

    found = runs(uri, Results.open(folder).spec["name"])
    logged = {run.data.tags["joulelab.run"]: run for run in found}
    assert set(logged) == set(ended.index)
    for run_id, row in ended.iterrows():
        run = logged[run_id]
        assert run.info.status == row["state"].upper()
        metrics, params, tags = run.data.metrics, run.data.params, run.data.tags
        for name, column in (("energy_j", "energy_gross_j"), ("accuracy", "accuracy")):
            assert metrics.get(name) == pytest.approx(row[column]) or (row[column] != row[column])
        for factor in Results.open(folder).factors(row["experiment"]):
            # A column with gaps has whole numbers as floats.
            assert params[factor] == str(row[factor]) or float(params[factor]) == row[factor]
        assert params["seed"] == str(row["seed"])
        assert tags["joulelab.energy_status"] == row["energy_status"]
        assert tags["joulelab.configuration"] == row["configuration"]


WORK = """
for step in 1 2 3; do
  echo '{"t": 1.0, "metric": "loss", "value": 0.'$step', "step": '$step'}'
done >> "$JOULELAB_EVENTS"
printf '{"accuracy": 0.%s}\\n' "$1"
"""


def brief(folder):
    """A study of four short runs."""
    table = {
        "kind": "command",
        "command": "sh work.sh {a}",
        "cwd": str(folder),
        "vary": {"a": [1, 2]},
        "repetitions": 2,
        "metrics": {"accuracy": "max"},
    }
    (folder / "work.sh").write_text(WORK)
    energy = {"meters": ["estimate"], "interval_s": 0.02, "idle_s": 0, "cool_down_s": 0}
    spec = {"name": "brief", "energy": energy, "experiment": {"brief": table}}
    return Study(check_spec(spec))


def test_a_study_is_logged_while_it_runs_and_goes_on_where_it_stopped(
    tmp_path, uri, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    study, folder = brief(tmp_path), tmp_path / "out"
    end, ended = joulelab.sinks.mlflow.Runs.end, []

    def killed_once(*given, **named):
        """The first run is begun, and the process dies before it is complete."""
        ended.append(1)
        if len(ended) == 1:
            raise ConnectionError("Connection refused")
        return end(*given, **named)

    monkeypatch.setattr("joulelab.sinks.mlflow.Runs.end", killed_once)
    with StudyLog(folder, uri) as log:
        study.run(folder, log)
    logged = runs(uri, "brief")
    assert sorted(run.info.status for run in logged) == ["FINISHED"] * 4
    assert {run.data.params["a"] for run in logged} == {"1", "2"}
    client = client_of(uri)
    curve = client.get_metric_history(logged[0].info.run_id, "loss")
    assert [(one.step, one.value) for one in curve] == [(1, 0.1), (2, 0.2), (3, 0.3)]
    assert logged[0].info.start_time <= curve[0].timestamp <= logged[0].info.end_time
    assert capsys.readouterr().err.count("connection refused; ") == 1
    assert log_study(folder, uri) == 0


def test_a_server_that_is_down_costs_a_study_nothing(tmp_path, uri, silent, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("joulelab.sinks.study_log.BETWEEN_S", 0.0)
    monkeypatch.setattr("joulelab.sinks.study_log.ENDING_S", 0.0)
    folder = tmp_path / "out"
    with StudyLog(folder, f"http://{silent}") as log:
        results = brief(tmp_path).run(folder, log)
    assert list(results.to_frame()["state"]) == ["finished"] * 4
    said = capsys.readouterr().err.splitlines()
    assert said[-1] == (
        f"mlflow http://{silent}: 4 runs not logged; later: "
        f"joulelab log {folder} --to mlflow:http://{silent}"
    )
    assert len(said) == 2
    assert log_study(folder, uri) == 4


def test_the_command_line_logs_runs(joulelab, finished_study, uri, tmp_path):
    folder = finished_study("version-1")
    code, out, _ = joulelab("log", folder, "--to", f"mlflow:{uri}", "--json")
    assert code == 0
    assert json.loads(out)["logged"] > 0
    code, out, _ = joulelab("log", folder, "--to", f"mlflow:{uri}")
    assert " ".join(out.split()).startswith("0 runs logged to mlflow:")
    code, _, err = joulelab("log", tmp_path, "--to", f"mlflow:{uri}")
    assert (code, "does not hold a study" in err) == (1, True)
    code, _, err = joulelab("log", folder, "--to", "otlp")
    assert (code, "go to MLflow only" in err) == (2, True)


def test_a_server_that_fails_is_an_error_of_the_command(finished_study, monkeypatch, uri):
    def refuse(*_):
        raise ConnectionError("Connection refused")

    monkeypatch.setattr("joulelab.sinks.mlflow.Runs.experiment", refuse)
    with pytest.raises(JoulelabError, match="connection refused"):
        log_study(finished_study("version-1"), uri)
