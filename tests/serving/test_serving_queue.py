"""The queue itself, both ends in one process."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulelab.errors import UsageError
from joulelab.serving.queue import (
    HEADER_BYTES,
    MEMORY_SHARE,
    Geometry,
    QueueFiles,
    ReceivingEnd,
    SendingEnd,
    SharedMemory,
)


class Queue:
    """Both ends, over memory of its own for each."""

    def __init__(self, capacity, payload_bytes=40):
        geometry = Geometry(capacity, payload_bytes)
        self.files = QueueFiles()
        self.files.resize(geometry.total_bytes)
        self.memories = [SharedMemory(self.files.memory, geometry.total_bytes) for _ in range(2)]
        self.sender = SendingEnd(self.memories[0], geometry, self.files.bell)
        self.receiver = ReceivingEnd(self.memories[1], geometry, self.files.ear)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for memory in self.memories:
            memory.close()
        self.files.close()

    def send(self, number, payload=b""):
        if not self.sender.place(payload):
            return None
        return self.sender.send(number, len(payload))


def test_what_is_sent_arrives_with_its_payload_and_its_time():
    with Queue(3) as queue:
        before_s = time.monotonic()
        sent_s = [queue.send(number, b"payload %d" % number) for number in range(3)]
        queue.receiver.receive()
        assert len(queue.receiver) == 3
        assert queue.receiver.oldest_sent_s == sent_s[0] >= before_s
        requests = queue.receiver.take(3)
        assert [request.number for request in requests] == [0, 1, 2]
        assert [request.sent_s for request in requests] == sent_s
        payloads = [bytes(queue.receiver.payload(request)) for request in requests]
        assert payloads == [b"payload 0", b"payload 1", b"payload 2"]


def test_a_full_queue_has_no_place_until_one_is_released():
    with Queue(2) as queue:
        assert queue.send(0)
        assert queue.send(1)
        assert queue.send(2) is None
        queue.receiver.receive()
        queue.receiver.take(1)
        assert queue.send(2) is None  # what was taken may still be read
        queue.receiver.release(1)
        assert queue.send(2)
        assert queue.send(3) is None


def test_the_end_is_known_only_after_the_last_request():
    with Queue(2) as queue:
        queue.send(0)
        queue.receiver.receive()
        assert not queue.receiver.ended
        queue.send(1)
        queue.sender.end()
        queue.receiver.receive()
        assert queue.receiver.ended
        assert len(queue.receiver) == 2


def test_a_server_that_never_listens_does_not_hold_the_producer_up():
    """More requests than a pipe holds; each but the first few finds the bell full."""
    with Queue(100_000, payload_bytes=0) as queue:
        for number in range(100_000):
            assert queue.send(number)
        queue.sender.end()
        queue.receiver.receive()
        assert len(queue.receiver) == 100_000
        assert queue.receiver.ended


def test_waiting_ends_with_an_arrival_and_with_its_time():
    with Queue(2) as queue:
        started_s = time.monotonic()
        queue.receiver.wait(0.05)
        assert time.monotonic() - started_s >= 0.049
        queue.send(0)
        queue.receiver.wait(float("inf"))


@given(st.integers(1, 5), st.lists(st.integers(-5, 5), max_size=60))
def test_a_ring_keeps_order_and_content(capacity, moves):
    """Positive: so many are sent; negative: so many are served."""
    with Queue(capacity) as queue:
        number, expected, waiting = 0, [], 0
        for move in moves:
            for _ in range(max(0, move)):
                entered = queue.send(number, b"%d" % number) is not None
                assert entered == (waiting < capacity)
                if entered:
                    expected.append(number)
                    waiting += 1
                number += 1
            queue.receiver.receive()
            count = min(max(0, -move), waiting)
            for request in queue.receiver.take(count):
                assert request.number == expected.pop(0)
                assert bytes(queue.receiver.payload(request)) == b"%d" % request.number
            queue.receiver.release(count)
            waiting -= count


def test_a_queue_larger_than_the_free_memory_is_refused_with_its_size():
    geometry = Geometry(1024, 2**20)
    geometry.check(3 * 2**30)
    with pytest.raises(UsageError) as refused:
        geometry.check(2**30)
    assert "1,024 places of 1 MiB takes 1,024 MiB, and 1,024 MiB" in refused.value.message
    allowed = int(refused.value.hint.partition("at most ")[2].partition(" ")[0])
    assert allowed * geometry.place_bytes <= MEMORY_SHARE * 2**30
    assert (allowed + 2) * geometry.place_bytes > MEMORY_SHARE * 2**30


def test_places_are_whole_cache_lines():
    geometry = Geometry(7, 41)
    assert geometry.place_bytes == 128
    assert geometry.total_bytes == HEADER_BYTES + 7 * 128
