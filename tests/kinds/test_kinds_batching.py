"""Experiments on inference: what is stored of a window, what goes wrong, and how it goes on."""

import contextlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tomli_w
from PIL import Image
from tiny_study import TINY, layers_only

from joulelab.errors import SpecError, StoreMismatchError, UsageError
from joulelab.kinds.inference import workload
from joulelab.kinds.inference.prediction import ModelProfile
from joulelab.report.ledger import ReportedStudy
from joulelab.report.pages import write_report
from joulelab.study.listener import Listener
from joulelab.study.results import Results
from joulelab.study.study import Study
from joulelab.study.study_file import check_spec, load_spec

pytestmark = pytest.mark.usefixtures("one_server")

HERE = Path(__file__).parent.parent / "study"
BATCHING = {
    "kind": "batching",
    "models": ["served_models:sums"],
    "policies": ["fixed(4)", "greedy(8)"],
    "arrivals": ["poisson(200)"],
    "requests": 30,
    "repetitions": 2,
    "images": "photographs",
    "resize": 16,
    "crop": 16,
    "warm_up_batches": 1,
    "warm_up_size": 2,
}
STUDY = {
    "name": "served",
    "threads": 1,
    "seed": 5,
    "energy": {"meters": ["estimate"], "idle_s": 0.05, "interval_s": 0.02},
}


def study(kind="batching", **changes):
    """A study of seconds; `None` takes a key out."""
    table = BATCHING if kind == "batching" else TIMELINE
    kept = {key: value for key, value in {**table, **changes}.items() if value is not None}
    return Study(check_spec({**STUDY, "experiment": {kind: kept}}))


TIMELINE = {
    "kind": "timeline",
    "models": ["served_models:sums", "served_models:cramped"],
    "batch_sizes": [1, 4],
    "seconds": 0.02,
    "warm_up_batches": 1,
    "repetitions": 1,
}


@pytest.fixture(autouse=True)
def beside_the_models(monkeypatch):
    """A user's module is found from the current folder."""
    monkeypatch.chdir(HERE)


@pytest.fixture
def untimed(monkeypatch):
    """Nothing is predicted, for which batches of every model would be timed."""
    monkeypatch.setattr(workload, "profile_model", lambda *_: ModelProfile(None, ()))


@pytest.fixture(scope="module")
def finished(tmp_path_factory, one_server):
    with contextlib.chdir(HERE):
        return study().run(tmp_path_factory.mktemp("batching") / "out")


def test_a_window_is_a_run_with_what_was_measured_as_columns(finished):
    runs = finished.to_frame()
    assert list(runs["state"]) == ["finished"] * 4
    assert set(runs["policy"]) == {"fixed(4)", "greedy(8)"}
    assert list(runs["answered"]) == [30] * 4
    assert (runs["response_mean_s"] <= runs["response_max_s"]).all()
    assert (runs["energy_gross_j"] > 0).all()
    assert runs.loc[runs["policy"] == "fixed(4)", "batches"].eq(8).all(), "7 whole and a part"
    assert set(runs["weights"]) == {"as the factory returns them"}
    histogram = json.loads(runs.loc[runs["policy"] == "fixed(4)", "batch_histogram"].iloc[0])
    assert histogram == {"4": 7, "2": 1}


def test_a_block_holds_one_repetition_of_every_configuration(finished):
    runs = finished.to_frame()
    assert list(runs["block"]) == [0, 0, 1, 1]
    assert runs.groupby("block")["policy"].nunique().eq(2).all()
    assert (runs["repetition"] == runs["block"]).all()
    assert runs["seed"].nunique() == 4


def test_every_request_is_kept_beside_its_run(finished):
    requests = finished.requests_frame()
    runs = finished.to_frame()
    assert list(dict.fromkeys(requests["run_id"])) == list(runs["run_id"]), "in order of the plan"
    assert requests.groupby("run_id").size().eq(30).all()
    assert (requests["due_s"] <= requests["sent_s"]).all()
    assert (requests["sent_s"] <= requests["answered_s"]).all()
    means = (requests["answered_s"] - requests["sent_s"]).groupby(requests["run_id"]).mean()
    assert runs.set_index("run_id")["response_mean_s"].to_dict() == pytest.approx(means.to_dict())


def test_loading_and_warming_up_are_booked_beside_the_windows(finished):
    ledger = finished.ledger_frame()
    assert list(ledger["kind"]).count("serving") == 4
    assert list(ledger["kind"]).count("calibration") >= 4
    windows = ledger[ledger["kind"] == "serving"]["energy_gross_j"].sum()
    assert windows == pytest.approx(finished.to_frame()["energy_gross_j"].sum())


def test_its_report_has_a_page_and_nothing_of_the_paper_on_training(finished, unpictured):
    page = write_report(ReportedStudy(finished)).read_text("utf-8")
    assert "The policy to run for each model" in page
    assert "claims.html" not in page
    assert not (finished.folder / "report" / "claims.html").exists()
    assert "epochs" not in page


class InterruptAt(Listener):
    """Presses Ctrl-C when the n-th window has ended."""

    def __init__(self, count):
        self.count = count

    def finished(self, rows, total):
        self.count -= 1
        if not self.count:
            raise KeyboardInterrupt


@pytest.mark.usefixtures("untimed")
def test_after_an_interruption_it_goes_on_and_the_same_requests_come(finished, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        study().run(tmp_path / "out", InterruptAt(2))
    assert (Results.open(tmp_path / "out").to_frame()["state"] == "finished").sum() == 2
    results = study().run(tmp_path / "out")
    same = ["run_id", "seed", "state", "answered", "requests"]
    assert results.to_frame()[same].equals(finished.to_frame()[same])
    due = [one.requests_frame()["due_s"] for one in (results, finished)]
    assert due[0].equals(due[1])


@pytest.mark.long
def test_killed_with_9_it_leaves_no_process_and_goes_on(tmp_path):
    study_file = tmp_path / "served.toml"
    spec = study(requests=400, policies=["fixed(1)"]).spec
    study_file.write_text(spec.to_toml())
    command = [sys.executable, "-m", "joulelab", "run", str(study_file), "--out"]
    process = subprocess.Popen([*command, str(tmp_path / "out")], stderr=subprocess.PIPE, text=True)
    while not list((tmp_path / "out").glob("traces/*")):
        time.sleep(0.05)
    children = _descendants(process.pid)
    assert children
    process.send_signal(signal.SIGKILL)
    process.communicate()
    deadline = time.monotonic() + 20
    while any(_alive(pid) for pid in children) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [pid for pid in children if _alive(pid)]
    subprocess.run([*command, str(tmp_path / "out")], check=True, capture_output=True)
    runs = Results.open(tmp_path / "out").to_frame()
    assert list(runs["state"]) == ["finished"] * 2


def _descendants(pid):
    import psutil

    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


def _alive(pid):
    import psutil

    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.usefixtures("untimed")
def test_an_unreadable_image_is_counted(tmp_path):
    Image.new("RGB", (20, 20), "teal").save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"no image")
    results = study(images=f"folder:{tmp_path}", policies=["greedy(8)"], repetitions=1).run(
        tmp_path / "out"
    )
    (run,) = results.to_frame().to_dict("records")
    assert run["unreadable"] > 0
    assert run["answered"] + run["unreadable"] == 30
    reasons = results.requests_frame()["dropped"]
    assert reasons[reasons != ""].str.contains(r"bad\.png").all()


@pytest.mark.long
def test_a_batch_that_does_not_fit_in_memory_is_what_was_measured_instead(tmp_path, unpictured):
    results = study("timeline").run(tmp_path / "out")
    runs = results.to_frame().set_index(["model", "batch_size"])
    assert list(runs["state"]) == ["finished"] * 4
    assert runs["batch_used"]["served_models:sums", 4] == 4
    assert runs["batch_used"]["served_models:cramped", 4] == 2
    assert "halved" in runs["remarks"]["served_models:cramped", 4]
    assert (runs["images"] == runs["batches"] * runs["batch_used"]).all()
    assert "no network has both a year" in write_report(ReportedStudy(results)).read_text("utf-8")


@pytest.mark.usefixtures("untimed")
def test_images_of_a_data_set_are_sent_as_files_and_removed_afterwards(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    results = study(images="digits", policies=["greedy(8)"], repetitions=1).run(tmp_path / "out")
    assert results.to_frame()["answered"].tolist() == [30]
    assert results.manifest["images"]["files"] == 256
    assert not list(tmp_path.glob("joulelab-images-*"))


@pytest.mark.long
def test_other_images_than_at_the_beginning_are_refused(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    Image.new("RGB", (20, 20), "teal").save(folder / "one.png")
    changes = {"images": f"folder:{folder}", "policies": ["fixed(1)"]}
    with pytest.raises(KeyboardInterrupt):
        study(**changes).run(tmp_path / "out", InterruptAt(1))
    Image.new("RGB", (20, 20), "red").save(folder / "one.png")
    with pytest.raises(StoreMismatchError, match="images"):
        study(**changes).run(tmp_path / "out")


@pytest.mark.long
def test_one_study_may_train_and_serve(tmp_path, unpictured):
    experiments = {
        **layers_only(vary={"relu": [True]}, repetitions=1),
        "batching": {**BATCHING, "policies": ["fixed(4)"], "repetitions": 1},
    }
    results = Study(check_spec({**TINY, "experiment": experiments})).run(tmp_path / "out")
    runs = results.to_frame().set_index("kind")
    assert list(runs["state"]) == ["finished"] * 2
    assert runs["accuracy"].notna().to_dict() == {"architecture": True, "batching": False}
    page = write_report(ReportedStudy(results)).read_text("utf-8")
    assert "The policy to run for each model" in page
    assert (results.folder / "report" / "claims.html").exists()


def test_a_plan_predicts_windows_from_a_few_batches():
    plan, prediction = study(repetitions=1).predict()
    assert len(plan.runs) == 2
    for run in plan.runs:
        # 30 requests at 200/s take 0.15 s on the average, and loading takes its time.
        assert 0.05 < prediction.of(run).duration_s < 20


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"policies": ["fixed(0)"]}, "fixed"),
        ({"policies": ["gredy(4)"]}, "greedy"),
        ({"policies": ["fixed(4)", "fixed( 4 )"]}, "twice"),
        ({"arrivals": ["poisson(-1)"]}, "poisson"),
        ({"arrivals": ["trace(nowhere.csv)"]}, r"nowhere\.csv"),
        ({"policies": ["fixed(64)"], "capacity": 32}, "capacity"),
        ({"limit_percentile": 42}, "limit_percentile"),
        ({"crop": 300}, "resize"),
        ({"requests": 0}, "requests"),
    ],
)
def test_what_cannot_be_served_is_refused_before_anything_runs(changes, said):
    with pytest.raises(UsageError, match=said):
        study(**changes)


def test_an_unknown_model_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(SpecError) as raised:
        study(models=["resnet8"]).run(tmp_path / "out")
    assert "resnet8" in raised.value.message
    assert "resnet18" in raised.value.hint


def test_a_study_that_trains_nothing_has_no_keys_of_a_training():
    with pytest.raises(SpecError, match="epochs"):
        check_spec({**STUDY, "epochs": 3, "experiment": {"batching": BATCHING}})


def test_paths_count_from_the_folder_of_the_study_file(tmp_path):
    (tmp_path / "times.csv").write_text("t_s\n0.1\n0.2\n")
    (tmp_path / "images").mkdir()
    table = {**BATCHING, "images": "folder:images", "arrivals": ["trace(times.csv)"], "requests": 2}
    toml = tmp_path / "mine.toml"
    toml.write_text(tomli_w.dumps({**STUDY, "experiment": {"batching": table}}))
    kept = load_spec(toml).experiment["batching"]
    assert kept["images"] == f"folder:{tmp_path / 'images'}"
    assert str(tmp_path / "times.csv") in kept["arrivals"][0]


@pytest.mark.parametrize("name", ["batching", "yarally2023-batching", "timeline"])
def test_shipped_studies_can_be_planned(name):
    plan = Study(load_spec(name)).plan()
    assert len(plan.runs) > 10
    models = {str(one.levels["model"]) for one in plan.configurations}
    if name == "timeline":
        assert len(models) >= 20
        assert {"alexnet", "shufflenet_v2_x0_5", "vit_b_16", "convnext_base"} <= models


def test_a_miniature_of_windows_has_fewer_and_shorter_ones():
    whole, thin = (load_spec("yarally2023-batching", scale=scale) for scale in (None, 0.02))
    before, after = whole.experiment["batching"], thin.experiment["batching"]
    work = before["repetitions"] * before["requests"]
    assert after["repetitions"] * after["requests"] == pytest.approx(0.02 * work, rel=0.02)
    assert after["repetitions"] == 2
    assert 2 <= after["warm_up_batches"] < before["warm_up_batches"]
    assert thin.scale == pytest.approx(0.02, rel=0.02)
    said = thin.miniature_in_words()
    assert f"{after['requests']:,} of 8,192 requests" in said
    assert "2 of 3 repetitions" in said


def test_what_is_set_in_a_miniature_of_windows_stays():
    thin = load_spec("timeline", ["experiment.timeline.seconds=7"], scale=0.4)
    assert thin.experiment["timeline"]["seconds"] == 7
    assert thin.experiment["timeline"]["repetitions"] == 2
    with pytest.raises(UsageError, match="is too small for scale"):
        load_spec(
            "timeline",
            ["experiment.timeline.seconds=7", "experiment.timeline.repetitions=3"],
            scale=0.4,
        )


@pytest.mark.usefixtures("untimed")
def test_a_server_that_dies_fails_its_run_and_the_others_go_on(tmp_path):
    models = ["served_models:broken", "served_models:dying", "served_models:sums"]
    results = study(models=models, policies=["fixed(1)"], repetitions=1).run(tmp_path / "out")
    runs = results.to_frame().set_index("model")
    assert runs["state"].to_dict() == {
        "served_models:dying": "failed",
        "served_models:broken": "failed",
        "served_models:sums": "finished",
    }
    assert list(runs.index).index("served_models:sums") > 0, "it comes after one that fails"
    assert "7" in runs["error"]["served_models:dying"], "the status it ended with"
    assert "never finished" in runs["error"]["served_models:broken"]
    assert results.failed() == 2
