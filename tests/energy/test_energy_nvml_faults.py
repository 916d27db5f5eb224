"""NVML that fails, before and in the middle: nothing is silent, and the other GPUs go on."""

import pytest
from nvml_stub import run_program

REMEDIES = {
    4: "let this user read and write /dev/nvidia*",
    9: "load NVIDIA's driver: nvidia-smi must work; a container needs --gpus all",
}


def test_two_gpus_one_of_them_lost_in_mid_run(scenario):
    out = scenario(
        """
meter = NvmlMeter()
out["domains"] = [channel.domain for channel in meter.channels]
out["before"] = samples(meter)
stub(LOST=0)
out["lost"] = samples(meter)
stub(LOST=None, TIME_MS=1100)
out["back"] = samples(meter)
meter.close()
second = NvmlMeter([1])
out["second"] = [channel.domain for channel in second.channels]
second.close()
""",
        GPUS=2,
        TIME_MS=1000,
    )
    assert out["domains"] == ["gpu:0", "gpu:0", "gpu:1", "gpu:1"]
    assert [value for value, _, _ in out["before"]] == [200.0, 207.0, 400.0, 407.0]
    assert out["lost"][:2] == [[None, "gpu:0: NVML: GPU is lost", {}]] * 2
    assert [value for value, _, _ in out["lost"][2:]] == [400.0, 407.0]
    assert [value for value, _, _ in out["back"]] == [220.0, 207.0, 440.0, 407.0]
    assert out["second"] == ["gpu:1", "gpu:1"]


def test_permission_that_is_withdrawn_in_mid_run_gives_a_reason(scenario):
    out = scenario(
        """
meter = NvmlMeter()
stub(ENERGY=4)
out["counter"] = samples(meter)
stub(FIELDS=4, STATE=4)
out["all"] = samples(meter)
stub(ENERGY=None, FIELDS=None, STATE=None)
out["back"] = samples(meter)
meter.close()
""",
        TIME_MS=1000,
    )
    denied = [None, "gpu:0: NVML: Insufficient Permissions"]
    assert out["counter"][0][:2] == denied
    assert out["counter"][1][:2] == [207.0, ""]
    # The state goes with the first channel, also where only the other one can be read.
    assert out["counter"][0][2]["temperature_c"] == 61.0
    assert out["all"] == [[*denied, {}], [*denied, {}]]
    assert [value for value, _, _ in out["back"]] == [200.0, 207.0]


def test_what_cannot_be_read_is_missing_with_a_reason_and_a_remedy(scenario):
    out = scenario("""
out["mismatch"] = detect(INIT=18)
out["no gpu"] = detect(GPUS=0)
stub(GPUS=2)
out["lost"] = detect(LOST=1)
stub(GPUS=2)
out["split"] = detect(MIG=0)
stub(GPUS=2)
out["old driver"] = detect(MIGMODE=13, ARCHITECTURE=13)
stub(GPUS=2)
out["all refused"] = detect(ENERGY=4)
stub(GPUS=2, FAULT_GPU=1)
out["one refused"] = detect(HANDLE=4)
stub(GPUS=1, MIG=0)
out["refused"] = refused(NvmlMeter)
out["opened"] = opened()
""")
    [[domain, reason, remedy]] = out["mismatch"][1]
    assert domain == "gpu"
    assert "version mismatch" in reason
    assert "restart" in remedy
    assert out["no gpu"] == [[], []]
    assert out["lost"] == [
        ["gpu:0", "gpu:0"],
        [["gpu:1", "NVML: GPU is lost", "restart the machine"]],
    ]
    denied = ["NVML: Insufficient Permissions", REMEDIES[4]]
    assert out["all refused"] == [[], [["gpu:0", *denied], ["gpu:1", *denied]]]
    assert out["one refused"] == [["gpu:0", "gpu:0"], [["gpu:1", *denied]]]
    assert out["old driver"] == [["gpu:0", "gpu:0", "gpu:1", "gpu:1"], []]
    domains, [[domain, reason, remedy]] = out["split"]
    assert domains == ["gpu:1", "gpu:1"]
    assert domain == "gpu:0"
    assert "split by MIG" in reason
    assert "nvidia-smi -i 0 -mig 0" in remedy
    assert out["refused"] == ["MeterError", reason, remedy]
    assert out["opened"] == 0


@pytest.mark.parametrize(
    ("code", "reason"), [(4, "Insufficient Permissions"), (9, "Driver Not Loaded")]
)
def test_a_library_that_does_not_start_is_missing_with_a_remedy(scenario, code, reason):
    out = scenario('out["found"] = detect()\nout["refused"] = refused(NvmlMeter)', INIT=code)
    message = f"NVML cannot be read: {reason}"
    assert out["found"] == [[], [["gpu", message, REMEDIES[code]]]]
    assert out["refused"] == ["MeterError", message, REMEDIES[code]]


def test_the_remedy_names_the_device_files_that_are_closed(scenario, tmp_path):
    for name in ("nvidia0", "nvidiactl", "null"):
        (tmp_path / name).touch()
    out = scenario(
        f"""
from joulelab.energy.meters import nvml
nvml.DEVICES = Path({str(tmp_path)!r})
nvml.os.access = lambda path, mode: path.name != "nvidia0"  # root may read everything
out["found"] = detect()
""",
        INIT=4,
    )
    [[_, _, remedy]] = out["found"][1]
    assert remedy == f"let this user read and write {tmp_path / 'nvidia0'}"


def test_a_counter_that_runs_backwards_stays_unreadable_and_power_goes_on(scenario):
    out = scenario(
        """
meter = NvmlMeter()
out["values"] = []
for energy_mj in (9_000_000, 9_000_500, 1_000, 9_900_000):
    stub(ENERGY_MJ=energy_mj)
    out["values"].append([[value, reason] for value, reason, _ in samples(meter)])
meter.close()
""",
        ENERGY_MJ=9_000_000,
    )
    counter = [moment[0] for moment in out["values"]]
    assert counter[:2] == [[9000.0, ""], [9000.5, ""]]
    for value, reason in counter[2:]:
        assert value is None
        assert "counter fell from 9000.5 to 1 J" in reason
    assert [moment[1] for moment in out["values"]] == [[207.0, ""]] * 4


def test_a_forked_process_does_not_take_values_from_the_nvml_of_its_parent(scenario):
    out = scenario("""
meter = NvmlMeter()
reader, writer = os.pipe()
if not os.fork():
    inherited = samples(meter)
    meter.close()
    own = NvmlMeter()
    told = [inherited, opened(), [value for value, _, _ in samples(own)]]
    os.write(writer, json.dumps(told).encode())
    os._exit(0)
os.wait()
out["child"] = json.loads(os.read(reader, 4096))
out["parent"] = [value for value, _, _ in samples(meter)]
meter.close()
""")
    inherited, opened, own = out["child"]
    for value, reason, state in inherited:
        assert value is None
        assert "fork" in reason
        assert state == {}
    # Closing the inherited meter has not shut down what it does not own; a new one works.
    assert opened == 2
    assert own == out["parent"] == [0.0, 207.0]


def test_the_meter_conforms_on_sound_and_on_failing_hardware(scenario):
    out = scenario(
        """
from itertools import count
from joulelab.energy.conformance import check_meter

clock = count(1000, 70)
check_meter(NvmlMeter, between=lambda: stub(TIME_MS=next(clock)))
backwards = count(1000, -70)
check_meter(NvmlMeter, between=lambda: stub(TIME_MS=next(backwards)))
check_meter(NvmlMeter, between=lambda: stub(LOST=1))
out["opened"] = opened()
""",
        GPUS=2,
    )
    assert out["opened"] == 0


def test_a_gpu_that_falls_off_the_bus_at_a_moment_leaves_the_other_readable(scenario):
    out = scenario(
        """
meter = NvmlMeter()
lost_at_s = time.monotonic() + 0.5
stub(LOST_AT=lost_at_s, LOST=1)
taken = out["taken"] = []
while not taken or taken[-1][0] < lost_at_s:
    time.sleep(0.02)
    begin_s, said = time.monotonic(), samples(meter)
    taken.append([begin_s, time.monotonic(), said])
meter.close()
out["lost_at_s"] = lost_at_s
""",
        GPUS=2,
        TRACE="constant",
    )
    assert out["taken"][-1][2][2:] == [[None, "gpu:1: NVML: GPU is lost", {}]] * 2
    for begin_s, end_s, (counter, power, other_counter, other_power) in out["taken"]:
        assert counter[0] is not None
        assert power[0] == 300.0
        if end_s < out["lost_at_s"]:
            assert other_counter[0] is not None
            assert other_power[0] == 600.0
        elif begin_s > out["lost_at_s"]:
            assert other_counter[0] is other_power[0] is None


def cards(folder, *vendors_and_classes):
    for number, (vendor, kind) in enumerate(vendors_and_classes):
        card = folder / f"0000:0{number}:00.0"
        card.mkdir(parents=True)
        (card / "vendor").write_text(f"{vendor}\n")
        (card / "class").write_text(f"{kind}\n")
    return folder


@pytest.mark.parametrize(
    ("present", "seen"),
    [
        ([("0x8086", "0x020000"), ("0x10de", "0x030200")], True),  # a data centre card
        ([("0x10de", "0x030000")], True),
        ([("0x10de", "0x040300")], False),  # the sound of a card
        ([("0x1002", "0x030000")], False),  # another maker's
        ([], False),
    ],
)
def test_a_card_without_a_driver_is_missing_and_no_card_is_nothing(tmp_path, present, seen):
    (tmp_path / "libnvidia-ml.so.1").write_text("not a library")  # as good as none
    pci = cards(tmp_path / "devices", *present)
    out = run_program(
        f"""
out["found"] = found(NvmlDetector(pci_devices={str(pci)!r}))
out["index"] = gpu_index("GPU-1")
out["refused"] = refused(NvmlMeter)
""",
        {"LD_LIBRARY_PATH": str(tmp_path)},
    )
    missing = [
        "gpu",
        "this machine has an NVIDIA GPU but no driver for it",
        "install NVIDIA's driver: nvidia-smi must work; a container needs --gpus all",
    ]
    assert out["found"] == [[], [missing] if seen else []]
    assert out["index"] is None
    assert "Library Not Found" in out["refused"][1]
