"""The guide's example gives the output that stands below it."""

import re
from pathlib import Path

GUIDE = Path(__file__).parents[2] / "docs" / "planner.md"


def test_the_example_prints_what_the_guide_shows(capsys):
    code, shown = re.search(
        r"^```python\n(.*?)^```\n\n```text\n(.*?)^```", GUIDE.read_text(), re.S | re.M
    ).groups()
    exec(compile(code, GUIDE.name, "exec"), {})
    assert capsys.readouterr().out == shown
