"""The guide's own example, extracted and run as a reader would."""

import re
from pathlib import Path

import pytest

from joulelab.registry import load_plugin
from joulelab.tuning.strategy import strategies

GUIDE = Path(__file__).parents[2] / "docs" / "own-strategy.md"


@pytest.mark.usefixtures("own_strategies")
def test_the_example_registers_and_passes_the_check_it_is_shown_with(tmp_path):
    part, check = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(), re.DOTALL | re.M)
    assert len(part.strip().splitlines()) < 20
    file = tmp_path / "my_parts.py"
    file.write_text(part)

    load_plugin(file)

    (entered,) = (p for p in strategies.parts() if p.origin == str(file))
    assert entered.summary in part
    assert f'"{entered.name}"' in GUIDE.read_text().split("experiment.tuning.strategies=")[1]
    exec(compile(check, GUIDE.name, "exec"), {})
