"""Every sink gets what the report says, and none of them can hold up or break what is measured."""

import csv
import importlib.util
import json
import os
import pickle
import re
import socket
import threading
import time
import urllib.request

import pytest
from kept_sink import METERS, Kept, measuring, until
from otlp_receiver import receiving

import joulelab
from joulelab.callbacks import Followed
from joulelab.errors import MissingDependencyError, UnknownNameError, UsageError
from joulelab.sinks.named import named_sinks
from joulelab.sinks.prometheus import PrometheusSink


class KeptPage(PrometheusSink):
    """Is read once more before it is closed."""

    def close(self):
        url = f"http://{self.host}:{self.port}/metrics"
        with urllib.request.urlopen(url) as page:
            self.page = page.read().decode()
        super().close()


def table_of(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def samples(page, name):
    """Values on a page of Prometheus by the values of their labels, in order of name."""
    from prometheus_client.parser import text_string_to_metric_families

    return {
        tuple(one.labels[label] for label in sorted(one.labels)): one.value
        for family in text_string_to_metric_families(page)
        for one in family.samples
        if one.name == name
    }


def test_the_last_value_of_every_sink_is_the_report(processor, quick, tmp_path):
    rows, lines, events = (tmp_path / name for name in ("run.csv", "run.jsonl", "events"))
    page = KeptPage("0")
    with receiving() as received:
        sinks = [page, str(rows), str(lines), f"tensorboard:{events}", f"otlp:{received.url}"]
        with measuring(*sinks, place="NLD") as (measured, kept):
            pass
    energy_j, co2e_g = measured.energy_j, measured.co2e_g
    assert energy_j > 0.5
    same = pytest.approx(energy_j, rel=1e-3)

    assert kept.seen[-1].values["energy_j"] == same
    assert sum(one.energy_j for one in kept.seen[-1].counters if one.counts) == same
    assert kept.seen[-1].state == "finished"
    counted = [sum(c.energy_j for c in seen.counters if c.counts) for seen in kept.seen]
    assert counted == sorted(counted)

    table = table_of(rows)
    assert float(table[-1]["energy_j"]) == same
    assert float(table[-1]["cpu:0 gross_j"]) + float(table[-1]["dram:0 gross_j"]) == same
    assert {row["status"] for row in table} == {"measured"}
    last = json.loads(lines.read_text().splitlines()[-1])
    assert last["energy_j"] == last["measurement"]["total"]["gross_j"] == same
    assert last["co2e_g"] == pytest.approx(co2e_g, rel=1e-3)

    assert sum(samples(page.page, "joulelab_energy_joules_total").values()) == same
    assert sum(samples(page.page, "joulelab_co2e_grams_total").values()) == pytest.approx(
        co2e_g, rel=1e-3
    )
    assert sum(received.points("hw.energy").values()) == same
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    (file,) = events.iterdir()
    written = {
        value.tag: value.tensor.float_val[0]
        for event in EventFileLoader(str(file)).Load()
        for value in event.summary.value
    }
    assert written["joulelab/energy_j"] == same
    assert written["joulelab/cpu:0/energy_j"] == pytest.approx(measured["cpu:0"].gross_j, rel=1e-3)


def test_a_page_has_its_counters_from_the_start(processor, monkeypatch, tmp_path):
    monkeypatch.setattr("joulelab.sinks.feed.TICK_S", 60.0)
    page, path = PrometheusSink("0"), tmp_path / "run.csv"
    with joulelab.measure(meters=METERS, to=[page, str(path)]):
        until(lambda: page._page.seen is not None)
        with urllib.request.urlopen(f"http://127.0.0.1:{page.port}/metrics") as read:
            shown = read.read().decode()
        assert not path.read_text()
    assert ("cpu:0", "rapl", "measured") in samples(shown, "joulelab_energy_joules_total")


def test_the_page_names_domain_source_and_status_and_what_measures(processor, quick):
    page = KeptPage("0")
    with measuring(page):
        pass
    counters = samples(page.page, "joulelab_energy_joules_total")
    assert set(counters) == {(domain, "rapl", "measured") for domain in ("cpu:0", "dram:0")}
    parts = samples(page.page, "joulelab_part_energy_joules_total")
    assert list(parts) == [("core:0", "rapl", "measured")]
    assert len(samples(page.page, "joulelab_power_watts")) == 2
    assert not samples(page.page, "joulelab_co2e_grams_total")
    ((host, *info),) = samples(page.page, "joulelab_info")
    assert host
    assert info == ["training", joulelab.__version__]


def test_metrics_follow_the_conventions_of_opentelemetry(processor, quick, monkeypatch):
    monkeypatch.setenv("OTEL_SERVICE_NAME", "my-training")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=secret")
    with receiving() as received:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", received.url)
        with measuring("otlp"):
            pass
    energy, power = received.metric("hw.energy"), received.metric("hw.power")
    assert (energy.unit, power.unit) == ("J", "W")
    assert energy.sum.is_monotonic
    assert energy.sum.aggregation_temporality == 2  # cumulative
    assert power.WhichOneof("data") == "gauge"
    attributes = [dict(one) for one in received.points("hw.energy")]
    assert {one["hw.id"]: one["hw.type"] for one in attributes} == {
        "cpu:0": "cpu",
        "dram:0": "memory",
    }
    assert {one["joulelab.status"] for one in attributes} == {"measured"}
    assert received.resource()["service.name"] == "my-training"
    assert received.resource()["host.name"]
    assert received.headers[-1]["api-key"] == "secret"


def test_a_host_and_its_components_have_metrics_of_their_own(measured):
    from joulelab.sinks.feed import Feed

    whole = measured(
        2.0,
        wall=(100.0, "measured", "shelly", ()),
        cpu_0=(60.0, "measured", "rapl", ("wall",)),
        core_0=(30.0, "measured", "rapl", ("cpu:0", "wall")),
        gpu_0=(20.0, "measured", "nvml-counter", ("wall",)),
    )
    with receiving() as received:
        feed = Feed(named_sinks(f"otlp:{received.url}"), "training")
        feed.open()
        feed.end(whole)
    hosts = {dict(one)["hw.id"]: value for one, value in received.points("hw.host.energy").items()}
    components = {dict(one)["hw.id"]: v for one, v in received.points("hw.energy").items()}
    assert hosts == {"wall": 100.0}
    assert components == {"cpu:0": 60.0, "gpu:0": 20.0}


def test_a_server_that_is_not_there_is_said_once(processor, quick, free_port, capsys):
    with measuring(f"otlp:127.0.0.1:{free_port}") as (measured, kept):
        pass
    assert measured.status == "measured"
    assert len(kept.seen) > 2
    said = capsys.readouterr().err.splitlines()
    assert said == [
        f"otlp http://127.0.0.1:{free_port}/v1/metrics: connection refused; measuring goes on"
    ]


def test_a_server_that_never_answers_holds_up_nothing(
    processor, quick, silent, capsys, monkeypatch
):
    monkeypatch.setattr("joulelab.sinks.otlp.TIMEOUT_S", 600.0)
    monkeypatch.setattr("joulelab.sinks.feed.ENDING_S", 0.05)
    with measuring(f"otlp:{silent}") as (measured, kept):
        pass
    assert measured.status == "measured"
    assert kept.closed.wait(30)
    (said,) = capsys.readouterr().err.splitlines()
    assert said.endswith("it did not take the last values in time; they may be lost")


def test_a_slow_server_is_said_before_the_end(processor, quick, silent, capsys, monkeypatch):
    monkeypatch.setattr("joulelab.sinks.otlp.TIMEOUT_S", 600.0)
    monkeypatch.setattr("joulelab.sinks.feed.ENDING_S", 0.05)
    monkeypatch.setattr("joulelab.sinks.outlet.SLOW_S", 0.05)
    said = []
    with measuring(f"otlp:{silent}"):
        until(lambda: said.append(capsys.readouterr().err) or said[-1])
    assert "no answer for" in "".join(said)
    assert not capsys.readouterr().err


def test_a_logger_that_raises_is_said_once_and_the_others_go_on(
    processor, quick, capsys, monkeypatch, tmp_path
):
    class Broken(Kept):
        name = "mine"

        def put(self, seen):
            super().put(seen)
            raise RuntimeError("disk full\nand more")

        def close(self):
            raise RuntimeError("again")

    broken, rows = Broken(), tmp_path / "run.csv"
    with measuring(broken, str(rows)) as (measured, kept):
        until(lambda: broken.seen)
    assert capsys.readouterr().err == "mine: RuntimeError: disk full; measuring goes on\n"
    assert broken.seen[-1].last
    assert len(kept.seen) > 2
    assert float(table_of(rows)[-1]["energy_j"]) == measured.energy_j


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")  # noqa: PTH110
def test_a_full_disk_is_said_once(processor, quick, capsys):
    with measuring("csv:/dev/full") as (measured, _):
        pass
    assert measured.status == "measured"
    said = "/dev/full: OSError: [Errno 28] No space left on device; measuring goes on\n"
    assert capsys.readouterr().err == said


def test_a_block_that_fails_ends_its_sinks_as_failed(processor, quick):
    kept = Kept()
    with pytest.raises(ValueError, match="mine"), joulelab.measure(meters=METERS, to=kept):
        raise ValueError("mine")
    assert kept.seen[-1].state == "failed"
    assert kept.closed.is_set()


def test_a_block_can_be_measured_again_and_its_result_pickled(processor, quick, tmp_path):
    path = tmp_path / "run.csv"
    measured = joulelab.measure("again", meters=METERS, to=str(path))
    for _ in range(2):
        with measured:
            pass
    assert len(path.read_text().splitlines()) >= 3
    copy = pickle.loads(pickle.dumps(measured))
    assert copy.energy_j == measured.energy_j


def test_a_forked_process_leaves_the_sinks_alone(processor, quick):
    with measuring() as (measured, kept):
        if hasattr(os, "fork"):
            child = os.fork()
            if not child:
                measured._feed.end()
                os._exit(0 if not kept.seen[-1].last else 1)
            assert os.waitpid(child, 0)[1] == 0


def test_a_loop_sends_each_step_with_its_forecast_and_its_phases_at_the_end(
    processor, quick, tmp_path
):
    path = tmp_path / "run.jsonl"
    tracked = joulelab.track(range(4), quiet=True, meters=METERS, to=str(path))
    for _ in tracked:
        with joulelab.phase("evaluation"):
            until(lambda: tracked.follower.so_far().energy_j)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 4]
    assert "energy_forecast_j" in lines[0]
    bounds = [f"energy_forecast_{bound}j" for bound in ("", "low_", "high_")]
    assert [lines[-1][bound] for bound in bounds] == [lines[-1]["energy_j"]] * 3
    assert "evaluation" in lines[-1]["phases"]
    assert lines[-1]["energy_j"] == tracked.measurement.energy_j


def test_looks_between_steps_take_no_steps_place(processor, quick, tmp_path, monkeypatch):
    monkeypatch.setattr("joulelab.sinks.feed.LEAST_STEP_S", 0.05)
    path = tmp_path / "run.jsonl"
    for _ in joulelab.track(range(3), quiet=True, meters=METERS, to=[str(path), Kept()]):
        ended_s = time.monotonic() + 0.06
        until(lambda ended_s=ended_s: time.monotonic() > ended_s)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 3]


def test_steps_that_are_too_short_are_not_all_looked_at(processor, tmp_path):
    path = tmp_path / "run.jsonl"
    for _ in joulelab.track(range(200), quiet=True, meters=METERS, to=str(path)):
        pass
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) < 100
    assert lines[-1]["step"] == 200


def test_callbacks_send_too(processor, quick):
    kept = Kept()
    followed = Followed(to=kept, meters=METERS)
    followed.begin(2)
    until(lambda: followed.follower.so_far().energy_j)
    followed.follower.step_done()
    followed.end()
    assert kept.seen[-1].step == 1
    assert kept.seen[-1].values["energy_j"] == followed.measurement.energy_j


def test_rows_are_added_to_a_file_of_the_same_columns(processor, quick, tmp_path, capsys):
    path = tmp_path / "run.csv"
    for label in ("first", "second"):
        with joulelab.measure(label, meters=METERS, to=str(path)):
            pass
    assert {row["label"] for row in table_of(path)} == {"first", "second"}
    other = tmp_path / "other.csv"
    for meter in ("estimate", "rapl"):
        with joulelab.measure(meters=[meter], to=str(other)):
            pass
    assert len(table_of(other)) == 1
    said = capsys.readouterr().err
    assert said == f"{other}: it has no column 'core:0 gross_j'; measuring goes on\n"


def test_a_run_of_wandb_that_the_program_has_begun_gets_the_values(monkeypatch, processor, quick):
    from types import SimpleNamespace

    logged, summary = [], {}
    run = SimpleNamespace(log=lambda numbers, commit: logged.append((numbers, commit)))
    run.summary = summary
    stand_in = SimpleNamespace(run=run)
    monkeypatch.setattr("joulelab.sinks.wandb.optional", lambda *_: stand_in)
    with measuring("wandb") as (measured, _):
        pass
    assert logged[-1][0]["joulelab/energy_j"] == measured.energy_j
    assert not any(commit for _, commit in logged)
    assert summary["joulelab/status"] == "measured"


def log_records(content):
    """The records of a file of wandb, which is a log of LevelDB after its own header."""
    at, whole = 7, b""
    while at + 7 <= len(content):
        if (left := 32_768 - at % 32_768) < 7:
            at += left
            continue
        length, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        whole += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or its last part
            yield whole
            whole = b""


@pytest.mark.long
def test_an_offline_run_of_wandb_is_written(processor, quick, tmp_path):
    from wandb.proto.wandb_internal_pb2 import Record

    with measuring(f"wandb:{tmp_path / 'runs'}") as (measured, _):
        pass
    (file,) = (tmp_path / "runs").glob("wandb/offline-run-*/*.wandb")
    values = {}
    for data in log_records(file.read_bytes()):
        for item in Record.FromString(data).history.item:
            values["/".join(item.nested_key) or item.key] = json.loads(item.value_json)
    assert values["energy_j"] == pytest.approx(measured.energy_j, rel=1e-3)


@pytest.mark.parametrize(
    ("to", "error", "words"),
    [
        ("promethues:9400", UnknownNameError, "did you mean 'prometheus'"),
        ("run.txt", UnknownNameError, "unknown sink 'run.txt'"),
        ("csv", UsageError, "csv needs a file"),
        ("tensorboard", UsageError, "tensorboard needs a folder"),
        ("prometheus:127.0.0.1:port", UsageError, "write HOST:PORT"),
        ("prometheus:70000", UsageError, "is not an address"),
        ("otlp:ftp://host", UsageError, "is not an address"),
        (["run.csv", "./run.csv"], UsageError, "two sinks write to"),
        (["prometheus:9400", "prometheus"], UsageError, "two sinks write to 127.0.0.1:9400"),
        ([7], UsageError, "7 is not a sink"),
        (7, UsageError, "7 is not a sink"),
    ],
)
def test_an_impossible_sink_is_refused_before_anything_is_measured(to, error, words):
    with pytest.raises(error, match=words):
        joulelab.measure(to=to)


@pytest.mark.parametrize(
    ("sink", "library", "extra"),
    [
        ("otlp", "opentelemetry", r"joulelab\[opentelemetry\]"),
        ("mlflow", "mlflow", r"joulelab\[mlflow\]"),
        ("tensorboard:DIR", "tensorboard", "pip install tensorboard"),
        ("wandb", "wandb", "pip install wandb"),
    ],
)
def test_a_library_that_is_missing_is_named_with_what_installs_it(
    sink, library, extra, monkeypatch
):
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda n: None if n == library else find(n))
    with pytest.raises(MissingDependencyError, match=f"needs {library}") as refused:
        joulelab.track(range(3), to=sink)
    assert re.search(extra, refused.value.hint)


def test_what_cannot_be_opened_is_said_on_entry_and_leaves_nothing_open(
    processor, free_port, tmp_path
):
    taken = socket.create_server(("127.0.0.1", free_port))
    kept = Kept()
    with taken, pytest.raises(UsageError, match="in use"):
        joulelab.measure(meters=METERS, to=[kept, f"prometheus:{free_port}"]).start()
    assert kept.closed.is_set()
    with pytest.raises(UsageError, match="cannot be written"):
        joulelab.measure(meters=METERS, to=str(tmp_path / "none" / "run.csv")).start()
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.csv")
        with pytest.raises(UsageError, match="cannot be written"):
            joulelab.measure(meters=METERS, to=str(tmp_path / "pipe.csv")).start()
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")
    with pytest.raises(UsageError, match="holds other columns"):
        joulelab.measure(meters=METERS, to=str(other)).start()
    assert other.read_text() == "a,b\n1,2\n"
    assert not [one for one in threading.enumerate() if one.name.startswith("joulelab kept")]
