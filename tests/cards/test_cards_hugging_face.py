"""Hugging Face's co2_eq_emissions, and the cards that they are written into."""

import sys
from pathlib import Path

import pytest
import yaml

STUDIES = Path(__file__).parent.parent / "data" / "studies"
CARD = """---
license: mit # as the data
tags:
- image-classification
# measured in June
co2_eq_emissions:
  emissions: 3
  training_type: fine-tuning
  pue: 1.2
# below

datasets: [digits]
---

# My model

co2_eq_emissions: not here
"""


@pytest.fixture
def card(joulelab):
    """Makes a card of a stored study."""
    return lambda name, *more: joulelab("card", STUDIES / name, "--format", "hf", *more)


def test_every_field_is_filled_from_the_study(card):
    huggingface_hub = pytest.importorskip("huggingface_hub")
    code, out, err = card("architecture", "--place", "NLD")
    assert code == 0
    data = huggingface_hub.ModelCard(f"---\n{out}---\n").data
    told = data.to_dict()["co2_eq_emissions"]
    assert isinstance(data, huggingface_hub.ModelCardData)
    assert told["emissions"] == pytest.approx(17.19 / 3.6e6 * 267.6, rel=0.01)  # grams
    assert told["training_type"] == "pre-training"
    assert told["geographical_location"] == "Netherlands"
    assert told["hardware_used"] == "Some Processor (2 logical processors)"
    assert "estimated by joulelab" in told["source"]
    assert err.startswith("About 17.2 J")
    assert "left out" not in err


def test_what_is_unknown_is_left_out_with_the_reason(card):
    code, out, err = card("batching")
    assert code == 0
    assert set(yaml.safe_load(out)["co2_eq_emissions"]) == {"source", "hardware_used"}
    assert "left out: emissions: the origin of the electricity is unknown" in err
    assert "left out: training_type: the energy is that of inference" in err


def test_a_place_given_as_a_number_is_no_location(card):
    _, out, err = card("architecture", "--place", "412", "--phase", "fine-tuning")
    told = yaml.safe_load(out)["co2_eq_emissions"]
    assert told["training_type"] == "fine-tuning"
    assert "geographical_location" not in told
    assert "name the place" in err


def test_an_unfinished_study_says_so(card):
    _, _, err = card("unfinished", "--place", "NLD")
    assert "The study is not finished: 9 of 32 runs are done, 23 are left." in err
    assert "5.44 mJ of it in what failed or was interrupted" in err
    assert "no sensor measured it" in err


def test_a_card_keeps_all_but_the_emissions(card, tmp_path):
    path = tmp_path / "README.md"
    path.write_text(CARD)
    code, out, _ = card("batching", "--place", "NLD", "--out", path)
    assert (code, out) == (0, f"{path}\n")
    lines, before = path.read_text().splitlines(), CARD.splitlines()
    assert lines[:6] == before[:6]
    assert lines[-9:] == before[-9:]
    told = yaml.safe_load(path.read_text().split("---")[1])["co2_eq_emissions"]
    assert told["emissions"] < 0.01
    assert told["training_type"] == "fine-tuning"  # unknown of this study: the author's stays
    assert told["pue"] == 1.2

    again = path.read_text()
    card("batching", "--place", "NLD", "--out", path)
    assert path.read_text() == again


@pytest.mark.parametrize(
    "text",
    [
        "# A card\n",
        "---\nlicense: mit\n---\n# A card\n",
        "---\r\nlicense: mit\r\nco2_eq_emissions: 12\r\n---\r\n# A card\r\n",
        "---\nco2_eq_emissions: {emissions: 3,\n  source: x}\nlicense: mit\n---\n",
        "---\nlicense: mit\nco2_eq_emissions:\n---\n# A card\n",
        "---\n---\n# A card\n",
    ],
)
def test_any_form_of_metadata_is_updated(card, tmp_path, text):
    path = tmp_path / "README.md"
    path.write_text(text, newline="")
    assert card("architecture", "--place", "NLD", "--out", path)[0] == 0
    written = path.read_bytes().decode()
    data = yaml.safe_load(written.split("---")[1])
    assert data.pop("co2_eq_emissions")["geographical_location"] == "Netherlands"
    assert data == ({"license": "mit"} if "license" in text else {})
    assert written.endswith("# A card\r\n" if "\r" in text else "\n")
    assert ("\r\n" in text) == ("\r\n" in written)
    assert "\n" not in written.replace("\r\n", "") or "\r" not in text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("---\nlicense: [mit\n---\n", "line 3: the metadata is not valid YAML"),
        ("---\nlicense: mit\n", "its metadata has no end"),
        ("---\n- mit\n---\n", "the metadata is not a list of keys"),
        ("---\n{license: mit}\n---\n", "the metadata is not a list of keys"),
        (b"\xff\xfe", "is not UTF-8"),
    ],
)
def test_a_card_that_cannot_be_updated_stays_as_it_was(card, tmp_path, text, words):
    path = tmp_path / "README.md"
    raw = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(raw)
    code, out, err = card("architecture", "--out", path)
    assert (code, out) == (2, "")
    assert words in err
    assert path.read_bytes() == raw


def test_without_a_reader_of_yaml_a_card_can_be_made_but_not_updated(card, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    path = tmp_path / "README.md"
    assert card("architecture", "--out", path)[0] == 0
    code, _, err = card("architecture", "--out", path)
    assert code == 1
    assert "pip install pyyaml" in err
