"""Shelly and Tasmota plugs, asked over real HTTP."""

import socket
import time
from contextlib import contextmanager

import pytest
from fake_plug import (
    FakeFirstShelly,
    FakeShelly,
    FakeTasmota,
    dripping,
    endless,
    eventually,
    free_port,
    says,
    silent,
)

from joulelab.energy.conformance import check_meter
from joulelab.energy.detection import find_meters
from joulelab.energy.meters.plug_http import Address, Digest
from joulelab.energy.meters.shelly import ShellyDetector
from joulelab.energy.meters.tasmota import TasmotaDetector
from joulelab.energy.reading import Status
from joulelab.energy.recorder import Recorder
from joulelab.errors import MeterError, SettingsError

SECRET = "gehe!m & <1 €>"
KINDS = [(FakeShelly, ShellyDetector), (FakeTasmota, TasmotaDetector)]
IDS = ["shelly", "tasmota"]
QUICK = {"poll_s": 0.02, "timeout_s": 5.0}


@pytest.fixture(autouse=True)
def no_passwords_from_outside(monkeypatch):
    for kind in ("SHELLY", "TASMOTA"):
        monkeypatch.delenv(f"JOULELAB_{kind}_PASSWORD", raising=False)


@pytest.fixture(params=KINDS, ids=IDS)
def kind(request):
    """A plug of either kind and its detector."""
    make, detector = request.param
    with make() as plug:
        yield plug, detector


@pytest.fixture(params=[detector for _, detector in KINDS], ids=IDS)
def detector(request):
    """A detector of either kind."""
    return request.param


@contextmanager
def opened(detector, plug, *, lasting=True, **settings):
    """The meter of a plug that answers; a busy machine makes no answer of a lasting one too old."""
    meters, missing = detector(plug.address, **{**QUICK, **settings}).detect()
    assert not missing, missing
    (meter,) = meters
    if lasting:
        meter.max_age_s = 60.0
    try:
        yield meter
    finally:
        meter.close()


def refusal(detector, address, **settings):
    """Why a plug cannot be read: the reason, and the remedy."""
    meters, (missing,) = detector(address, **{**QUICK, **settings}).detect()
    assert not meters
    assert missing.domain == settings.get("domain", "wall")
    return missing.reason, missing.remedy


def power(meter):
    return meter.sample()[0]


def energy(meter):
    return meter.sample()[1]


def test_both_kinds_keep_the_contract_of_a_meter(kind):
    plug, detector = kind
    check_meter(lambda: detector(plug.address, **QUICK).detect()[0][0])


def test_power_energy_and_state_are_read(kind):
    plug, detector = kind
    with opened(detector, plug) as meter:
        assert power(meter).value == 100.0
        assert energy(meter).value == pytest.approx(3.6e6)
        assert power(meter).state["voltage_v"] == pytest.approx(231, abs=0.3)
        assert power(meter).state["current_a"] == pytest.approx(0.43, abs=0.01)
        plug.power_w, plug.total_j = 250.0, 3.6e6 + 3600
        eventually(lambda: power(meter).value == 250.0)
        assert energy(meter).value == pytest.approx(3.6e6 + 3600)


def test_a_shelly_says_its_temperature():
    with FakeShelly() as plug, opened(ShellyDetector, plug) as meter:
        assert power(meter).state["temperature_c"] == 41.5


def test_both_channels_are_the_wall_that_nothing_contains(kind):
    plug, detector = kind
    with opened(detector, plug) as meter:
        assert [channel.kind for channel in meter.channels] == ["power", "counter"]
        for channel in meter.channels:
            assert (channel.domain, channel.within) == ("wall", ())
            assert channel.status is Status.MEASURED
            assert channel.source == f"{detector.kind}-{channel.kind}"
            assert channel.remark


def test_a_tick_is_how_old_a_value_may_be(kind):
    plug, detector = kind
    with opened(detector, plug, lasting=False, poll_s=1.0) as meter:
        assert meter.max_age_s == 2.0
        assert {channel.tick_s for channel in meter.channels} == {3.0}


def test_a_second_supply_has_a_domain_of_its_own():
    with FakeShelly() as one, FakeShelly() as other:
        found = find_meters(
            [f"shelly:{one.address}", f"shelly:{other.address}?domain=wall:1&poll_s=0.5"]
        )
        assert [m.channels[0].domain for m in found.meters] == ["wall", "wall:1"]
        assert len({meter.name for meter in found.meters}) == 2, "each has its own description"
        for meter in found.meters:
            meter.close()


def test_a_bound_of_the_user_replaces_the_assumed_one(kind):
    plug, detector = kind
    with opened(detector, plug, relative_error=0.01) as meter:
        assert {channel.relative_error for channel in meter.channels} == {0.01}
        assert "by the user" in meter.channels[0].remark


@pytest.mark.parametrize(
    ("total_j", "decimals", "step_j"),
    [(3.6e6, 3, 3600.0), (3.6e6, 5, 36.0), (3.6e6, 0, 3.6e6), (600 * 3.6e6, 5, 219.7)],
)
def test_the_step_of_a_tasmota_is_that_of_its_digits_or_of_its_float(total_j, decimals, step_j):
    with (
        FakeTasmota(total_j=total_j, decimals=decimals) as plug,
        opened(TasmotaDetector, plug) as meter,
    ):
        assert meter.channels[1].resolution_j == pytest.approx(step_j, rel=1e-3)


def test_the_step_of_a_shelly_is_a_milliwatthour():
    with FakeShelly(total_j=6532.041 * 3600) as plug, opened(ShellyDetector, plug) as meter:
        assert meter.channels[1].resolution_j == pytest.approx(3.6)


def test_a_plug_that_counts_no_energy_has_its_power():
    with FakeShelly(total_j=None) as plug, opened(ShellyDetector, plug) as meter:
        assert [channel.kind for channel in meter.channels] == ["power"]
        assert power(meter).value == 100.0


def test_a_plug_that_cannot_switch_is_found_by_its_other_name():
    with FakeShelly(component="PM1") as plug, opened(ShellyDetector, plug) as meter:
        before = len(plug.asked)
        eventually(lambda: len(plug.asked) > before + 2)
        assert power(meter).value == 100.0
        assert all("PM1" in path for path in plug.asked[before:]), "the other is asked for once"


def test_the_sockets_of_a_tasmota_are_added_up():
    with FakeTasmota() as plug:
        plug.status = lambda: '{"StatusSNS":{"ENERGY":{"Total":[1.5,2.25],"Power":[40,2]}}}'
        with opened(TasmotaDetector, plug) as meter:
            assert (power(meter).value, energy(meter).value) == (42.0, 3.75 * 3.6e6)
            assert meter.channels[1].resolution_j == pytest.approx(0.1 * 3.6e6)


def test_it_describes_itself(kind):
    plug, detector = kind
    with opened(detector, plug) as meter:
        about = dict(meter.describe())
        assert about.pop("address") == plug.address
        assert about.pop("asked") == "every 0.02 s"
        assert about in (
            {"model": "S3PL-00112EU", "firmware": "1.4.4"},
            {"firmware": "Tasmota 14.2.0(release-tasmota)"},
        )


# The password.


def test_the_right_password_opens(kind):
    plug, detector = kind
    plug.password = SECRET
    with opened(detector, plug, password=SECRET) as meter:
        plug.power_w = 55.0
        eventually(lambda: power(meter).value == 55.0)


def test_a_password_of_digits_may_come_as_a_number(kind):
    plug, detector = kind
    plug.password = "1234"
    with opened(detector, plug, password=1234) as meter:
        assert power(meter).value == 100.0


def test_the_password_may_come_from_the_environment(kind, monkeypatch):
    plug, detector = kind
    plug.password = SECRET
    monkeypatch.setenv(f"JOULELAB_{detector.kind.upper()}_PASSWORD", SECRET)
    with opened(detector, plug) as meter:
        assert power(meter).value == 100.0


def test_a_wrong_and_a_missing_password_are_told_apart(kind):
    plug, detector = kind
    plug.password = SECRET
    wrong, remedy = refusal(detector, plug.address, password="swordfish")
    assert wrong == f"{plug.address}: wrong password"
    assert "swordfish" not in remedy
    assert "settings file" in remedy
    missing, remedy = refusal(detector, plug.address)
    assert missing == f"{plug.address}: it asks for a password"
    assert f"JOULELAB_{detector.kind.upper()}_PASSWORD" in remedy


def test_a_tasmota_before_version_8_refuses_with_status_200():
    with FakeTasmota(password=SECRET) as plug:
        plug.refusal = 200
        assert "wrong password" in refusal(TasmotaDetector, plug.address, password="x")[0]


def test_the_password_is_never_shown(kind):
    """Not even where the device repeats the question in its answer."""
    plug, detector = kind
    with opened(detector, plug, lasting=False, password=SECRET) as meter:
        said = [repr(meter), repr(vars(meter)), str(meter.describe()), str(meter.channels)]
        plug.reply = lambda *_: (404, f"Not found: {plug.asked[-1]} {SECRET} geheim", {})
        said.append(eventually(lambda: power(meter).reason))
        said += refusal(detector, plug.address, password=SECRET)
    settings = detector(plug.address, password=SECRET)
    said += [repr(settings), repr(vars(settings))]
    for text in said:
        assert "gehe" not in text.replace("geheim", "")


def test_one_nonce_serves_many_questions():
    """Firmware 2 keeps few nonces, and turns away who asks for a new one each time."""
    with (
        FakeShelly(password=SECRET) as plug,
        opened(ShellyDetector, plug, poll_s=0.005, password=SECRET) as meter,
    ):
        eventually(lambda: len(plug.asked) > 15)
        assert power(meter).value == 100.0
        assert len(plug.nonces) == 1


def test_a_stale_nonce_is_replaced_without_a_hole():
    with (
        FakeShelly(password=SECRET, nonce_uses=3) as plug,
        opened(ShellyDetector, plug, poll_s=0.01, password=SECRET) as meter,
    ):
        while len(plug.nonces) < 5:
            assert not meter._latest.failure
            time.sleep(0.01)
        assert power(meter).value == 100.0


def test_a_plug_that_turns_away_for_a_while_is_asked_anew():
    with (
        FakeShelly(password=SECRET) as plug,
        opened(ShellyDetector, plug, lasting=False, password=SECRET) as meter,
    ):
        answer, accounts = plug.reply, []

        def turned_away(_path, _query, headers):
            accounts.append("Authorization" in headers)
            return 429, "Too Many Requests", {}

        plug.reply = turned_away
        eventually(lambda: "refuses requests for now" in power(meter).reason)
        eventually(lambda: len(accounts) > 3)
        assert not any(accounts[1:]), "to repeat what it has refused would keep it refusing"
        plug.reply = answer
        eventually(lambda: power(meter).value == 100.0)


def test_an_unknown_way_of_asking_for_a_password_is_said():
    with FakeShelly() as plug:
        basic = {"WWW-Authenticate": 'Basic realm="router"'}
        plug.reply = lambda *_: (401, "", basic)
        assert "not supported" in refusal(ShellyDetector, plug.address, password="x")[0]


def test_the_digest_is_that_of_the_example_in_rfc_7616(monkeypatch):
    """Section 3.9.1."""
    own = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
    monkeypatch.setattr("joulelab.energy.meters.plug_http.secrets.token_hex", lambda _: own)
    digest = Digest("Mufasa", "Circle of Life")
    md5 = (
        'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=MD5, '
        'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", '
        'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
    )
    assert not digest.accept([md5])
    assert digest.accept([md5, md5.replace("MD5", "SHA-256")])
    header = digest.header("/dir/index.html")
    assert 'response="753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"' in header
    assert 'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"' in header
    assert "nc=00000001" in header
    assert "nc=00000002" in digest.header("/dir/index.html")


# What goes wrong when it is opened.


def test_without_an_address_it_is_said_how_to_give_one(kind):
    _, detector = kind
    reason, remedy = refusal(detector, "")
    assert reason == "the plug's address is missing"
    assert f"{detector.kind}:192.168.1.20" in remedy
    assert f"[meter.{detector.kind}]" in remedy
    with pytest.raises(MeterError, match="address is missing"):
        find_meters([detector.kind])


def test_a_plug_is_used_only_by_name(kind):
    assert kind[1].automatic is False


def test_nobody_there(kind):
    address = f"127.0.0.1:{free_port()}"
    reason, remedy = refusal(kind[1], address)
    assert reason.startswith(f"{address} cannot be reached: ")
    assert "this address" in remedy


def test_a_name_that_nobody_has(kind):
    assert "cannot be reached" in refusal(kind[1], "a..b")[0]


@pytest.mark.parametrize("misbehaviour", [silent, dripping])
def test_an_answer_that_does_not_come_in_time(kind, misbehaviour):
    plug, detector = kind
    plug.instead = misbehaviour
    started_s = time.monotonic()
    reason, _ = refusal(detector, plug.address, timeout_s=0.1)
    assert reason == f"{plug.address}: no answer within 0.1 s"
    assert time.monotonic() - started_s < 60, "dripping takes half an hour"


@pytest.mark.parametrize(
    ("misbehaviour", "expected"),
    [
        (endless, "too long"),
        (says(b"SSH-2.0-OpenSSH_9.6\r\n"), "not HTTP"),
        (says(b""), "cannot be reached"),
        (says(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"), "breaks off"),
        (says(b"HTTP/1.1 200 OK\r\n\r\n\xff\xfe\x00{"), "not JSON"),
        (says(b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 60_000), "not JSON"),
        (says(b"HTTP/1.1 200 OK\r\n\r\n" + b"9" * 60_000), "not JSON"),
        (says(b"HTTP/1.1 200 OK\r\n\r\n1e99999999999999999999"), "not JSON"),
    ],
)
def test_what_is_no_answer_of_a_plug(kind, misbehaviour, expected):
    plug, detector = kind
    plug.instead = misbehaviour
    reason, remedy = refusal(detector, plug.address)
    assert reason.startswith(plug.address)
    assert expected in reason
    assert len(reason) < 200
    assert remedy


@pytest.mark.parametrize(
    ("status", "text", "expected"),
    [
        (
            200,
            "<html>\x1b[2J<b>Router</b></html>",
            "not JSON: '<html>\\x1b[2J<b>Router</b></html>'",
        ),
        (200, "[1, 2]", "not a JSON object: '[1, 2]'"),
        (200, '"x"', "not a JSON object"),
        (500, "Internal", "HTTP status 500: 'Internal'"),
        (403, "no", "HTTP status 403"),
        (200, "{}", "has no "),
        (200, '{"StatusSNS":{"Time":"now"}}', "has no "),
        (200, '{"Command":"Unknown"}', "has no "),
        (200, '{"id":0,"output":true}', "has no "),
    ],
)
def test_an_answer_of_something_else(kind, status, text, expected):
    plug, detector = kind
    plug.reply = lambda *_: (status, text, {})
    assert expected in refusal(detector, plug.address)[0]


def test_an_empty_answer_hints_at_the_option_of_tasmota():
    with FakeTasmota() as plug:
        plug.reply = lambda *_: (200, "", {})
        reason, remedy = refusal(TasmotaDetector, plug.address)
        assert "empty" in reason
        assert "SetOption128 1" in remedy


def test_it_is_not_sent_elsewhere(kind):
    plug, detector = kind
    with FakeShelly() as elsewhere:
        plug.reply = lambda *_: (302, "", {"Location": f"http://{elsewhere.address}/"})
        assert "redirects to another address" in refusal(detector, plug.address)[0]
        assert not elsewhere.asked


def test_no_proxy_is_asked(kind, monkeypatch):
    plug, detector = kind
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    with opened(detector, plug) as meter:
        assert power(meter).value == 100.0


def test_a_shelly_of_the_first_generation_is_known_as_such():
    with FakeFirstShelly() as plug:
        reason, remedy = refusal(ShellyDetector, plug.address)
        assert "'SHPLG-S' is a Shelly of the first generation" in reason
        assert "Gen3" in remedy


def test_a_socket_that_a_shelly_has_not():
    with FakeShelly() as plug:
        assert "has no socket 3" in refusal(ShellyDetector, plug.address, switch=3)[0]


def test_a_tasmota_is_no_shelly_and_the_other_way_round():
    with FakeTasmota() as tasmota, FakeShelly() as shelly:
        assert "not a Shelly plug" in refusal(ShellyDetector, tasmota.address)[0]
        assert "HTTP status 404" in refusal(TasmotaDetector, shelly.address)[0]


@pytest.mark.parametrize("said", ["NaN", "Infinity", "1e7", "1e999", '"87.4"', "true", "null"])
def test_a_power_that_cannot_be_is_refused(kind, said):
    plug, detector = kind
    plug.status = lambda: f'{{"apower":{said},"StatusSNS":{{"ENERGY":{{"Power":{said}}}}}}}'
    reason, _ = refusal(detector, plug.address)
    assert "as its power" in reason


def test_power_that_flows_back_is_refused(kind):
    plug, detector = kind
    plug.power_w = -300.5
    reason, remedy = refusal(detector, plug.address)
    assert "it says -300.5 W: power flows back" in reason
    assert "solar" in remedy


@pytest.mark.parametrize("said", ["-5.0", '"x"', "NaN"])
def test_an_energy_that_cannot_be_is_refused(kind, said):
    plug, detector = kind
    plug.status = lambda: (
        f'{{"apower":1,"aenergy":{{"total":{said}}},'
        f'"StatusSNS":{{"ENERGY":{{"Power":1,"Total":{said}}}}}}}'
    )
    assert "as its energy" in refusal(detector, plug.address)[0]


# What goes wrong in mid-run.


def test_a_plug_that_vanishes_and_comes_back(kind):
    plug, detector = kind
    with opened(detector, plug, lasting=False) as meter:
        plug.stop()
        eventually(lambda: "cannot be reached" in power(meter).reason)
        assert energy(meter).value is None
        plug.total_j += 3600
        plug.start()
        eventually(lambda: power(meter).value == 100.0)
        # Its counter went on meanwhile.
        assert eventually(lambda: energy(meter).value) == pytest.approx(3.6036e6)


def test_a_plug_that_falls_silent_and_comes_back(kind):
    plug, detector = kind
    with opened(detector, plug, lasting=False, timeout_s=0.2) as meter:
        plug.instead = silent
        eventually(lambda: "no answer within 0.2 s" in power(meter).reason)
        plug.instead = None
        eventually(lambda: power(meter).value == 100.0)


def test_garbage_in_mid_run_is_a_reason_and_no_value(kind):
    plug, detector = kind
    with opened(detector, plug, lasting=False) as meter:
        answer, plug.reply = plug.reply, lambda *_: (200, "<html>rebooting", {})
        eventually(lambda: "not JSON: '<html>rebooting'" in power(meter).reason)
        plug.reply = answer
        eventually(lambda: power(meter).value == 100.0)


@pytest.mark.parametrize(("total_j", "how"), [(3600.0, "fell"), (3.6e15, "jumped")])
def test_a_counter_that_was_reset_stays_unreadable_and_power_does_not(kind, total_j, how):
    plug, detector = kind
    with opened(detector, plug) as meter:
        before_j, plug.total_j = plug.total_j, total_j
        eventually(lambda: energy(meter).value is None)
        plug.total_j = before_j + 3600.0
        plug.power_w = 77.0
        eventually(lambda: power(meter).value == 77.0)
        assert energy(meter).value is None
        assert f"counter {how} from 3.6e+06 to" in energy(meter).reason


def test_an_energy_that_is_left_out_once_is_no_reset():
    with FakeShelly() as plug, opened(ShellyDetector, plug) as meter:
        plug.total_j = None
        eventually(lambda: energy(meter).reason == "the plug did not report its energy")
        plug.total_j = 3.6e6
        eventually(lambda: energy(meter).value)


def test_closing_does_not_wait_for_a_silent_plug(kind):
    plug, detector = kind
    with opened(detector, plug, timeout_s=60.0) as meter:
        asked = []
        plug.instead = lambda connection: (asked.append(1), silent(connection))
        eventually(lambda: asked)
        thread = meter._thread
        meter.close()
        thread.join(20)
        assert not thread.is_alive(), "the question was given up"
        assert {sample.reason for sample in meter.sample()} == {"closed"}


# Settings.


@pytest.mark.parametrize(
    ("text", "host", "port", "shown"),
    [
        ("192.168.1.20", "192.168.1.20", 80, "192.168.1.20"),
        ("plug.local:8080", "plug.local", 8080, "plug.local:8080"),
        ("http://my_plug/", "my_plug", 80, "my_plug"),
        (" http://10.0.0.1:81 ", "10.0.0.1", 81, "10.0.0.1:81"),
        ("[fe80::1]", "fe80::1", 80, "[fe80::1]"),
        ("http://[::1]:8080/", "::1", 8080, "[::1]:8080"),
    ],
)
def test_addresses(text, host, port, shown):
    address = Address.parse(text)
    assert (address.host, address.port, str(address)) == (host, port, shown)


@pytest.mark.parametrize(
    "address",
    [
        "fe80::1",
        "https://plug",
        "plug/rpc",
        "plug:0",
        "plug:99999",
        "plug:http",
        "[1.2.3.4]",
        "a b",
        "plug\r\nX-Header: 1",
        "admin:gehe@plug",
        "http://admin:gehe@plug",
        "plug?password=gehe",
    ],
)
def test_an_address_that_is_none_is_refused_without_showing_a_password(detector, address):
    with pytest.raises(SettingsError, match="is not valid") as caught:
        detector(address)
    assert "gehe" not in str(caught.value)


@pytest.mark.parametrize(
    "setting",
    [
        {"domain": ""},
        {"domain": 3},
        {"domain": "the wall"},
        {"timeout_s": 0},
        {"timeout_s": -1.0},
        {"timeout_s": "2"},
        {"timeout_s": float("nan")},
        {"poll_s": 0.0},
        {"poll_s": True},
        {"poll_s": 3600},
        {"relative_error": 0},
        {"relative_error": 2},
    ],
    ids=str,
)
def test_a_setting_that_cannot_be_right_is_refused(detector, setting):
    (name,) = setting
    with pytest.raises(SettingsError, match=name):
        detector("plug", **setting)


@pytest.mark.parametrize("switch", [-1, "1", True, 0.5])
def test_a_socket_that_is_no_number_is_refused(switch):
    with pytest.raises(SettingsError, match="switch"):
        ShellyDetector("plug", switch=switch)


def test_settings_come_from_the_file_and_from_the_name(kind, tmp_path, monkeypatch):
    plug, detector = kind
    plug.password = "0815"
    path = tmp_path / "settings.toml"
    path.write_text(
        f'[meter.{detector.kind}]\naddress = "{plug.address}"\npassword = "0815"\npoll_s = 2\n'
    )
    monkeypatch.setenv("JOULELAB_SETTINGS", str(path))
    (meter,) = find_meters([f"{detector.kind}?domain=monitor"]).meters
    assert (meter.poll_s, meter.channels[0].domain) == (2.0, "monitor")
    meter.close()


def test_a_plug_on_ipv6():
    with FakeShelly() as plug:
        try:
            listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
        except OSError:
            pytest.skip("no IPv6 here")
        with listener:
            address = f"[::1]:{listener.getsockname()[1]}"
            listener.close()
        assert f"{address} cannot be reached" in refusal(ShellyDetector, address)[0]
        assert plug.asked == []


# Through a recorder.


def test_a_window_over_a_constant_load_has_its_mean_power():
    """A counter that does not move in so short a window leaves the figure to power."""
    with FakeTasmota(power_w=100) as plug, opened(TasmotaDetector, plug, poll_s=0.1) as meter:
        with Recorder([meter], interval_s=0.05) as recorder, recorder.open("w") as window:
            time.sleep(0.4)
        reading = window.measurement["wall"]
        assert reading.source == "tasmota-power"
        assert reading.mean_power_w == pytest.approx(100.0)
        assert window.measurement.energy_j == reading.gross_j
        assert window.trace_columns()["voltage_v"][0] == 231.0


def test_the_counter_of_a_shelly_is_the_check_of_a_short_window():
    started_s = time.monotonic()
    with FakeShelly(total_j=lambda: 100.0 * (time.monotonic() - started_s)) as plug:
        with (
            opened(ShellyDetector, plug, lasting=False, poll_s=0.1) as meter,
            Recorder([meter], interval_s=0.05) as recorder,
            recorder.open("w") as window,
        ):
            time.sleep(1.2)
        reading = window.measurement["wall"]
        assert reading.source == "shelly-power"
        true_j = 100.0 * window.measurement.duration_s
        # Each edge may be as old as an answer may be, and be bridged for three readings.
        stale_s = 2 * (meter.max_age_s + 3 * meter.interval_s)
        assert abs(reading.check_j - true_j) <= 100.0 * stale_s < true_j
        assert abs(reading.gross_j - true_j) <= reading.error_j
        assert reading.gross_j == pytest.approx(true_j, rel=0.01)
