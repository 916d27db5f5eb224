"""``joulelab predict before``: what is printed, what is taken, and what is refused."""

import json

import pytest
from small_studies import copied, on_a_card

ASKED = ["--dataset", "digits", "--train-images", "100", "--epochs", "1", "--batch-size", "50"]


@pytest.fixture
def before(joulelab, trained):
    """The prediction from the eight networks on one thread of this processor."""

    def run(network, *options, folder=trained, device="1 thread"):
        where = ["--from", folder, "--device", device]
        return joulelab("predict", "before", network, *ASKED, *where, *options)

    return run


def test_the_methods_stand_side_by_side_with_their_errors(before):
    code, out, _ = before("SimpleCNN", "--option", "conv_layers=2", "--tdp", "10")
    assert code == 0
    assert "from 16 stored runs of 8 configurations" in out
    rows = {line.split("  ")[0].strip(): line for line in out.splitlines() if "%" in line}
    methods = ("linear regression", "kernel regression", "TDP x time", "Green Algorithms")
    assert all(any(row.startswith(f"{method}") for row in rows) for method in methods)
    assert "in cross-validation" in " ".join(out.split())
    assert "gross" in out
    assert max(map(len, out.splitlines())) <= 80


def test_json_has_all_of_it(before):
    code, out, _ = before("SimpleCNN", "--tdp", "10", "--usage", "0.5", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["steps"] == 2
    assert found["bytes"]["total"] > found["bytes"]["activations"] > 0
    by_method = {one["method"]: one for one in found["estimates"]}
    taken = by_method[found["taken"]]
    assert taken["low_j"] < taken["energy_j"] < taken["high_j"]
    assert (
        taken["mape"]
        == min(by_method[name]["mape"] for name in ("linear regression", "kernel regression"))
        or taken["mape"] is not None
    )
    assert by_method["TDP x time"]["energy_j"] == pytest.approx(10 * found["duration_s"])
    assert found["tdp_source"] == "given"


def test_a_training_that_was_run_before_is_named(before):
    arguments = ["--option", "conv_layers=2", "--option", "relu=false"]
    known = before("SimpleCNN", *arguments, "--option", "linear_layers=2")[1]
    assert "this very training was run 2 times" in known
    assert "this very training" not in before("DensePolyNN")[1]


def test_what_lies_beyond_the_stored_runs_is_a_warning(before):
    out = before("DenseLinearNN", "--engine", "fast", "--precision", "bf16", "--json")[1]
    outside = " ".join(json.loads(out)["outside"])
    assert "engine fast (seen: reference)" in outside
    assert "precision bf16 (seen: fp32)" in outside
    assert "warning: beyond what was seen:" in before("DenseLinearNN")[1]


def test_without_stored_runs_the_formulas_are_left(joulelab, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["predict", "before", "SimpleCNN", *ASKED, "--tdp", "65", "--device", "cpu"]
    code, out, _ = joulelab(*arguments)
    assert code == 0
    assert "no regression: no stored run can be used" in out
    assert "need --duration" in out
    code, out, _ = joulelab(*arguments, "--duration", "2h", "--json")
    (tdp, green) = json.loads(out)["estimates"]
    assert tdp["energy_j"] == pytest.approx(65 * 7200)
    assert green["energy_j"] > tdp["energy_j"]


def test_one_configuration_only_is_no_regression(joulelab, trained, tmp_path):
    one = copied(
        trained,
        tmp_path / "one",
        sql=[
            "DELETE FROM runs WHERE configuration NOT IN (SELECT configuration FROM runs LIMIT 1)"
        ],
    )
    code, out, _ = joulelab(
        "predict", "before", "SimpleCNN", *ASKED, "--from", one, "--device", "1 thread"
    )
    assert code == 0
    assert "1 configuration is too few for a regression; it needs 6" in out


def test_threads_of_this_machine_can_be_asked_for(before):
    assert "from 16 stored runs" in before("SimpleCNN", "--threads", "1", device="cpu")[1]
    assert "no stored runs on" in before("SimpleCNN", "--threads", "77", device="cpu")[1]


def test_hardware_of_stored_runs_can_be_asked_for(before, trained, tmp_path):
    copied(trained, tmp_path / "card", on_a_card)
    copied(trained, tmp_path / "here")
    code, out, _ = before("SimpleCNN", folder=tmp_path, device="h200")
    assert code == 0
    assert "on NVIDIA H200: cpu and dram, estimated" in out
    assert "16 on other hardware" in out
    assert "give --tdp" in out


@pytest.mark.parametrize(
    ("network", "options", "told"),
    [
        ("SimpleCNNN", [], "SimpleCNN"),
        ("SimpleCNN", ["--dataset", "digitz"], "digits"),
        ("SimpleCNN", ["--epochs", "0"], "--epochs 0"),
        ("SimpleCNN", ["--train-images", "-5"], "--train-images -5"),
        ("SimpleCNN", ["--precision", "fp33"], "fp32"),
        ("SimpleCNN", ["--engine", "fastest"], "fast"),
        ("SimpleCNN", ["--option", "conv_layer=1"], "conv_layers"),
        ("SimpleCNN", ["--option", "conv_layers"], "name=value"),
        ("SimpleCNN", ["--base", "frozen"], "--base"),
        ("SimpleCNN", ["--tdp", "-1"], "--tdp"),
        ("SimpleCNN", ["--usage", "1.5", "--tdp", "9"], "utilisation"),
        ("SimpleCNN", ["--duration", "2"], "--duration"),
        ("SimpleCNN", ["--device", "TPU"], "known:"),
        ("SimpleCNN", ["--threads", "0"], "--threads 0"),
        ("SimpleCNN", ["--from", "/nowhere"], "/nowhere"),
    ],
)
def test_mistakes_are_two_lines_that_say_what_to_do(before, network, options, told):
    code, out, err = before(network, *options)
    assert code == 2
    assert told in err
    assert len(err.strip().splitlines()) <= 2
    assert not out
