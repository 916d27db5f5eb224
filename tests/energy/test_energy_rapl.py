"""RAPL on temporary powercap trees laid out as Linux lays them out."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from powercap_tree import AMD_RANGE_UJ, INTEL_RANGE_UJ, Tree
from simulated_time import simulate_time

from joulelab.energy.conformance import check_meter
from joulelab.energy.meter import Missing
from joulelab.energy.meters.processor import usable_processors
from joulelab.energy.meters.rapl import RaplDetector, RaplMeter, find_zones
from joulelab.energy.reading import Reading, Status, total
from joulelab.energy.recorder import Recorder
from joulelab.errors import MeterError

NOBODY = 65534


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


@pytest.fixture
def laptop(tree: Tree) -> Tree:
    tree.add("intel-rapl:0", "package-0", 5_000_000)
    tree.add("intel-rapl:0:0", "core", 1_000_000)
    tree.add("intel-rapl:0:1", "uncore")
    tree.add("intel-rapl:0:2", "dram")
    tree.add("intel-rapl:1", "psys")
    tree.add("intel-rapl-mmio:0", "package-0")
    return tree


def values(meter: RaplMeter) -> dict[str, float | None]:
    samples = meter.sample()
    return {c.domain: s.value for c, s in zip(meter.channels, samples, strict=True)}


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def within(tree: Tree) -> dict[str, tuple[str, ...]]:
    return {zone.domain: zone.within for zone in find_zones(tree.root)}


def reading(domain: str, gross_j: float | None, parents: tuple[str, ...]) -> Reading:
    status = Status.MISSING if gross_j is None else Status.MEASURED
    return Reading(domain, "rapl", status, gross_j, 0.0, None, 1.0, within=parents)


def test_zones_become_domains_and_the_mmio_copy_is_left_out(laptop):
    assert within(laptop) == {
        "cpu:0": ("psys:0", "wall"),
        "core:0": ("cpu:0", "psys:0", "wall"),
        "uncore:0": ("cpu:0", "psys:0", "wall"),
        "dram:0": ("psys:0", "wall"),
        "psys:0": ("wall",),
    }


def test_memory_has_a_bound_of_its_own_with_its_source(laptop):
    with_bounds = {one.domain: one for one in RaplMeter(laptop.root).channels}
    assert with_bounds["cpu:0"].relative_error == 0.05
    assert with_bounds["dram:0"].relative_error == 1.57
    assert "doi:10.1145/3629526.3645052" in with_bounds["dram:0"].remark


def test_the_devices_folder_with_nested_zones_is_the_same(laptop):
    nested = find_zones(laptop.folder / "devices" / "intel-rapl")
    assert [z.domain for z in nested] == [z.domain for z in find_zones(laptop.root)]


def test_two_sockets_are_told_apart_by_their_package_and_not_by_their_place(tree):
    tree.add("intel-rapl:0", "package-1")
    tree.add("intel-rapl:0:0", "dram")
    tree.add("intel-rapl:1", "package-0")
    tree.add("intel-rapl:1:0", "dram")
    assert within(tree) == dict.fromkeys(("cpu:1", "dram:1", "cpu:0", "dram:0"), ("wall",))


def test_dies_of_one_package_and_a_second_psys_have_domains_of_their_own(tree):
    tree.add("intel-rapl:0", "package-0-die-0")
    tree.add("intel-rapl:0:0", "core")
    tree.add("intel-rapl:1", "package-0-die-1")
    tree.add("intel-rapl:2", "psys")
    tree.add("intel-rapl:3", "psys-1")
    domains = within(tree)
    assert domains["core:0-die-0"] == ("cpu:0-die-0", "psys:0", "psys:1", "wall")
    assert len(domains) == 5


def test_amd_has_package_and_core(tree):
    tree.range_uj = AMD_RANGE_UJ
    tree.add("intel-rapl:0", "package-0", AMD_RANGE_UJ - 4_000_000)
    tree.add("intel-rapl:0:0", "core")
    meter = RaplMeter(tree.root)
    tree.set("intel-rapl:0", 6_000_000)
    assert values(meter) == {"cpu:0": pytest.approx(10.0), "core:0": 0.0}
    meter.close()


def test_no_joule_is_added_up_twice(laptop):
    joules = {"cpu:0": 30.0, "core:0": 20.0, "uncore:0": 5.0, "dram:0": 8.0, "psys:0": 50.0}
    parents = within(laptop)
    everything = [reading(domain, joules[domain], parents[domain]) for domain in joules]
    assert total(everything).gross_j == 50.0
    assert total(everything[:-1]).gross_j == 38.0
    plug = Reading("wall", "plug", Status.MEASURED, 90.0, 0.0, None, 1.0)
    assert total([*everything, plug]).gross_j == 90.0


def test_joules_count_from_the_opening_and_through_wraps(laptop):
    laptop.set("intel-rapl:0", INTEL_RANGE_UJ - 3_000_000)
    meter = RaplMeter(laptop.root)
    assert values(meter)["cpu:0"] == 0.0
    laptop.set("intel-rapl:0", 7_000_000)
    laptop.set("intel-rapl:0:0", 1_500_000)
    assert values(meter) == {
        "cpu:0": pytest.approx(10.0),
        "core:0": pytest.approx(0.5),
        "uncore:0": 0.0,
        "dram:0": 0.0,
        "psys:0": 0.0,
    }
    meter.close()


def test_a_zone_that_disappears_gives_a_reason_and_the_others_go_on(laptop):
    meter = RaplMeter(laptop.root)
    laptop.advance()
    (laptop.zones["intel-rapl:0:2"] / "energy_uj").write_text("")
    psys = next(
        int(fd.name)
        for fd in Path("/proc/self/fd").iterdir()
        if fd.is_symlink() and fd.readlink() == laptop.zones["intel-rapl:1"] / "energy_uj"
    )
    folder = os.open(laptop.folder, os.O_RDONLY)
    os.dup2(folder, psys)  # from now on reading this zone is an error of the system
    os.close(folder)
    samples = dict(zip([c.domain for c in meter.channels], meter.sample(), strict=True))
    assert samples["cpu:0"].value == pytest.approx(1.0)
    assert samples["dram:0"].value is None
    assert "intel-rapl:0:2 cannot be read" in samples["dram:0"].reason
    assert samples["psys:0"].value is None
    assert "intel-rapl:1 cannot be read" in samples["psys:0"].reason
    laptop.set("intel-rapl:0:2", 2_000_000)
    assert values(meter)["dram:0"] == pytest.approx(2.0)
    meter.close()


@pytest.mark.parametrize("before_uj", [50_000_000, 200_000_000_000])
def test_a_reset_counter_is_unknown_and_not_a_fraction_of_a_megajoule(laptop, before_uj):
    laptop.set("intel-rapl:0", before_uj)
    meter = RaplMeter(laptop.root)
    laptop.set("intel-rapl:0", 0)
    cpu = meter.sample()[0]
    assert cpu.value is None
    assert "intel-rapl:0 fell from" in cpu.reason
    laptop.set("intel-rapl:0", 60_000_000)
    assert meter.sample()[0].value is None
    meter.close()


def test_a_window_with_a_reset_keeps_what_was_before_it_and_is_an_estimate(tree, monkeypatch):
    """As a wrap it would have been 62 kJ in a tenth of a second, and measured."""
    simulate_time(monkeypatch, __name__, "joulelab.energy.meters.rapl")
    tree.add("intel-rapl:0", "package-0", 200_000_000_000)
    with Recorder([RaplMeter(tree.root)], interval_s=0.02) as recorder, recorder.open("w") as w:
        time.sleep(0.1)
        tree.set("intel-rapl:0", 200_004_000_000)
        time.sleep(0.1)
        tree.set("intel-rapl:0", 0)
        time.sleep(0.1)
    reading = w.measurement["cpu:0"]
    assert reading.status.endswith("estimated")
    assert 4 <= reading.gross_j < 100
    assert "rapl: intel-rapl:0 fell from 200004 to 0 J" in reading.reason


@pytest.mark.parametrize(
    ("files", "limit_w"),
    [
        ({}, None),
        ({"constraint_0_power_limit_uw": 28e6, "constraint_1_power_limit_uw": 64e6}, 64.0),
        ({"constraint_0_power_limit_uw": 28e6, "constraint_0_max_power_uw": 45e6}, 45.0),
        ({"constraint_0_power_limit_uw": 28e6, "enabled": 0}, None),
        ({"constraint_0_power_limit_uw": 28e6, "constraint_0_max_power_uw": 0}, 28.0),
        ({"constraint_0_power_limit_uw": 3_408_250_000}, None),
    ],
)
def test_what_a_processor_can_draw_is_its_power_limit_in_force(tree, files, limit_w):
    tree.add("intel-rapl:0", "package-0")
    for name, value in files.items():
        (tree.zones["intel-rapl:0"] / name).write_text(f"{value:.0f}\n")
    meter = RaplMeter(tree.root)
    assert meter.channels[0].limit_w == limit_w
    assert meter.channels[0].range_j == pytest.approx(INTEL_RANGE_UJ / 1e6)
    meter.close()


def test_the_meter_conforms(laptop):
    laptop.set("intel-rapl:0", INTEL_RANGE_UJ - 100_000_000)
    check_meter(
        lambda: RaplMeter(laptop.root), samples=9, between=lambda: laptop.advance(30_000_000)
    )


def test_close_releases_every_file(laptop):
    before = open_files()
    meter = RaplMeter(laptop.root)
    assert open_files() == before + 5
    meter.close()
    meter.close()
    assert open_files() == before
    assert {sample.reason for sample in meter.sample()} == {"closed"}


def test_a_machine_without_rapl_says_why_it_has_none(tmp_path):
    meters, (missing,) = RaplDetector(tmp_path / "nowhere").detect()
    assert meters == []
    assert missing.domain == "cpu"
    assert str(tmp_path / "nowhere") in missing.reason
    with pytest.raises(MeterError, match="no RAPL zone"):
        RaplMeter(tmp_path)


def test_the_folder_can_be_given_by_the_environment(laptop, monkeypatch):
    monkeypatch.setenv("JOULELAB_POWERCAP", str(laptop.root))
    meters, missing = RaplDetector().detect()
    assert meters[0].channels[0].domain == "cpu:0"
    assert missing == []
    assert meters[0].describe()["cpu:0"] == "package-0, intel-rapl:0, wraps at 262143 J"
    meters[0].close()


@pytest.mark.parametrize(("file", "text"), [("max_energy_range_uj", "0\n"), ("energy_uj", "?")])
def test_a_broken_zone_is_missing_with_its_reason(laptop, file, text):
    (laptop.zones["intel-rapl:0:0"] / file).write_text(text)
    meters, missing = RaplDetector(laptop.root).detect()
    assert "core:0" not in {c.domain for c in meters[0].channels}
    assert [one.domain for one in missing] == ["core:0"]
    assert "intel-rapl:0:0 cannot be read" in missing[0].reason
    meters[0].close()
    with pytest.raises(MeterError, match="cannot be read"):
        RaplMeter(laptop.root)


def found_by_nobody(root: Path) -> tuple[list[str], list[Missing]]:
    """What an ordinary user of the machine finds: root may read everything."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            if os.getuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            meters, missing = RaplDetector(root).detect()
            domains = [channel.domain for meter in meters for channel in meter.channels]
            told = [[one.domain, one.reason, one.remedy] for one in missing]
            os.write(writer, json.dumps([domains, told]).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(pid, 0)
    with os.fdopen(reader) as answer:
        domains, told = json.loads(answer.read())
    return domains, [Missing(*one) for one in told]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Pytest's own temporary folders are closed to other users."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def server(open_folder: Path) -> Tree:
    """Two processors, readable by everybody."""
    tree = Tree(open_folder)
    for key, name in (("intel-rapl:0", "package-0"), ("intel-rapl:1", "package-1")):
        tree.add(key, name)
        tree.add(f"{key}:0", "core")
    return tree


def shut(path: Path) -> None:
    path.chmod(0o700 if path.is_dir() and os.getuid() == 0 else 0o400 if os.getuid() == 0 else 0)


def test_without_permission_the_exact_command_is_named(server):
    # Since 2020 the kernel gives these files to root alone.
    for key in ("intel-rapl:0", "intel-rapl:0:0"):
        shut(server.zones[key] / "energy_uj")
    domains, missing = found_by_nobody(server.root)
    assert domains == ["cpu:1", "core:1"]
    path = server.root / "intel-rapl:0" / "energy_uj"
    assert missing[0].domain == "cpu:0"
    assert missing[0].reason == f"no permission to read {path}"
    assert missing[0].remedy.startswith(f"sudo chmod a+r {path} (")
    assert "udev" in missing[0].remedy
    assert missing[1].domain == "core:0"


@pytest.mark.parametrize(
    ("closed", "domain"),
    [
        (["max_energy_range_uj"], "cpu:0"),
        (["energy_uj", "max_energy_range_uj"], "cpu:0"),
        (["name"], "cpu"),
        (["name", "energy_uj", "max_energy_range_uj"], "cpu"),
    ],
    ids=" ".join,
)
def test_the_remedy_names_just_the_files_that_are_closed_and_helps(server, closed, domain):
    for file in closed:
        shut(server.zones["intel-rapl:0"] / file)
    domains, (missing,) = found_by_nobody(server.root)
    assert "cpu:0" not in domains
    assert missing.domain == domain
    command, _, _ = missing.remedy.partition(" (")
    folder = server.root / "intel-rapl:0"
    order = [file for file in ("name", "energy_uj", "max_energy_range_uj") if file in closed]
    assert command == " ".join(["sudo chmod a+r", *(str(folder / file) for file in order)])
    assert all(str(folder / file) in missing.reason for file in order)
    subprocess.run(command.removeprefix("sudo "), shell=True, check=True)
    assert found_by_nobody(server.root) == (["cpu:0", "core:0", "cpu:1", "core:1"], [])


@pytest.mark.parametrize("which", ["zone", "control", "class"])
def test_a_closed_folder_on_the_way_is_named_and_opened(server, which):
    folder = {
        "zone": server.zones["intel-rapl:0"],
        "control": server.folder / "devices",
        "class": server.root,
    }[which]
    shut(folder)
    _, missing = found_by_nobody(server.root)
    assert str(folder) in missing[0].reason
    for one in missing:
        command = one.remedy.partition(" (")[0].replace("sudo ", "")
        subprocess.run(command, shell=True, check=True)
    assert found_by_nobody(server.root) == (["cpu:0", "core:0", "cpu:1", "core:1"], [])


def test_the_first_package_says_the_load_of_our_own_process(tree):
    for number in (0, 1):
        tree.add(f"intel-rapl:{number}", f"package-{number}")
    tree.add("intel-rapl:0:0", "dram")
    meter = RaplMeter(tree.root)
    domains = [channel.domain for channel in meter.channels]
    assert all(not sample.state for sample in meter.sample())
    used_s, began_s = time.process_time(), time.monotonic()
    while time.monotonic() < began_s + 0.3:
        pass
    samples = dict(zip(domains, meter.sample(), strict=True))
    used_s, passed_s = time.process_time() - used_s, time.monotonic() - began_s
    wanted = used_s / passed_s / usable_processors()
    assert samples["cpu:0"].state["utilisation"] == pytest.approx(wanted, abs=0.05)
    assert not samples["cpu:1"].state
    assert not samples["dram:0"].state
    meter.close()
    assert not any(sample.state for sample in meter.sample())
