"""Load over HTTP against real sockets on loopback, with servers that behave well and badly."""

import email
import importlib.util
import math
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
from loopback_endpoint import (
    all_at_once,
    answer,
    closing_after,
    endless,
    endpoint,
    saying,
    silent,
    vanishing_after,
)

from joulelab.errors import ServingError, UsageError
from joulelab.serving import http_load
from joulelab.serving.http_load import HttpLoad, Limits
from joulelab.serving.http_results import Exchanges, LimitCheck, LoadSummary
from joulelab.serving.http_target import (
    Content,
    Target,
    is_this_machine,
)
from joulelab.serving.images import image_files, shipped_photographs
from joulelab.serving.planning.comparison import ResponseLimit
from own_certificate import certificate, server_context


def send(server, count=20, *, gap_s=0.002, content=None, **limits):
    """Send requests at equal gaps; what came of them."""
    target = Target.parse(server.url)
    requests = (content or Content()).prepared(target)
    with HttpLoad(target, target.addresses(), requests, Limits(**limits)) as load:
        load.connect()
        which = np.arange(count) % len(requests)
        return load.send(np.arange(count) * gap_s, which)


def test_every_request_is_sent_once_and_answered_over_few_connections():
    with endpoint(saying(answer())) as server:
        exchanges = send(server, 50, gap_s=0.005, json_expected=True)
        assert len(server.requests) == 50
        assert server.connections < 50
    assert exchanges.answered.all()
    assert set(exchanges.status) == {200}
    assert exchanges.reasons == {}
    assert (exchanges.due_s <= exchanges.begun_s).all()
    assert (exchanges.begun_s <= exchanges.sent_s).all()
    assert (exchanges.sent_s < exchanges.ended_s).all()


def test_a_slow_answer_delays_no_later_request():
    # Nobody is answered before the last one has been sent: who waits for answers never ends.
    with endpoint(all_at_once(30)) as server:
        exchanges = send(server, 30, gap_s=0.01)
    assert exchanges.answered.all()
    assert exchanges.begun_s[-1] < exchanges.ended_s.min()
    # The first has waited for all the others, and its response time says so.
    assert exchanges.response_s[0] >= exchanges.due_s[-1]


def test_a_request_for_which_no_connection_is_left_is_counted_and_never_sent():
    with endpoint(silent) as server:
        exchanges = send(server, 10, connections=3, timeout_s=0.4)
        assert len(server.requests) == 3
    assert exchanges.reasons == {"not sent: 3 requests open": 7, "timed out": 3}
    assert exchanges.sent.sum() == 3
    assert np.isnan(exchanges.sent_s[3:]).all()
    summary = LoadSummary.of(exchanges, 500)
    assert (summary.answered, summary.failed, summary.not_sent) == (0, 3, 7)
    assert summary.response.p99_s is None
    assert "7 requests turned away" in summary.saturation


@pytest.mark.parametrize(
    ("behave", "reason"),
    [
        (silent, "timed out"),
        (endless, "timed out"),
        (saying(b"220 mail ready\r\n"), "not an HTTP answer"),
        (saying(b"\x00\x00\x12\x04\x00\x00"), "not an HTTP answer"),
        (saying(b"HTTP/9 what\r\n\r\n"), "not an HTTP answer"),
        (saying(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000), "not an HTTP answer"),
        (closing_after(b""), "connection closed before the answer"),
        (closing_after(b"HT"), "connection closed before the answer"),
        (
            closing_after(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc"),
            "connection closed before the answer",
        ),
        (saying(answer(status="500 Oh")), "HTTP 500"),
        (saying(answer(status="503 Full")), "HTTP 503"),
        (saying(answer(b"<html>")), "body is not JSON"),
        (saying(answer(b"[" * 100_000)), "body is not JSON"),
        (saying(answer(b"")), "body is not JSON"),
        (
            saying(answer(status="302 Found", headers="location: http://127.0.0.1:1/x\r\n")),
            "HTTP 302, a redirect, not followed",
        ),
    ],
)
def test_a_bad_answer_is_counted_by_its_reason_and_the_load_ends(behave, reason):
    with endpoint(behave) as server:
        timeout_s = 0.3 if reason == "timed out" else 10.0
        exchanges = send(server, 6, timeout_s=timeout_s, json_expected=True)
        assert len(server.requests) == 6, "none is sent again"
    assert exchanges.reasons == {reason: 6}
    assert not exchanges.answered.any()
    assert np.isfinite(exchanges.ended_s).all()
    if "302" in reason:
        assert exchanges.location == "http://127.0.0.1:1/x"


@pytest.mark.parametrize(
    "behave",
    [
        closing_after(answer()),
        closing_after(answer(headers="connection: close\r\n")),
        closing_after(b'HTTP/1.0 200 OK\r\n\r\n{"length": "until the end"}'),
        saying(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"),
        saying(b"HTTP/1.1 103 Early Hints\r\n\r\n" + answer()),
        saying(answer() + b"and more that nobody asked for"),
    ],
)
def test_an_odd_but_whole_answer_counts(behave):
    with endpoint(behave) as server:
        exchanges = send(server, 10, gap_s=0.01, json_expected=True)
        assert len(server.requests) == 10
    assert exchanges.answered.all(), exchanges.reasons


def test_a_body_that_is_not_json_is_an_answer_where_none_was_expected():
    with endpoint(saying(answer(b"<html>"))) as server:
        assert send(server, 3).answered.all()


def test_an_endpoint_that_refuses_is_said_before_anything_is_sent():
    with endpoint(silent) as server:
        target = Target.parse(server.url)
    with (
        HttpLoad(target, target.addresses(), Content().prepared(target)) as load,
        pytest.raises(ServingError, match="connection refused"),
    ):
        load.connect()


def test_a_server_that_disappears_leaves_what_was_answered_and_the_reasons():
    with endpoint(vanishing_after(8)) as server:
        exchanges = send(server, 60, gap_s=0.01, timeout_s=2)
    assert 1 <= exchanges.answered.sum() <= 7
    assert exchanges.answered.sum() + sum(exchanges.reasons.values()) == 60
    assert set(exchanges.reasons) <= {
        "connection refused",
        "connection closed before the answer",
        "no connection: Connection reset by peer",
    }
    assert exchanges.reasons["connection refused"] >= 1


def test_connections_that_the_server_has_closed_meanwhile_are_not_used():
    with endpoint(closing_after(answer())) as server:
        target = Target.parse(server.url)
        with HttpLoad(target, target.addresses(), Content().prepared(target)) as load:
            for _ in range(3):
                load.connect()
                once = load.send(np.zeros(1), np.zeros(1, np.int64))
                assert once.answered.all(), once.reasons
                time.sleep(0.05)


def test_a_generator_that_is_late_sends_no_burst_and_says_so(monkeypatch):
    monkeypatch.setattr(http_load, "LATEST_S", 0.1)
    monkeypatch.setattr(http_load, "PROGRESS_S", 0.05)
    stalls = iter([0.25])
    with endpoint(saying(answer())) as server:
        target = Target.parse(server.url)
        with HttpLoad(target, target.addresses(), Content().prepared(target)) as load:
            load.connect()
            exchanges = load.send(
                np.arange(100) * 0.005,
                np.zeros(100, np.int64),
                lambda *_: time.sleep(next(stalls, 0)),
            )
        held_back = exchanges.reasons["not sent: the generator was late"]
        assert len(server.requests) == 100 - held_back
    assert 0 < held_back < 100
    said = LoadSummary.of(exchanges, 100).generator_in_words
    assert said.startswith("the load generator did not keep its rate")
    assert f"{held_back} requests held back as too late" in said


def test_control_c_keeps_what_there_is():
    async def interrupting(server, reader, writer):
        while True:
            if await server.request(reader) == 5:
                os.kill(os.getpid(), signal.SIGINT)

    with endpoint(interrupting) as server:
        exchanges = send(server, 1000, gap_s=0.01, timeout_s=30)
        assert 5 <= len(server.requests) <= len(exchanges) < 1000
    assert exchanges.reasons == {"interrupted": len(exchanges)}
    assert np.isfinite(exchanges.ended_s).all()


def test_https_is_spoken_and_certificates_are_checked(tmp_path, monkeypatch):
    path = certificate(tmp_path)
    with endpoint(saying(answer()), server_context(path)) as server:
        with pytest.raises(ServingError, match="certificate is not trusted") as raised:
            send(server, 5)
        assert "SSL_CERT_FILE" in raised.value.hint
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        assert send(server, 5).answered.all()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://127.0.0.1/x", "not an http"),
        ("127.0.0.1:8000/x", "not an http"),
        ("http://", "not an http"),
        ("http://127.0.0.1:99999/", "is not a URL"),
        ("http://[::1/", "is not a URL"),
        ("http://me:secret@127.0.0.1/", "password"),
        ("http://127.0.0.1/a b", "escaping"),
    ],
)
def test_what_is_no_endpoint_is_refused(url, words):
    with pytest.raises(UsageError, match=words) as raised:
        Target.parse(url)
    assert "secret" not in str(raised.value)


def test_a_url_is_taken_apart():
    target = Target.parse("https://[::1]/a/b?c=d#e")
    assert (target.host, target.port, target.path) == ("::1", 443, "/a/b?c=d")
    assert target.authority == "[::1]"
    assert Target.parse("http://127.0.0.1:81").path == "/"
    assert Target.parse("http://127.0.0.1:81").authority == "127.0.0.1:81"


def test_loopback_and_its_own_interfaces_are_this_machine():
    own = [
        one.address
        for places in psutil.net_if_addrs().values()
        for one in places
        if one.family == socket.AF_INET
    ]
    assert is_this_machine(["127.0.0.1", "::1"])
    assert is_this_machine(own)
    assert not is_this_machine(["127.0.0.1", "192.0.2.1"])


def test_an_unknown_host_is_said():
    with pytest.raises(ServingError, match=r"'nobody\.invalid' is unknown"):
        Target.parse("http://nobody.invalid/").addresses()


def test_a_file_is_the_body_or_a_field_of_a_form(tmp_path):
    path = tmp_path / 'a "b".png'
    path.write_bytes(b"\x89PNG\r\n--\r\n")
    with endpoint(saying(answer())) as server:
        send(server, 1, content=Content((path,), headers={"X-Key": "k", "Accept": "text/x"}))
        send(server, 1, content=Content((path,), "PUT", field="image"))
        send(server, 1, content=Content((), "GET"))
    first, form, get = server.requests
    assert first[0] == "POST /classify?k=1 HTTP/1.1"
    assert first[1]["content-type"] == "image/png"
    assert (first[1]["x-key"], first[1]["accept"]) == ("k", "text/x")
    assert first[1]["host"] == f"localhost:{server.port}"
    assert first[2] == path.read_bytes()
    parsed = email.message_from_bytes(
        b"Content-Type: " + form[1]["content-type"].encode() + b"\r\n\r\n" + form[2]
    )
    (part,) = parsed.get_payload()
    assert part.get_param("name", header="content-disposition") == "image"
    assert part.get_filename() == "a %22b%22.png"
    assert part.get_payload(decode=True).startswith(b"\x89PNG")
    assert get[0].startswith("GET ")
    assert "content-length" not in get[1]


@pytest.mark.parametrize("headers", [{"a b": "c"}, {"a": "b\r\nc: d"}, {"Content-Length": "3"}])
def test_a_malformed_header_is_refused(headers):
    with pytest.raises(UsageError):
        Content(headers=headers).prepared(Target.parse("http://127.0.0.1/"))


def test_a_folder_gives_its_images_and_nothing_else(tmp_path):
    with pytest.raises(UsageError, match="contains no images"):
        image_files(tmp_path)
    for name in ("b.jpg", "a.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    assert [path.name for path in image_files(tmp_path)] == ["a.png", "b.jpg"]
    assert image_files(tmp_path / "notes.txt") == (tmp_path / "notes.txt",)
    with pytest.raises(UsageError, match="does not exist"):
        image_files(tmp_path / "c")


def test_the_shipped_photographs_are_found_without_importing_scikit_learn():
    assert [path.name for path in shipped_photographs()] == ["china.jpg", "flower.jpg"]
    program = (
        "import sys; from joulelab.serving.images import shipped_photographs; "
        "shipped_photographs(); assert 'sklearn' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    assert importlib.util.find_spec("sklearn")


def exchanges_of(due_s, response_s, outcome=None, outcomes=("answered", "HTTP 500")):
    """A load whose requests were begun and sent when they were due."""
    due_s, response_s = np.asarray(due_s, float), np.asarray(response_s, float)
    outcome = np.zeros(len(due_s), np.int32) if outcome is None else np.asarray(outcome)
    return Exchanges(
        due_s, due_s, due_s, due_s + response_s, np.full(len(due_s), 200), outcome, outcomes
    )


def test_response_counts_from_due_and_service_from_sending():
    one = np.ones(1)
    exchanges = Exchanges(one, one + 1, one + 3, one + 7, one, np.zeros(1, int), ("answered",))
    assert (exchanges.response_s, exchanges.service_s) == (7, 4)
    assert exchanges.columns()["response_s"] == 7
    summary = LoadSummary.of(exchanges, 1)
    assert (summary.response.max_s, summary.service.max_s, summary.late.max_s) == (7, 4, 1)
    assert LimitCheck.of(exchanges, ResponseLimit(99, 6)).share_within == 0


def test_figures_of_a_load():
    exchanges = exchanges_of(np.arange(101) / 10, np.arange(101) / 100)
    summary = LoadSummary.of(exchanges, 10)
    assert summary.due_per_s == summary.sent_per_s == pytest.approx(10)
    assert summary.duration_s == pytest.approx(11)
    assert summary.throughput_per_s == pytest.approx(101 / 11)
    response = summary.response
    times_s = (response.mean_s, response.p50_s, response.p95_s, response.p99_s, response.max_s)
    assert times_s == pytest.approx((0.5, 0.5, 0.95, 0.99, 1.0))
    assert summary.kept_rate
    assert summary.generator_in_words == ""


def test_a_request_that_failed_was_not_answered_within_the_limit():
    outcome = [0] * 97 + [1] * 3
    exchanges = exchanges_of(np.arange(100), [0.1] * 100, outcome)
    assert LoadSummary.of(exchanges, 1).response.p99_s == pytest.approx(0.1)
    check = LimitCheck.of(exchanges, ResponseLimit(99, 0.2))
    assert check.share_within == pytest.approx(0.97)
    assert check.in_words == (
        "p99 within 200 ms was missed: 97.0 % of 100 requests answered in that time"
    )
    assert LimitCheck.of(exchanges, ResponseLimit(97, 0.2)).held


def test_a_queue_that_grows_is_saturation_and_a_steady_one_is_not():
    due_s = np.arange(1000) / 50
    steady = LoadSummary.of(exchanges_of(due_s, np.full(1000, 1.5)), 50)
    assert steady.saturation == ""
    # Served at 20 a second: the k-th answer comes at k / 20.
    growing = LoadSummary.of(exchanges_of(due_s, np.arange(1, 1001) / 20 - due_s), 50)
    assert growing.saturation == (
        "offered 50.0/s, served 20.0/s: saturated, the queue grew while requests arrived"
    )


def test_a_server_that_turns_requests_away_is_saturated():
    outcome = [0, 0, 0, 1] * 25
    shed = exchanges_of(np.arange(100), [0.1] * 100, outcome, ("answered", "HTTP 503"))
    assert "25 requests turned away" in LoadSummary.of(shed, 1).saturation
    broken = exchanges_of(np.arange(100), [0.1] * 100, outcome)
    assert LoadSummary.of(broken, 1).saturation == ""


def test_nothing_gives_no_figures():
    summary = LoadSummary.of(exchanges_of([], []), 10)
    assert summary.sent_per_s is summary.throughput_per_s is summary.response.mean_s is None
    assert summary.duration_s == 0
    assert summary.generator_in_words == summary.saturation == ""


@pytest.mark.parametrize("due_s", [[0.0, 0.2, 0.1], [0.0, 0.1], [0.0, float("nan"), 0.2]])
def test_times_that_are_none_are_refused(due_s):
    with endpoint(saying(answer())) as server:
        target = Target.parse(server.url)
        with (
            HttpLoad(target, target.addresses(), Content().prepared(target)) as load,
            pytest.raises(UsageError, match="decrease or differ in number"),
        ):
            load.send(np.array(due_s), np.zeros(3, np.int64))
        assert not server.requests


@pytest.mark.parametrize("limits", [{"timeout_s": 0}, {"timeout_s": math.nan}, {"connections": 0}])
def test_impossible_limits_are_refused(limits):
    with pytest.raises(UsageError):
        Limits(**limits)
