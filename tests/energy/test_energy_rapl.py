"""RAPL on temporary powercap trees laid out as Linux lays them out."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulelab.energy.conformance import check_meter
from joulelab.energy.meters.processor import usable_processors
from joulelab.energy.meters.rapl import RaplDetector, RaplMeter, WrappingCounter, find_zones
from joulelab.energy.reading import Reading, Status, total
from joulelab.errors import MeterError

INTEL_RANGE_UJ = 262_143_328_850
AMD_RANGE_UJ = 65_532_610_987
NOBODY = 65534


@dataclass
class Tree:
    """A powercap tree: zones in one folder, reached by symbolic links from the class folder."""

    folder: Path
    range_uj: int = INTEL_RANGE_UJ
    zones: dict[str, Path] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        return self.folder / "class" / "powercap"

    def add(self, key: str, name: str, energy_uj: int = 0) -> None:
        control = self.folder / "devices" / key.partition(":")[0]
        top = control / ":".join(key.split(":")[:2])
        zone = top if key.count(":") == 1 else top / key
        zone.mkdir(parents=True)
        (zone / "name").write_text(f"{name}\n")
        (zone / "max_energy_range_uj").write_text(f"{self.range_uj}\n")
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / key).symlink_to(zone)
        self.zones[key] = zone
        self.set(key, energy_uj)

    def set(self, key: str, energy_uj: int) -> None:
        (self.zones[key] / "energy_uj").write_text(f"{energy_uj}\n")

    def advance(self, energy_uj: int = 1_000_000) -> None:
        for zone in self.zones.values():
            counter = zone / "energy_uj"
            counter.write_text(f"{(int(counter.read_text()) + energy_uj) % self.range_uj}\n")


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
    laptop.set("intel-rapl:0", INTEL_RANGE_UJ - 1)
    values(meter)
    laptop.set("intel-rapl:0", 0)
    assert values(meter)["cpu:0"] == pytest.approx(3.0 + INTEL_RANGE_UJ / 1e6)
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


def test_a_reset_counter_is_unknown_and_not_a_quarter_of_a_megajoule(laptop):
    laptop.set("intel-rapl:0", 50_000_000)
    meter = RaplMeter(laptop.root)
    laptop.set("intel-rapl:0", 0)
    cpu = meter.sample()[0]
    assert cpu.value is None
    assert "reset" in cpu.reason
    laptop.set("intel-rapl:0", 60_000_000)
    assert meter.sample()[0].value is None
    meter.close()


def test_the_meter_conforms(laptop):
    check_meter(lambda: RaplMeter(laptop.root), samples=9, between=lambda: laptop.advance(10**10))


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


AS_NOBODY = f"""
import os, sys
from joulelab.energy.meters.processor import usable_processors
from joulelab.energy.meters.rapl import RaplDetector
from pathlib import Path
if os.getuid() == 0:
    os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
meters, missing = RaplDetector(Path(sys.argv[1])).detect()
print([c.domain for m in meters for c in m.channels])
for one in missing:
    print(one.domain, one.reason, one.remedy, sep="|")
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Pytest's own temporary folders are closed to other users."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_without_permission_the_exact_command_is_named(open_folder):
    # Since 2020 the kernel gives these files to root alone.
    tree = Tree(open_folder)
    for key, name in (("intel-rapl:0", "package-0"), ("intel-rapl:1", "package-1")):
        tree.add(key, name)
        tree.add(f"{key}:0", "core")
    for key in ("intel-rapl:0", "intel-rapl:0:0"):
        (tree.zones[key] / "energy_uj").chmod(0o400 if os.getuid() == 0 else 0)
    run = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, str(tree.root)],
        capture_output=True,
        text=True,
        check=True,
    )
    found, *missing = run.stdout.splitlines()
    assert found == "['cpu:1', 'core:1']"
    domain, reason, remedy = missing[0].split("|")
    path = tree.root / "intel-rapl:0" / "energy_uj"
    assert domain == "cpu:0"
    assert reason == f"no permission to read {path}"
    assert remedy.startswith(f"sudo chmod a+r {path} (")
    assert "udev" in remedy
    assert missing[1].startswith("core:0|")


@given(
    st.integers(10**6, 2**40),
    st.integers(0, 2**40),
    st.lists(st.floats(0, 0.499), max_size=20),
)
def test_steps_below_half_the_range_add_up_across_any_number_of_wraps(range_uj, first, shares):
    steps = [int(share * range_uj) for share in shares]
    first %= range_uj
    counter = WrappingCounter(range_uj, first, 0.0)
    value = first
    energy_j: float | None = 0.0
    for step in steps:
        value = (value + step) % range_uj
        energy_j = counter.advance(value, 0.0)
    assert energy_j == pytest.approx(sum(steps) / 1e6)


def test_a_wrap_after_a_long_gap_is_a_wrap_and_not_a_reset():
    counter = WrappingCounter(AMD_RANGE_UJ, 60_000_000_000, 0.0)
    assert counter.advance(50_000_000_000, 240.0) == pytest.approx(AMD_RANGE_UJ / 1e6 - 10_000)


def test_the_full_value_of_the_range_is_no_step_back():
    counter = WrappingCounter(1000, 990, 0.0)
    assert counter.advance(1000, 0.1) == pytest.approx(1e-5)
    assert counter.advance(5, 0.2) == pytest.approx(1.5e-5)


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
