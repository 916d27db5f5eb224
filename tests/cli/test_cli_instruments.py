"""``joulelab instruments``: several meters on one study, run, compared and calibrated."""

import json
import tomllib

import pytest
from tiny_study import layers_only, tiny

from joulelab.energy.meter import meters
from joulelab.registry import load_plugin
from joulelab.report.ledger import ReportedStudy
from joulelab.report.pages import report_data
from joulelab.study.results import Results

METERS = '''
import time
from joulelab.energy.meter import Channel, Detector, Meter, Sample, meters
from joulelab.energy.reading import Status

WATTS = {"made-wall": ("wall", 200.0), "made-half": ("cpu:0", 100.0)}
WATTS["made-broken"] = ("cpu:0", -5.0)


class Made(Meter):
    """Constant power, as a counter where it is positive."""

    def __init__(self, name):
        self.name = name
        domain, self.watts = WATTS[name]
        kind = "counter" if self.watts > 0 else "power"
        within = () if domain == "wall" else ("wall",)
        self.channels = (Channel(domain, name, kind, Status.MEASURED, 0.0, 0.0, within),)

    def sample(self):
        return [Sample(self.watts * (time.monotonic() if self.watts > 0 else 1.0))]

    channels = ()


def register(name):
    class Found(Detector):
        automatic = False

        def __init__(self):
            pass

        def detect(self):
            return [Made(name)], []

    meters.register(name)(Found)


for name in WATTS:
    register(name)
'''


@pytest.fixture(scope="module", autouse=True)
def made_meters(tmp_path_factory):
    """Meters of a user's own; other tests know nothing of them."""
    path = tmp_path_factory.mktemp("meters") / "made_meters.py"
    path.write_text(METERS)
    load_plugin(path)
    yield path
    for name in ("made-wall", "made-half", "made-broken"):
        meters._registered.pop(name)


def run_with(folder, plugin, *names):
    """Four small trainings, read by these meters."""
    energy = {"meters": list(names), "idle_s": 0.05, "interval_s": 0.02, "cool_down_s": 0}
    layers = layers_only(vary={"relu": [False, True]})
    tiny(energy=energy, plugins=[str(plugin)], experiment=layers).run(folder / "out")
    return folder / "out"


@pytest.fixture(scope="module")
def study(tmp_path_factory, made_meters):
    return run_with(
        tmp_path_factory.mktemp("many"), made_meters, "made-wall", "made-half", "estimate"
    )


@pytest.fixture
def settings(tmp_path, monkeypatch):
    path = tmp_path / "settings.toml"
    path.write_text("# mine\n[carbon]\nplace = 'NLD'\n")
    monkeypatch.setenv("JOULELAB_SETTINGS", str(path))
    return path


def asked(joulelab, *arguments):
    code, out, _ = joulelab("instruments", *arguments, "--json")
    assert code == 0
    return json.loads(out, parse_constant=pytest.fail)


def test_every_meter_of_the_study_is_held_against_the_wall(study, joulelab):
    data = asked(joulelab, study)
    assert data["reference"] == "made-wall"
    assert "whole machine" in data["why"]
    rows = {row["instrument"]: row for row in data["agreement"]}
    assert set(rows) == {"made-half", "estimate"}
    assert rows["made-half"]["n"] == len(Results.open(study).to_frame())
    assert rows["made-half"]["ratio"] == pytest.approx(0.5, rel=0.05)
    assert rows["made-half"]["factor"] == pytest.approx(2.0, rel=0.05)
    assert rows["made-half"]["factor_low"] < rows["made-half"]["factor_high"]
    assert any("other parts of the machine" in remark for remark in data["remarks"])


def test_what_counts_in_the_study_is_the_wall_alone(study):
    runs = Results.open(study).to_frame()
    assert set(runs["energy_domains"]) == {"wall"}
    assert runs["energy_gross_j"].tolist() == runs["wall gross_j"].tolist()
    energy = Results.open(study).energy_frame()
    assert set(energy[energy["beside"]]["source"]) == {"estimate"}


def test_the_tables_fit_a_terminal_and_the_figure_is_drawn(study, joulelab, tmp_path):
    figure = tmp_path / "agreement.svg"
    code, out, err = joulelab("instruments", study, "--plot", figure)
    assert (code, err) == (0, "")
    assert "Agreement with made-wall" in out
    assert max(map(len, out.splitlines())) <= 80
    assert figure.read_text().startswith("<?xml")


def test_an_unknown_domain_is_refused_with_the_known_ones(study, joulelab):
    code, _, err = joulelab("instruments", study, "--domain", "zz")
    assert code == 2
    assert "unknown domain 'zz'\nknown: " in err


def test_a_figure_of_an_unknown_kind_is_refused(study, joulelab, tmp_path):
    code, _, err = joulelab("instruments", study, "--plot", tmp_path / "agreement.gif")
    assert code != 0
    assert ".png, .svg, .pdf" in err


def test_instruments_are_chosen_and_added_up(study, joulelab):
    data = asked(joulelab, study, "--instrument", "made-half", "--reference", "estimate")
    assert [row["instrument"] for row in data["agreement"]] == ["made-half"]
    data = asked(joulelab, study, "--instrument", "sensors=made-half")
    assert [row["instrument"] for row in data["agreement"]] == ["sensors"]
    code, _, err = joulelab("instruments", study, "--instrument", "all=made-wall+made-half")
    assert code == 2
    assert "cpu:0 of made-half lies within wall of made-wall" in err


def test_a_factor_is_saved_with_what_it_is_from_and_used_from_then_on(study, joulelab, settings):
    arguments = ("instruments", study, "--instrument", "made-half", "--save")
    code, _, err = joulelab(*arguments)
    assert code == 0
    assert str(settings) in err
    assert '[meter.made-half.calibration] "cpu:0" = ' in err
    text = settings.read_text()
    assert "# mine" in text
    assert "against made-wall (wall), study out" in text
    kept = tomllib.loads(text)["meter"]["made-half"]["calibration"]
    assert kept["cpu:0"] == pytest.approx(2.0, rel=0.05)
    _, _, again = joulelab(*arguments)
    assert f"in place of {kept['cpu:0']:.6g}" in again


def test_a_calibrated_study_agrees_and_its_factor_is_multiplied_on_top(
    joulelab, settings, tmp_path, made_meters
):
    settings.write_text('[meter.made-half.calibration]\n"cpu:0" = 1.6\n')
    folder = run_with(tmp_path, made_meters, "made-wall", "made-half")
    data = asked(joulelab, folder, "--save")
    assert data["saved"] == []
    assert "--instrument made-half saves it all the same" in data["not_saved"][0]
    data = asked(joulelab, folder, "--save", "--instrument", "made-half")
    (row,) = data["agreement"]
    assert row["ratio"] == pytest.approx(0.8, rel=0.05)
    assert any("made-half is calibrated already (cpu:0 by 1.6)" in r for r in data["remarks"])
    (saved,) = data["saved"]
    assert saved["measured_with"] == 1.6
    assert saved["before"] == 1.6
    assert saved["factor"] == pytest.approx(2.0, rel=0.05)


def test_a_meter_that_reads_below_zero_gives_no_energy_and_the_report_says_so(
    tmp_path, joulelab, made_meters
):
    folder = run_with(tmp_path, made_meters, "made-broken")
    runs = Results.open(folder).to_frame()
    assert runs["energy_gross_j"].isna().all()
    assert set(runs["energy_status"]) == {"missing"}
    said = json.dumps(report_data(ReportedStudy(Results.open(folder))))
    assert "an energy below 0 is impossible" in said
    code, out, err = joulelab("instruments", folder)
    assert (code, out) == (2, "")
    assert "energy.meters" in err
    assert "only made-broken has read these runs" in err


@pytest.mark.parametrize("text", ["=made-half", "x=", "x=made-half+", "run=made-half"])
def test_a_sum_that_names_nothing_is_refused(study, joulelab, text):
    code, _, err = joulelab("instruments", study, "--instrument", text)
    assert code == 2
    assert "not a sum of sources" in err
