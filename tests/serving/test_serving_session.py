"""Windows and batches over real processes."""

import time
from collections import Counter
from dataclasses import replace

import numpy as np
import psutil
import pytest
from numpy.testing import assert_array_equal

from joulelab.errors import ServingError, UsageError
from joulelab.serving.results import QUEUE_FULL
from joulelab.serving.tasks import BatchTask

OWN_POLICY = '''
from joulelab.serving.policies import Policy, policies

@policies.register("in-pairs")
class InPairs(Policy):
    """Two by two, or one after a while."""
    largest = 2

    def take(self, waiting, oldest_wait_s):
        return 2 if waiting >= 2 else int(oldest_wait_s > 0.004)

    def patience_s(self, waiting, oldest_wait_s):
        return 0.005 - oldest_wait_s

    def __str__(self):
        return "in-pairs"
'''


def window(session, task):
    session.load(task)
    return session.serve(task)


@pytest.mark.parametrize("policy", ["fixed(1)", "fixed(16)", "fixed(16, wait_ms=5)", "greedy(8)"])
def test_every_request_is_answered_once_and_in_order(session, serving_task, policy):
    served = window(session, serving_task(policy=policy))
    assert not any(served.dropped)
    assert_array_equal(served.batch, np.sort(served.batch))
    assert_array_equal(np.bincount(served.batch), served.batch_sizes)
    assert served.batch_sizes.sum() == 60
    assert (served.due_s <= served.sent_s).all()
    assert (served.sent_s <= served.started_s).all()
    assert (served.started_s < served.answered_s).all()
    assert (served.batch_started_s[1:] >= served.batch_answered_s[:-1]).all()
    assert (served.waiting >= served.batch_sizes).all()
    took_s = served.batch_answered_s - served.batch_started_s
    assert (served.model_s + served.prepare_s <= took_s + 1e-9).all()
    assert served.duration_s == served.answered_s.max()


def test_fixed_batches_are_full_but_for_the_last_which_waits_for_nobody(session, serving_task):
    served = window(session, serving_task(policy="fixed(16)"))
    assert served.batch_sizes.tolist() == [16, 16, 16, 12]


def test_a_policy_with_patience_serves_what_waits_when_it_ends(session, serving_task):
    served = window(
        session, serving_task(policy="fixed(16, wait_ms=5)", arrivals="poisson(50)", requests=12)
    )
    first = served.batch_started_s - np.array(
        [served.sent_s[served.batch == number].min() for number in range(len(served.batch_sizes))]
    )
    assert len(first) > 2
    assert (first[:-1] >= 0.005).all()


def test_a_policy_of_ones_own_is_known_to_the_server(session, serving_task, tmp_path):
    plugin = tmp_path / "pairs.py"
    plugin.write_text(OWN_POLICY)
    served = window(session, serving_task(policy="in-pairs", plugins=(str(plugin),)))
    assert served.batch_sizes.max() == 2
    assert not any(served.dropped)


def test_requests_that_find_the_queue_full_are_dropped_and_counted(session, serving_task):
    task = serving_task(
        "Slow", {"batch_s": 0.05}, policy="greedy(4)", capacity=4, arrivals="poisson(200)"
    )
    served = window(session, task)
    assert served.dropped_full > 0
    assert served.answered + served.dropped_full == 60
    full = np.array([reason == QUEUE_FULL for reason in served.dropped])
    assert np.isnan(served.sent_s[full]).all()
    assert np.isnan(served.answered_s[full]).all()
    assert (served.batch[full] == -1).all()
    assert served.waiting.max() <= 4


LARGE = b"P5 10000 9000 255\n"
"""The beginning of an image above Pillow's limit, of which it would only warn."""


@pytest.mark.parametrize(
    ("prepare", "content", "reason"),
    [
        ("server", b"this is no image", "not an image format that Pillow reads"),
        ("producer", b"this is no image", "not an image format that Pillow reads"),
        ("server", LARGE, "Image size (90000000 pixels) exceeds limit of 89478485 pixels"),
        ("producer", LARGE, "Image size (90000000 pixels) exceeds limit of 89478485 pixels"),
    ],
)
def test_an_unreadable_image_is_counted_and_the_rest_is_served(
    session, serving_task, photographs, tmp_path, prepare, content, reason
):
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(content)
    files = (*photographs.files, str(damaged))
    images = replace(photographs, files=files, prepare=prepare)
    task = serving_task(images=images)
    served = window(session, task)
    drawn = images.drawn(60, task.seed) == 3
    assert served.unreadable == drawn.sum() > 0
    assert served.answered == 60 - drawn.sum()
    said = f"unreadable image: damaged.png: {reason}"
    assert all(one.startswith(said) for one in served.dropped if one)
    assert [bool(reason) for reason in served.dropped] == drawn.tolist()


def test_memory_that_is_too_small_halves_the_batch_and_stays_known(session, serving_task):
    task = serving_task("Cramped", {"most": 5}, policy="fixed(16)", warm_up_size=2)
    served = window(session, task)
    assert served.batch_sizes.max() == 4
    assert served.batch_sizes.sum() == 60
    assert served.remarks[:2] == (
        "batches of 16 do not fit in memory: halved to 8",
        "batches of 8 do not fit in memory: halved to 4",
    )
    again = window(session, task)
    assert again.batch_sizes.max() == 4
    assert again.remarks[0] == "batches of 16 do not fit in memory: halved to 4"


def test_the_same_seed_gives_the_same_arrivals_and_images(session, serving_task):
    first, again, other = (window(session, serving_task(seed=seed)) for seed in (3, 3, 4))
    assert_array_equal(first.due_s, again.due_s)
    assert (first.due_s != other.due_s).all()
    images = serving_task().images
    assert_array_equal(images.drawn(60, 3), images.drawn(60, 3))
    assert (images.drawn(60, 3) != images.drawn(60, 4)).any()
    assert set(Counter(images.drawn(60, 3).tolist())) == {0, 1, 2}


def test_a_model_is_kept_while_it_is_the_same(session, serving_task):
    pids = session.load(serving_task("linear")) and session.pids
    kept = session.load(serving_task("linear", policy="fixed(2)"))
    assert kept.kept
    assert kept.parameters == 3 * 3 * 24 * 24 + 3
    other = session.load(serving_task("linear", {"outputs": 5}))
    assert not other.kept
    assert other.parameters == 5 * 3 * 24 * 24 + 5
    assert session.pids == pids


def test_a_request_that_cannot_be_carried_out_leaves_the_processes_alone(session, serving_task):
    session.load(serving_task())
    pids = session.pids
    for wrong, words in (
        ({"policy": "fixed(65)"}, "waits for 65 requests, but the queue has 64 places"),
        ({"policy": "fxied(2)"}, "fxied"),
        ({"requests": 0}, "requests = 0"),
        ({"capacity": 2**40}, "free"),
    ):
        with pytest.raises(UsageError, match=words):
            session.load(serving_task(**wrong))
    with pytest.raises(UsageError, match="cannot be imported"):
        session.load(replace(serving_task(), model=replace(serving_task().model, factory="no:no")))
    with pytest.raises(UsageError, match="is not loaded"):
        session.serve(serving_task())
    assert session.pids == pids
    assert window(session, serving_task()).answered == 60


def test_progress_is_shown(session, serving_task):
    task = serving_task("Slow", {"batch_s": 0.05}, policy="fixed(8)")
    session.load(task)
    seen = []
    session.serve(task, lambda done, of: seen.append((done, of)))
    assert seen == sorted(seen)
    assert seen[-1][1] == 60
    assert 0 < seen[-1][0] <= 60


def test_batches_without_a_queue(session, serving_task, photographs):
    model = serving_task("Slow", {"batch_s": 0.002}).model
    task = BatchTask(model, photographs, size=6, seconds=0.2)
    session.load(task)
    began_s = time.monotonic()
    batches = session.run_batches(task)
    assert time.monotonic() - began_s >= task.seconds
    assert (batches.size, batches.asked, batches.unreadable) == (6, 6, 0)
    assert (batches.model_s >= 0.002).all()
    assert (batches.prepare_s > 0).all()
    assert (batches.model_s + batches.prepare_s <= batches.durations_s + 1e-9).all()


def test_batches_that_do_not_fit_are_halved_and_their_number_is_bounded(
    session, serving_task, photographs
):
    model = serving_task("Cramped", {"most": 9, "words": "can't allocate memory: 7 bytes"}).model
    task = BatchTask(model, photographs, 32, 60.0, most_batches=4, with_images=False)
    loaded = session.load(task)
    assert loaded.largest == 8
    assert loaded.remarks[0] == "batches of 32 do not fit in memory: halved to 16"
    batches = session.run_batches(task)
    assert (batches.size, batches.asked, len(batches.durations_s)) == (8, 32, 4)
    assert batches.remarks == ("batches of 32 do not fit in memory: halved to 8",)


def test_an_idle_server_does_not_compute(session, serving_task):
    """It sleeps until something comes: the share is bounded far above what it takes."""
    task = serving_task(arrivals="uniform-jitter(2)", requests=1)
    session.load(task)
    processes = [psutil.Process(pid) for pid in session.pids]
    before = [sum(process.cpu_times()[:2]) for process in processes]
    session.serve(task)
    after = [sum(process.cpu_times()[:2]) for process in processes]
    assert np.subtract(after, before).max() < 0.2


RAISING_POLICY = """
from joulelab.serving.policies import Policy, policies

@policies.register("divides-by-what-comes")
class Divides(Policy):
    largest = 8

    def take(self, waiting, oldest_wait_s):
        return waiting // (waiting - 1)

    def __str__(self):
        return "divides-by-what-comes"
"""


def test_a_model_that_fails_ends_the_window_and_the_session_goes_on(session, serving_task, capfd):
    task = serving_task("Failing", {"after": 4})
    session.load(task)
    pids = session.pids
    with pytest.raises(
        ServingError, match=r"serving_models:Failing\(after=4\) failed .*: the weights are missing"
    ):
        session.serve(task)
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
    task = serving_task("printing")
    session.load(task)
    assert session.serve(task).answered == 60
    assert capfd.readouterr().out == "", "the model printed to standard output"


def test_a_policy_of_ones_own_that_raises_is_told_with_its_line(session, serving_task, tmp_path):
    plugin = tmp_path / "divides.py"
    plugin.write_text(RAISING_POLICY)
    task = serving_task(policy="divides-by-what-comes", plugins=(str(plugin),))
    session.load(task)
    words = r"the server process failed while .* ZeroDivisionError: .*divides\.py:9\)"
    with pytest.raises(ServingError, match=words):
        session.serve(task)
