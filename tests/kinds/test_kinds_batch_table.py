"""What batches cost by their size: measured by a real server, pooled, kept in a file, read back."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from joulelab.energy.detection import open_recorder
from joulelab.energy.reading import Status, Total
from joulelab.errors import ServingError, UsageError
from joulelab.kinds.inference import schedule
from joulelab.kinds.inference.batch_table import (
    BatchTable,
    SizeProfile,
    read_table,
    table_data,
    write_table,
)
from joulelab.kinds.inference.executor import ServingExecutor, ServingJob
from joulelab.kinds.inference.schedule import Patience, Schedule
from joulelab.kinds.inference.table_measuring import BatchWork
from joulelab.serving.images import shipped_photographs
from joulelab.serving.results import Batches
from joulelab.serving.tasks import BatchTask, ImageSource, ModelSource
from joulelab.study.accounting import counted

LONG = 120.0
"""Seconds of patience that do not end on a busy machine."""
MODELS = str(Path(__file__).parent.parent / "serving")


def window(size=1, times=(0.01, 0.02), net_j=1.0, idle_w=10.0, status=Status.ESTIMATED):
    """A window with batches of these times, `net_j` joules each above idle."""
    durations = np.array(times)
    batches = Batches(size, size, durations, durations, 0 * durations)
    idle_j = idle_w * float(durations.sum())
    known = status is not Status.MISSING
    energy = Total(
        status,
        net_j * len(times) + idle_j if known else None,
        idle_j if known else None,
        0.1 if known else None,
        ("cpu:0",),
        ("estimate",),
    )
    return SizeProfile.of(batches, float(durations.sum()), energy)


def table(*windows, **changed):
    given = {
        "model": "nets:tiny",
        "weights": "random",
        "machine": "a processor",
        "device": "cpu",
        "threads": 2,
        "images": "photographs",
        "resize": 36,
        "crop": 32,
        "measured_at": "2026-01-01T00:00:00+0000",
        "windows": windows or (window(), window(4), window()),
    }
    return BatchTable(**given | changed)


def test_windows_of_one_size_are_pooled_as_if_they_were_one():
    first, second = (0.010, 0.014, 0.011), (0.020, 0.022)
    pooled = SizeProfile.pooled([window(2, first, 1.0), window(2, second, 3.0)])
    whole = window(2, first + second)
    assert (pooled.size, pooled.batches) == (2, 5)
    assert pooled.seconds == pytest.approx(whole.seconds)
    assert pooled.scatter == pytest.approx(whole.scatter)
    assert pooled.duration_s == pytest.approx(whole.duration_s)
    assert pooled.net_j == pytest.approx((3 * 1.0 + 2 * 3.0) / 5)
    assert pooled.idle_w == pytest.approx(10.0)
    assert pooled.error_j_per_image == pytest.approx(0.2 / 10)


def test_one_window_without_energy_leaves_none_to_its_size():
    pooled = SizeProfile.pooled([window(), window(status=Status.MISSING)])
    assert pooled.energy.status is Status.MISSING
    assert (pooled.net_j, pooled.gross_j_per_image, pooled.idle_w) == (None, None, None)


@pytest.mark.parametrize(
    ("sensed", "bound_j", "status", "too_short"),
    [
        ((True, True), 0.5, Status.MEASURED, False),
        ((True, True), 5.0, Status.ESTIMATED, True),
        ((True, False), 0.5, Status.ESTIMATED, False),
    ],
)
def test_windows_too_short_for_a_sensor_may_be_long_enough_together(
    sensed, bound_j, status, too_short
):
    windows = [window(), window()]
    pooled = SizeProfile.pooled(
        [
            replace(one, energy=replace(one.energy, error_j=bound_j, too_short=short))
            for one, short in zip(windows, sensed, strict=True)
        ]
    )
    assert (pooled.energy.status, pooled.energy.too_short) == (status, too_short)


def test_an_idle_power_of_nothing_is_known():
    assert window(idle_w=0.0).idle_w == 0.0


def test_a_table_gives_costs_by_size():
    made = table(window(4, (0.04, 0.04), 2.0), window(), window(1, (0.03,), 4.0))
    costs = made.costs
    assert costs.sizes == (1, 4)
    assert costs.seconds == pytest.approx((0.02, 0.04))
    assert costs.joules == pytest.approx((2.0, 2.0))
    assert costs.idle_w == pytest.approx(10.0)
    assert made.largest == 4


def test_repeatability_is_the_farthest_window_from_the_mean_of_its_size():
    low, high, other = (window(1, (0.01,), net_j, 0.0) for net_j in (1.0, 3.0, 5.0))
    assert table(low, high).repeatability == pytest.approx(0.5)
    assert table(low).repeatability is None
    missing = [window(1, (seconds,), status=Status.MISSING) for seconds in (0.01, 0.02)]
    assert table(*missing).repeatability == pytest.approx(1 / 3)
    assert table(low, other).relative_error == pytest.approx(0.2 / 6)


def test_a_table_comes_back_from_its_file_as_it_was(tmp_path):
    made = table(window(), window(8), window(status=Status.MISSING), remarks=("halved",))
    write_table(tmp_path / "table.json", made)
    assert read_table(tmp_path / "table.json") == made


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        (("windows", 1, "seconds"), -1.0, r"windows\[1\].seconds: input should be greater than 0"),
        (("windows", 0, "energy", "gross_j"), "much", r"windows\[0\].energy.gross_j"),
        (("windows", 0, "energy", "gross_j"), None, r"windows\[0\].energy: gross_j is None"),
        (("windows", 0, "energy", "status"), "guessed", r"windows\[0\].energy.status"),
        (("windows", 2, "size"), 1.5, r"windows\[2\].size"),
        (("windows",), [], "windows: .* at least 1 item"),
        (("threads",), 0, "threads"),
        (("schema_version",), 2, "schema_version"),
        (("colour",), "red", "colour: extra inputs"),
    ],
)
def test_a_file_with_an_impossible_key_is_refused_by_its_name(tmp_path, key, value, said):
    data = json.loads(json.dumps(table_data(table())))
    place = data
    for part in key[:-1]:
        place = place[part]
    place[key[-1]] = value
    path = tmp_path / "table.json"
    path.write_text(json.dumps(data))
    with pytest.raises(UsageError, match=f"table.json: {said}"):
        read_table(path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema_version": NaN}', "\x00"])
def test_a_file_that_is_no_table_is_refused(tmp_path, text):
    path = tmp_path / "table.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"table\.json"):
        read_table(path)


def test_a_table_needs_batches_of_one_image(tmp_path):
    write_table(tmp_path / "table.json", table(window(2)))
    with pytest.raises(UsageError, match="batches of one image are missing"):
        read_table(tmp_path / "table.json")


@pytest.fixture(scope="module")
def served(one_server):
    """An executor with this machine's meters, and its recorder."""
    with open_recorder(["estimate"]) as recorder:
        executor = ServingExecutor(recorder, "cpu", 0.0, lambda _: None)
        yield executor
        executor.close()


def short_windows(monkeypatch):
    """The shortest windows, twice, however long patience would last."""
    for name, value in {"LEAST_IDLE_S": 0.2, "LEAST_WINDOW_S": 0.1, "MOST_ROUNDS": 2}.items():
        monkeypatch.setattr(schedule, name, value)
    monkeypatch.setattr(BatchWork, "window_lengths", (1,))


@pytest.fixture
def measure(served, monkeypatch):
    """Measures a model of the tests; what it is told goes to a list."""
    short_windows(monkeypatch)
    told = []

    def run(factory, patience, **options):
        source = ModelSource(f"serving_models:{factory}", options, (MODELS,))
        images = ImageSource(tuple(map(str, shipped_photographs())), 24, 24)
        task = BatchTask(source, images, 1, 0.0, with_images=False)
        job = ServingJob("test", "cpu", 1, task)
        work, total = BatchWork(job), lambda one: counted(one, None, "cpu")
        return Schedule(served, work, patience, total, told.append).run()

    run.told = told
    return run


def sizes_of(windows):
    return sorted({one.size for one in windows.windows})


def test_each_size_is_measured_twice_or_more_with_its_energy(measure):
    found = measure("Slow", Patience(LONG, largest=4), batch_s=0.01, image_s=0.002)
    counts = {size: sum(one.size == size for one in found.windows) for size in (1, 2, 4)}
    assert min(counts.values()) >= 2
    assert sum(counts.values()) == len(found.windows)
    rounds = [tuple(one.size for one in found.windows[at : at + 3]) for at in (0, 3)]
    assert all(sorted(order) == [1, 2, 4] for order in rounds)
    for one in found.windows:
        assert one.seconds >= 0.01 + 0.002 * one.size
        assert one.energy.status is Status.ESTIMATED
        assert one.energy.gross_j > 0
        assert one.energy.idle_j > 0
    assert not found.interrupted


def test_measuring_ends_at_the_first_batch_that_outlasts_the_limit(measure):
    found = measure("Slow", Patience(LONG, limit_s=0.05), batch_s=0.0, image_s=0.03)
    assert sizes_of(found) == [1, 2]


def test_measuring_ends_where_patience_does_and_says_what_would_reach_further(measure):
    found = measure("Slow", Patience(2.0), batch_s=0.0, image_s=0.03)
    assert sizes_of(found)[0] == 1
    (remark,) = [one for one in found.remarks if "patience ran out" in one]
    assert f"batches of {sizes_of(found)[-1]}: --patience" in remark


def test_a_batch_that_does_not_fit_in_memory_is_halved_and_said(measure):
    found = measure("Cramped", Patience(LONG), most=5)
    assert sizes_of(found) == [1, 2, 4]
    assert any("batches of 8 do not fit in memory: halved to 4" in one for one in found.remarks)


def test_batches_that_fail_are_left_out_and_said(measure):
    found = measure("Cramped", Patience(LONG), most=2, words="too many of them")
    assert sizes_of(found) == [1, 2]
    (remark,) = [one for one in found.remarks if "left out" in one]
    assert "batches of 4 left out" in remark
    assert "too many of them" in remark


def test_a_model_that_fails_with_one_image_is_an_error(measure):
    with pytest.raises(ServingError, match="no weights here"):
        measure("broken", Patience(LONG))


def test_the_processor_time_of_others_is_a_share_of_all():
    times = type("Times", (), {"_fields": ("user", "guest", "idle", "iowait")})
    before, after = times(), times()
    for name, first, second in (("user", 1, 2), ("guest", 1, 2), ("idle", 5, 7), ("iowait", 0, 1)):
        setattr(before, name, float(first))
        setattr(after, name, float(second))
    assert schedule._busy_share(before, after) == pytest.approx(0.25)
    assert schedule._busy_share(before, before) == 0.0
