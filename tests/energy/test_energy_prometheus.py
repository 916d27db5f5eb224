"""Counters of joules on pages for Prometheus, asked over real HTTP."""

import socket
import time
from contextlib import contextmanager

import pytest
from fake_plug import FakePlug, endless, eventually, free_port, says, silent

from joulelab.energy.conformance import check_meter
from joulelab.energy.detection import find_meters
from joulelab.energy.meters.prometheus import LONGEST_PAGE, PrometheusDetector, named
from joulelab.energy.reading import Status
from joulelab.energy.recorder import Recorder
from joulelab.errors import MeterError, SettingsError
from joulelab.sinks.prometheus import PrometheusSink
from joulelab.sinks.sink import Counter, Seen
from own_certificate import certificate, server_context

QUICK = {"poll_s": 0.02, "timeout_s": 5.0, "update_s": 0.01}
DCGM = """# HELP DCGM_FI_DEV_POWER_USAGE Power draw (in W).
# TYPE DCGM_FI_DEV_POWER_USAGE gauge
DCGM_FI_DEV_POWER_USAGE{gpu="0",UUID="GPU-a",Hostname="box"} 68.2
# HELP DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION Total energy consumption since boot (in mJ).
# TYPE DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION counter
DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu="0",UUID="GPU-a",GPU_I_ID="3",Hostname="box"} 5000000
DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu="0",UUID="GPU-a",GPU_I_ID="4",Hostname="box"} 5000000
DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu="1",UUID="GPU-b",Hostname="box"} 7000000
"""
TRITON = """# HELP nv_energy_consumption GPU energy consumption in joules
# TYPE nv_energy_consumption counter
nv_energy_consumption{gpu_uuid="GPU-a"} 205620.5
nv_energy_consumption{gpu_uuid="GPU-b"} 203679.25
"""
KEPLER = """# TYPE kepler_node_cpu_joules_total counter
kepler_node_cpu_joules_total{node_name="n",path="/sys/x/intel-rapl:0",zone="package"} 100
kepler_node_cpu_joules_total{node_name="n",path="/sys/x/intel-rapl:0:0",zone="core"} 60
kepler_node_cpu_joules_total{node_name="n",path="/sys/x/intel-rapl:0:1",zone="dram"} 20
kepler_node_cpu_joules_total{node_name="n",path="/sys/x/intel-rapl:1",zone="package"} 110
# TYPE kepler_node_cpu_idle_joules_total counter
kepler_node_cpu_idle_joules_total{node_name="n",path="/sys/x/intel-rapl:0",zone="package"} 40
# TYPE kepler_container_cpu_joules_total counter
kepler_container_cpu_joules_total{container_id="c",zone="package"} 30
"""
OLD_KEPLER = """# TYPE kepler_node_package_joules_total counter
kepler_node_package_joules_total{instance="n",mode="dynamic",package="0",source="rapl-sysfs"} 30
kepler_node_package_joules_total{instance="n",mode="idle",package="0",source="rapl-sysfs"} 70
# TYPE kepler_node_platform_joules_total counter
kepler_node_platform_joules_total{instance="n",mode="idle",source="trained_power_model"} 500
"""
SCAPHANDRE = """# TYPE scaph_host_energy_microjoules counter
scaph_host_energy_microjoules 52312345678
"""
OTHER = """# TYPE node_rapl_package_joules_total counter
node_rapl_package_joules_total{index="0",path="/sys/a"} 1000
node_rapl_package_joules_total{index="1",path="/sys/b"} 2000
"""


class FakePage(FakePlug):
    def __init__(self, text, tls=None):
        self.text = text
        self.tls = tls
        self.answer = None
        super().__init__()

    def reply(self, path, query, headers):
        if self.answer is not None:
            return self.answer
        if path != "/metrics":
            return 404, "not here", {}
        return 200, self.text() if callable(self.text) else self.text, {}


def counting(power_w, began_s=None):
    """A page of DCGM whose only GPU draws a constant power."""
    start_s = time.monotonic() if began_s is None else began_s

    def page():
        mj = 1e3 * (5000 + power_w * (time.monotonic() - start_s))
        name = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"
        return f'# TYPE {name} counter\n{name}{{gpu="0",UUID="GPU-a"}} {mj:.0f}\n'

    return page


@contextmanager
def page_of(text):
    with FakePage(text) as page:
        yield page


@contextmanager
def opened(page, **settings):
    """The meters of a page."""
    meters, missing = PrometheusDetector(page.address, **{**QUICK, **settings}).detect()
    assert not missing, missing
    for meter in meters:
        meter.max_age_s = 60.0
    try:
        yield meters
    finally:
        for meter in meters:
            meter.close()


@contextmanager
def recorded(text):
    """A page, and an open window of a recorder of its meters."""
    with (
        page_of(text) as page,
        opened(page) as meters,
        Recorder(meters, interval_s=0.02) as recorder,
    ):
        yield page, recorder.open("load")


def read(text, **settings):
    """Domain, status and joules of every counter on a page."""
    with page_of(text) as page, opened(page, **settings) as meters:
        return {
            channel.domain: (channel.source, str(channel.status), sample.value)
            for meter in meters
            for channel, sample in zip(meter.channels, meter.sample(), strict=True)
        }


def refusal(address, **settings):
    meters, (missing,) = PrometheusDetector(address, **{**QUICK, **settings}).detect()
    assert not meters
    return missing.reason, missing.remedy


def test_it_keeps_the_contract_of_a_meter():
    with page_of(DCGM) as page:
        check_meter(lambda: PrometheusDetector(page.address, **QUICK).detect()[0][0])


def test_dcgm_counts_each_gpu_once_in_joules():
    assert read(DCGM) == {
        "gpu:0": ("dcgm-counter", "measured", 5000.0),
        "gpu:1": ("dcgm-counter", "measured", 7000.0),
    }


def test_triton_numbers_its_gpus_in_the_order_of_the_page():
    found = read(TRITON)
    assert [(domain, one[2]) for domain, one in found.items()] == [
        ("gpu:0", 205620.5),
        ("gpu:1", 203679.25),
    ]


def test_kepler_counts_zones_and_not_their_shares():
    assert {domain: one[2] for domain, one in read(KEPLER).items()} == {
        "cpu:0": 100,
        "core:0": 60,
        "dram:0": 20,
        "cpu:1": 110,
    }


def test_zones_of_kepler_that_contain_each_other_add_up_once():
    with page_of(KEPLER) as page, opened(page) as meters:
        within = {one.domain: one.within for one in meters[0].channels}
    assert "cpu:0" in within["core:0"]
    assert "psys:0" in within["cpu:0"]
    assert "cpu:0" not in within["dram:0"]


def test_modes_of_an_old_kepler_add_up_and_its_models_are_estimates():
    assert read(OLD_KEPLER) == {
        "cpu:0": ("kepler-counter", "measured", 100.0),
        "wall": ("kepler-counter", "estimated", 500.0),
    }


def test_scaphandre_counts_in_microjoules():
    assert read(SCAPHANDRE)["psys:0"][2] == pytest.approx(52312.345678)


def test_the_page_of_joulelab_itself_is_read():
    sink = PrometheusSink("127.0.0.1:0")
    sink.open("training")
    try:
        counters = tuple(
            Counter("gpu:0", "nvml-counter", status, joules, counts=True)
            for status, joules in ((Status.MEASURED, 40.0), (Status.PARTLY_ESTIMATED, 2.0))
        )
        sink.put(seen(counters))
        address = f"127.0.0.1:{sink.port}"
        (meter,), missing = PrometheusDetector(address, **QUICK).detect()
        assert not missing
        meter.close()
        assert meter.channels[0].domain == "gpu:0"
        assert meter.channels[0].status is Status.ESTIMATED
    finally:
        sink.close()


def seen(counters):
    return Seen(
        label="training",
        at=0.0,
        duration_s=1.0,
        status=Status.MEASURED,
        values={},
        domains=(),
        counters=counters,
        step=None,
        at_step=False,
    )


def test_domains_of_another_machine_bear_its_name():
    with page_of(KEPLER) as page, opened(page, node="box") as meters:
        core = next(one for one in meters[0].channels if one.domain == "box/core:0")
        assert "box/cpu:0" in core.within


def test_an_unknown_counter_is_offered_and_read_where_it_is_named():
    with page_of(OTHER) as page:
        reason, remedy = refusal(page.address)
        assert "node_rapl_package_joules_total" in reason
        assert "metric=" in remedy
        reason, _ = refusal(page.address, metric="node_rapl_package_joules_total")
        assert "several counters" in reason
    one = 'node_rapl_package_joules_total{index="1"}'
    assert read(OTHER, metric=one, domain="cpu:1") == {
        "cpu:1": ("prometheus-counter", "measured", 2000.0)
    }


def test_the_name_of_the_meter_of_a_page_survives_its_selector():
    with page_of(OTHER) as page:
        name = named(f"http://{page.address}/metrics", 'node_rapl_package_joules_total{index="0"}')
        found = find_meters([name])
        for meter in found.meters:
            meter.close()
        assert [one.domain for meter in found.meters for one in meter.channels] == ["machine"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<html><body>Welcome</body></html>", "not a page for Prometheus"),
        ("", "not a page for Prometheus"),
        ("# TYPE up gauge\nup 1\n", "no counter of joules"),
        (
            'DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu="0",UUID="a"} NaN\n',
            "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION is nan",
        ),
    ],
)
def test_a_page_that_is_something_else_is_refused_with_the_reason(text, why):
    with page_of(text) as page:
        assert why in refusal(page.address)[0]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((302, "", {"Location": "http://elsewhere/"}), "redirects to another address"),
        ((404, "nothing", {}), "HTTP status 404"),
        ((503, "later", {}), "HTTP status 503"),
    ],
)
def test_other_answers_are_refused(answer, why):
    with page_of(DCGM) as page:
        page.answer = answer
        assert why in refusal(page.address)[0]


def test_what_does_not_answer_is_refused():
    assert "cannot be reached" in refusal(f"127.0.0.1:{free_port()}")[0]
    with page_of(DCGM) as page:
        page.instead = silent
        assert "no answer within" in refusal(page.address, timeout_s=0.1)[0]
        page.instead = says(b"nonsense\r\n\r\n")
        assert "not HTTP" in refusal(page.address)[0]


def test_a_huge_page_is_not_read_to_its_end(monkeypatch):
    assert LONGEST_PAGE > 1 << 20  # Kepler's page of a busy node
    monkeypatch.setattr("joulelab.energy.meters.prometheus.LONGEST_PAGE", 100_000)
    with page_of(DCGM) as page:
        page.instead = endless
        assert "too long" in refusal(page.address)[0]


@pytest.mark.parametrize("address", ["https://me:pw@box/metrics", "http://me:pw@box/", "ftp://box"])
def test_an_impossible_address_is_refused_without_a_password(address):
    with pytest.raises(SettingsError) as caught:
        PrometheusDetector(address)
    assert "pw" not in str(caught.value)


def test_a_page_over_https_is_read_if_its_certificate_is_trusted(tmp_path, monkeypatch):
    path = certificate(tmp_path)
    with FakePage(DCGM, server_context(path)) as page:
        url = f"https://localhost:{page.port}/metrics"
        why, remedy = refusal(url)
        assert "certificate is not trusted" in why
        assert "SSL_CERT_FILE" in remedy
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        (meter,), missing = PrometheusDetector(url, **QUICK).detect()
        meter.close()
        assert not missing
        assert meter.describe()["address"] == url
        assert {one.domain for one in meter.channels} == {"gpu:0", "gpu:1"}
        why, remedy = refusal(f"https://127.0.0.1:{page.port}/metrics")
        assert "certificate is not trusted" in why, "it is one for localhost"


def test_a_page_that_speaks_no_https_is_refused_in_time():
    with page_of(DCGM) as page:
        why, remedy = refusal(f"https://{page.address}/metrics")
        assert "TLS connection failed" in why
        assert "uses https on this port" in remedy
        page.instead = silent
        assert "no answer within" in refusal(f"https://{page.address}/", timeout_s=0.1)[0]


def test_each_scheme_has_its_port():
    for url, port in {"https://box/m": 443, "http://box/m": 80, "https://box:80/m": 80}.items():
        page = PrometheusDetector(url)._page
        assert page.http.address.port == port
        assert page.url == url


def test_a_meter_without_an_address_says_what_to_write():
    with pytest.raises(MeterError, match="address of the page is missing"):
        find_meters(["prometheus"])


def test_a_constant_load_is_measured_within_its_bound():
    with recorded(counting(200.0)) as (_, window):
        time.sleep(1.0)
        found = window.close()
    truth_j = 200.0 * found.duration_s
    assert found.total.status is Status.MEASURED
    assert abs(found.total.gross_j - truth_j) <= found.total.error_j
    # Both edges are read anew, so what is left is the time of a request.
    assert found.total.gross_j == pytest.approx(truth_j, rel=0.05)


def test_a_counter_that_falls_is_lost_for_good():
    with page_of(counting(100.0, time.monotonic() - 1000)) as page, opened(page) as (meter,):
        assert meter.sample()[0].value is not None
        page.text = counting(100.0)
        lost = eventually(lambda: meter.sample()[0].reason)
    assert "restarted or reset" in lost


def test_a_page_that_is_gone_at_the_end_leaves_no_measured_energy():
    with recorded(counting(200.0)) as (page, window):
        time.sleep(0.4)
        page.stop()
        time.sleep(0.8)
        found = window.close()
    assert found.total.status is not Status.MEASURED
    assert "cannot be reached" in found["gpu:0"].reason


def test_a_counter_that_stands_still_is_not_zero_joules():
    with recorded(DCGM) as (_, window):
        time.sleep(0.3)
        found = window.close()
    assert found.total.gross_j is None


def test_a_counter_that_vanishes_has_a_reason():
    with page_of(DCGM) as page, opened(page) as (meter,):
        page.text = DCGM.replace('gpu="1",UUID="GPU-b"', 'gpu="1",UUID="GPU-c"')
        reason = eventually(lambda: meter.sample()[1].reason)
    assert reason == "the page no longer has this counter"


def test_the_meter_works_by_its_ipv4_and_by_its_name():
    with page_of(DCGM) as page:
        port = page.port
        host = socket.gethostbyname("localhost")
        for address in (f"{host}:{port}", f"http://localhost:{port}/metrics"):
            meters, missing = PrometheusDetector(address, **QUICK).detect()
            assert not missing
            for meter in meters:
                meter.close()
