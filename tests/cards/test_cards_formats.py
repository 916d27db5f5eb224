"""SPDX, Annex XI and SCI, and what they are made of."""

import io
import json
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

import joulelab
from joulelab.cards.spdx import CONTEXT
from joulelab.energy.measurement import measurement_data
from joulelab.energy.node_sum import Share, sum_over_nodes
from joulelab.energy.ranks import Rank
from joulelab.energy.reading import Status

STUDIES = Path(__file__).parent.parent / "data" / "studies"
COLUMNS = (
    *("timestamp", "project_name", "run_id", "duration", "emissions", "energy_consumed"),
    *("country_name", "cpu_model", "gpu_model", "codecarbon_version", "pue"),
)
MACHINE = ("Germany", "Some CPU", "1 x A100", "3.0.0", "1.25")
EMISSIONS = [
    COLUMNS,
    ("2026-01-01T10:00:00", "bert", "a", "10", "0.001", "0.004", *MACHINE),
    ("2026-01-01T10:00:10", "bert", "a", "20", "0.003", "0.012", *MACHINE),
]


@pytest.fixture
def card(joulelab):
    """Makes a card of a stored study or a file."""

    def make(source, file_format, *more):
        source = STUDIES / source if isinstance(source, str) else source
        return joulelab("card", source, "--format", file_format, *more)

    return make


@pytest.fixture(scope="module")
def measured():
    """A short measurement."""
    with joulelab.measure("train", place="NLD") as m:
        sum(range(100_000))
    return m.result


@pytest.fixture
def stored(measured, tmp_path):
    """Writes JSON to a file."""

    def write(data):
        path = tmp_path / "measured.json"
        path.write_text(data if isinstance(data, str) else json.dumps(data))
        return path

    return write


def energies(document):
    """Every energy of an SPDX document, in kWh, as the bindings of SPDX read it."""
    spdx = pytest.importorskip("spdx_python_model")
    found = spdx.v3_0_1.SHACLObjectSet()
    spdx.v3_0_1.JSONLDDeserializer().read(io.BytesIO(document.encode()), found)
    spdx.v3_0_1.JSONLDSerializer().write(found, io.BytesIO())  # refuses what is incomplete
    (package,) = found.foreach_type("ai_AIPackage")
    for kind in ("training", "finetuning", "inference"):
        if consumption := package.ai_energyConsumption:
            for one in getattr(consumption, f"ai_{kind}EnergyConsumption"):
                assert one.ai_energyUnit.endswith("kilowattHour")
                yield kind, float(one.ai_energyQuantity)


def test_spdx_reads_back_the_energy_in_the_phase_it_was_spent_for(card, stored, measured):
    code, out, err = card("batching", "spdx")
    assert code == 0
    assert dict(energies(out)) == {"inference": pytest.approx(87.3 / 3.6e6, rel=0.01)}
    assert "left out: ai_trainingEnergyConsumption: only inference was measured" in err
    assert "left out: suppliedBy" in err

    path = stored(measured.to_dict())
    _, out, _ = card(path, "spdx", "--phase", "fine-tuning", "--name", "mine")
    assert dict(energies(out)) == {"finetuning": pytest.approx(measured.energy_j / 3.6e6, rel=1e-5)}
    assert '"name": "mine"' in out
    assert '"ai_energyQuantity": "0.0000000' in out  # a decimal has no exponent


def test_spdx_validates_what_it_is_given():
    spdx = pytest.importorskip("spdx_python_model").v3_0_1
    element = {"type": "ai_EnergyConsumptionDescription", "ai_energyUnit": "joule"}
    wrong = {"@context": CONTEXT, "@graph": [element]}
    with pytest.raises(ValueError, match="joule"):
        spdx.JSONLDDeserializer().read(
            io.BytesIO(json.dumps(wrong).encode()), spdx.SHACLObjectSet()
        )


def test_annex_xi_states_operations_time_and_energy(card):
    code, out, err = card("architecture", "annex-xi")
    assert (code, err) == (0, "")
    assert out.startswith("**About 17.2 J (0.00478 Wh)")
    assert "training time, and other relevant details related to the training" in out
    assert "known or estimated energy consumption of the model" in out
    times = "\N{MULTIPLICATION SIGN}"
    assert f"| Amount of energy used for training | 4.78 {times} 10^-9 MWh (17.2 J)" in out
    told = json.loads(card("architecture", "annex-xi", "--json")[1])
    assert told["schema_version"] == 1
    assert told["work"]["reasons"] == {}
    assert told["fields"]["training_compute_flop"] > 1e8
    assert told["fields"]["training_time_s"] == pytest.approx(9.78, rel=0.01)
    assert told["left_out"] == {}


def test_annex_xi_of_serving_leaves_out_the_training(card):
    told = json.loads(card("batching", "annex-xi", "--json")[1])
    assert told["fields"]["inference_energy_mwh"] > 0
    assert told["left_out"]["training_time_s"] == "the energy is that of inference"


def test_sci_states_all_of_its_parts(card):
    told = json.loads(card("batching", "sci", "--json", "--place", "412", "--pue", "1.5")[1])
    fields = told["fields"]
    assert fields["E_kwh"] == pytest.approx(87.28 * 1.5 / 3.6e6, rel=0.001)
    assert fields["O_g"] == pytest.approx(fields["E_kwh"] * fields["I_g_per_kwh"])
    assert (fields["R"], fields["unit"], fields["I_g_per_kwh"]) == (288, "request", 412)
    assert fields["SCI_g_per_request"] == pytest.approx(fields["O_g"] / 288)
    assert "--embodied" in told["left_out"]["M_g"]

    more = ("--embodied", "2.5", "--unit", "token", "--count", "1000")
    told = json.loads(card("batching", "sci", "--json", "--place", "412", *more)[1])
    fields = told["fields"]
    assert fields["SCI_g_per_token"] == pytest.approx((fields["O_g"] + 2.5) / 1000)
    assert told["left_out"] == {}


@pytest.mark.parametrize(("unit", "number"), [("epoch", 64), ("image", 64 * 200)])
def test_epochs_and_images_of_trainings_are_counted(card, unit, number):
    told = json.loads(card("architecture", "sci", "--json", "--unit", unit)[1])
    assert told["fields"]["R"] == number


def test_sci_without_a_place_is_unknown_and_says_why(card):
    code, out, _ = card("training-cost", "sci")
    assert code == 0
    assert out.startswith("**SCI unknown: the origin of the electricity is unknown")
    assert "| R, functional unit | 12 trainings |" in out


def test_the_whole_study_counts_unless_runs_are_named(card):
    def told(*more):
        return json.loads(card("troubled", "sci", "--json", "--unit", "run", *more)[1])["work"]

    with sqlite3.connect(STUDIES / "troubled" / "runs.sqlite") as store:
        ledger_j = store.execute("SELECT sum(energy_gross_j) FROM ledger").fetchone()[0]
        runs = store.execute("SELECT run_id, energy_gross_j FROM runs WHERE state = 'finished'")
        (run_id, energy_j), *_ = runs.fetchall()
    store.close()
    assert told()["energy_j"] == pytest.approx(ledger_j)
    assert "2 runs failed." in told()["remarks"]
    one = told("--run", run_id)
    assert one["energy_j"] == pytest.approx(energy_j)
    assert one["units"]["run"]["number"] == 1
    assert "without setup" in one["scope"]


def test_the_time_of_workers_that_run_side_by_side_counts_once(card, tmp_path):
    folder = Path(shutil.copytree(STUDIES / "architecture", tmp_path / "workers"))
    with sqlite3.connect(folder / "runs.sqlite") as store:
        store.execute("UPDATE ledger SET started_at = 0, duration_s = 6, session = entry")
        store.execute("UPDATE ledger SET energy_status = 'measured'")
    store.close()
    told = json.loads(card(folder, "annex-xi", "--json")[1])
    assert told["fields"]["training_time_s"] == 6


def test_the_time_of_chosen_runs_that_ran_side_by_side_counts_once(card, tmp_path):
    folder = Path(shutil.copytree(STUDIES / "architecture", tmp_path / "workers"))
    with sqlite3.connect(folder / "runs.sqlite") as store:
        store.execute("ALTER TABLE runs ADD COLUMN last_session INTEGER")
        store.execute("PRAGMA user_version = 4")
        # Ten workers begin at 0 and take 8 s for all of theirs; the last one begins at 6.
        store.execute("UPDATE runs SET last_session = position % 10, started_at = 0")
        store.execute("UPDATE runs SET started_at = 6 WHERE last_session = 9")
        of_worker = "SELECT count(*) FROM runs AS r WHERE r.last_session = runs.last_session"
        store.execute(f"UPDATE runs SET duration_s = 8.0 / ({of_worker})")
        energy_j = store.execute("SELECT sum(energy_gross_j) FROM runs").fetchone()[0]
    store.close()
    told = json.loads(card(folder, "sci", "--json", "--run", "layers")[1])
    assert told["work"]["duration_s"] == pytest.approx(14)
    assert told["work"]["energy_j"] == pytest.approx(energy_j)


def test_a_measurement_over_nodes_has_the_longest_time_and_all_of_the_energy(
    card, stored, measured
):
    other = replace(measured, duration_s=measured.duration_s + 100.0)
    shares = [
        Share(number, f"node{number}", f"machine {number}", 1, one)
        for number, one in enumerate((measured, other))
    ]
    whole = sum_over_nodes(Rank(ranks=2, nodes=2), shares)
    told = json.loads(card(stored(measurement_data(whole)), "sci", "--json")[1])
    assert told["work"]["duration_s"] == other.duration_s
    assert told["work"]["energy_j"] == pytest.approx(2 * measured.energy_j)


def test_a_configuration_is_named_as_the_report_names_it(card):
    by_id = json.loads(card("architecture", "sci", "--json", "--run", "layers")[1])
    with sqlite3.connect(STUDIES / "architecture" / "runs.sqlite") as store:
        names = [name for (name,) in store.execute("SELECT DISTINCT configuration FROM runs")]
    store.close()
    every = [word for name in names for word in ("--run", name)]
    by_name = json.loads(card("architecture", "sci", "--json", *every)[1])
    assert by_name["work"]["energy_j"] == pytest.approx(by_id["work"]["energy_j"])
    one = json.loads(card("architecture", "sci", "--json", "--run", names[0])[1])
    assert 0 < one["work"]["energy_j"] < by_name["work"]["energy_j"]


@pytest.mark.parametrize("more", [(), ("--run", "search")])
def test_a_study_of_which_nothing_has_run_yet_has_reasons_only(card, tmp_path, more):
    folder = Path(shutil.copytree(STUDIES / "unfinished", tmp_path / "planned"))
    with sqlite3.connect(folder / "runs.sqlite") as store:
        store.execute("DELETE FROM ledger")
        store.execute("UPDATE runs SET state = 'planned', energy_gross_j = NULL")
    store.close()
    told = json.loads(card(folder, "annex-xi", "--json", *more)[1])
    assert told["work"]["energy_j"] is None
    assert told["left_out"]["training_compute_flop"] == "no run has finished yet"
    assert "training_energy_mwh" in told["left_out"]
    assert any("not finished: 0 of" in one for one in told["remarks"])
    code, out, err = card(folder, "sci", *more)
    assert (code, out) == (2, "")
    assert "0 runs have finished" in err


def test_the_output_of_measure_is_a_source(card, stored, measured):
    data = measurement_data(measured)
    ended = {"command": "python train.py", "exit_code": 3, "measurement": data}
    told = json.loads(card(stored(ended), "sci", "--json")[1])
    assert told["work"]["energy_j"] == measured.energy_j
    assert told["work"]["footprint"]["place"] == "Netherlands"
    assert "The command ended with exit code 3." in told["remarks"]

    several = {"runs": [{"command": name, "measurement": data} for name in "AAB"]}
    path = stored(several)
    told = json.loads(card(path, "sci", "--json", "--run", "A")[1])
    assert told["work"]["energy_j"] == pytest.approx(2 * measured.energy_j)
    assert told["fields"]["O_g"] == pytest.approx(2 * measured.co2e_g)
    assert told["fields"]["R"] == 2
    assert card(path, "sci", "--run", "C")[0] == 2


def test_an_unknown_energy_is_left_out_of_every_format(card, stored, measured):
    data = measurement_data(measured)
    for one in data["readings"]:
        one |= {"gross_j": None, "status": str(Status.MISSING), "reason": "permission denied"}
    data["footprint"] = None
    path = stored({"command": "x", "measurement": data})
    for file_format in ("hf", "spdx", "annex-xi", "sci"):
        code, out, err = card(path, file_format, "--place", "NLD")
        assert code == 0
        assert "permission denied" in out + err


def test_an_emissions_file_is_counted_once_and_keeps_its_own_co2e(card, tmp_path):
    path = tmp_path / "emissions.csv"
    path.write_text("".join(f"{','.join(row)}\n" for row in EMISSIONS))
    told = json.loads(card(path, "hf", "--json")[1])
    assert told["work"]["energy_j"] == pytest.approx(0.012 * 3.6e6)  # its rows are cumulative
    assert told["fields"]["emissions"] == 3.0
    assert told["fields"]["geographical_location"] == "Germany"
    assert told["fields"]["hardware_used"] == "1 x A100, Some CPU"
    assert told["work"]["status"] == "estimated"
    assert told["work"]["name"] == "bert"
    told = json.loads(card(path, "sci", "--json", "--place", "100")[1])
    assert told["fields"]["O_g"] == pytest.approx(1.2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{}", "is not a measurement by joulelab"),
        ("[1]", "is not a measurement by joulelab"),
        ("{", "is not valid JSON"),
        ('{"runs": []}', "is not a measurement by joulelab"),
        ('{"measurement": {"label": 1}}', "is not a measurement by joulelab: label"),
        ('{"readings": []}', "is not a measurement by joulelab: label: Field required"),
    ],
)
def test_json_of_others_is_refused(card, stored, text, words):
    code, out, err = card(stored(text), "hf")
    assert (code, out) == (2, "")
    assert words in err
    assert "joulelab measure --json" in err


def test_an_energy_that_is_not_finite_is_refused(card, stored, measured):
    data = measured.to_dict()
    data["readings"][0]["gross_j"] = float("nan")
    assert "not a finite number" in card(stored(data), "spdx")[2]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("troubled", "sci", "--run", "serch"), 2, "unknown run 'serch'"),
        (("troubled", "sci", "--unit", "token"), 2, "--unit token --count NUMBER"),
        (("troubled", "sci", "--count", "0"), 2, "--count 0 is not possible"),
        (("troubled", "hf", "--unit", "token"), 2, "--unit is for --format sci"),
        (("troubled", "sci", "--embodied", "inf"), 2, "--embodied inf is not possible"),
        (("troubled", "sci", "--place", "Atlantis"), 2, "Atlantis"),
        (("nowhere", "hf"), 2, "does not exist"),
        (("troubled", "yaml"), 2, "'yaml' is not one of"),
        (("troubled", "spdx", "--out", "no/such/folder.json"), 2, "no folder no/such"),
    ],
)
def test_a_wrong_request_is_refused(card, arguments, code, words):
    ended, out, err = card(*arguments)
    assert (ended, out) == (code, "")
    assert words in err


def test_a_folder_without_a_study_is_refused(card, tmp_path):
    code, _, err = card(tmp_path, "hf")
    assert code == 1
    assert "does not hold a study" in err


@pytest.fixture
def load(measured, stored):
    """What a load on a language model has left, with a steady window of half its energy."""
    gross_j = measured.energy_j / 2
    per = {"request": {"gross": {"value": gross_j / 4}, "bound_j": 0.1}}
    return stored(
        {
            "url": "http://box/v1",
            "measurement": measurement_data(measured),
            "energy_per_token": {
                "window": {"start_s": 1.0, "end_s": 3.0, "steady": True},
                "output_tokens": 200.4,
                "prompt_tokens": 800.0,
                "requests": 4.0,
                "costs": [
                    {
                        "name": "total",
                        "domains": ["cpu:0"],
                        "status": "estimated",
                        "gross_j": gross_j,
                        "per": per,
                    }
                ],
            },
        }
    )


@pytest.mark.parametrize(
    ("unit", "number"), [("output token", 200), ("token", 1000), ("request", 4)]
)
def test_sci_counts_the_tokens_of_a_load(joulelab, load, measured, unit, number):
    _, out, _ = joulelab("card", load, "--format", "sci", "--unit", unit, "--json")
    data = json.loads(out)
    assert data["fields"]["R"] == number
    assert data["fields"][f"SCI_g_per_{unit}"] == pytest.approx(measured.co2e_g / 2 / number)
    assert data["work"]["phase"] == "inference"
    assert data["work"]["duration_s"] == 2.0
    assert data["work"]["error_j"] == pytest.approx(0.4)


def test_sci_of_a_load_is_per_output_token_by_default(joulelab, load):
    _, out, _ = joulelab("card", load, "--format", "sci", "--json")
    assert json.loads(out)["fields"]["unit"] == "output token"


def test_a_load_that_is_not_one_is_refused(joulelab, stored, measured):
    data = {"measurement": measurement_data(measured), "energy_per_token": {"window": 1}}
    code, _, said = joulelab("card", stored(data), "--format", "sci")
    assert code == 2
    assert "energy_per_token" in said
