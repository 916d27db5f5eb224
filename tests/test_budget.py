"""Budgets as users write them."""

import pytest

from joulelab.budget import Budget, parse_budget, parse_energy
from joulelab.errors import UsageError


@pytest.mark.parametrize(
    ("text", "amount", "unit"),
    [
        ("20kJ", 20_000, "joules"),
        ("0.5 kWh", 1_800_000, "joules"),
        ("1Wh", 3600, "joules"),
        ("2MJ", 2_000_000, "joules"),
        ("90min", 5400, "seconds"),
        ("2 h", 7200, "seconds"),
        ("45s", 45, "seconds"),
        ("50 gCO2e", 50, "grams"),
        ("50 g CO2e", 50, "grams"),
        ("1.5kgCO2e", 1500, "grams"),
        ("1mgCO2e", 0.001, "grams"),
        ("2 t CO2e", 2_000_000, "grams"),
        ("270epochs", 270, "epochs"),
        ("1 epoch", 1, "epochs"),
        ("27 evaluations", 27, "evaluations"),
        ("1e3 J", 1000, "joules"),
    ],
)
def test_a_budget_has_a_number_and_a_unit(text, amount, unit):
    assert parse_budget(text) == Budget(amount, unit)


@pytest.mark.parametrize("text", ["20", "kJ", "0J", "-3h", "20 kj", "1e999J", "", "3 rounds"])
def test_another_budget_is_refused_with_the_forms(text):
    with pytest.raises(UsageError, match="not an amount above 0 with a unit") as refused:
        parse_budget(text)
    assert "20kJ" in refused.value.hint


def test_a_budget_says_amounts_in_its_unit():
    assert str(parse_budget("20kJ")) == "20,000 J"
    assert str(parse_budget("1epoch")) == "1 epoch"
    assert parse_budget("27evaluations").words(13.5) == "13.5 evaluations"
    assert parse_budget("2h").words(None) == "unknown"


def test_a_bare_number_is_joules_where_only_energy_is_possible():
    assert parse_energy(300) == 300
    assert parse_energy("2kJ") == 2000
    with pytest.raises(UsageError, match="not an energy above 0"):
        parse_energy("2h")
