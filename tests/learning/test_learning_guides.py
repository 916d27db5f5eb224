"""The guides' own examples, extracted and run as a reader would."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from joulelab.learning.images import datasets
from joulelab.learning.networks import networks
from joulelab.registry import load_plugin

DOCS = Path(__file__).parents[2] / "docs"


def _python(guide):
    return re.findall(r"^```python\n(.*?)^```", (DOCS / guide).read_text(), re.DOTALL | re.M)


@pytest.mark.parametrize(
    ("guide", "registry", "name"),
    [("own-network.md", networks, "wide-mlp"), ("own-data-set.md", datasets, "rings")],
)
@pytest.mark.usefixtures("own_parts")
def test_the_example_registers_and_passes_the_check_it_is_shown_with(
    guide, registry, name, tmp_path
):
    part, check = _python(guide)
    assert len(part.strip().splitlines()) <= 20
    file = tmp_path / "my_part.py"
    file.write_text(part)
    load_plugin(file)
    (entered,) = (p for p in registry.parts() if p.name == name)
    assert entered.origin == str(file)
    assert entered.summary in part
    exec(compile(check, guide, "exec"), {})


@pytest.mark.usefixtures("own_parts")
def test_the_two_examples_train_together(tmp_path):
    from joulelab.learning.engine import Member, TrainingTask
    from joulelab.learning.images import load_images
    from joulelab.learning.reference import ReferenceEngine

    for guide in ("own-network.md", "own-data-set.md"):
        file = tmp_path / f"{guide}.py"
        file.write_text(_python(guide)[0])
        load_plugin(file)
    task = TrainingTask("wide-mlp", {"width": 64}, "default", 10, 50, (Member(1),))
    (result,) = ReferenceEngine().train(task, load_images("rings"), "cpu")
    assert result.accuracy > 0.9


def test_the_registries_can_be_imported_without_torch():
    modules = "images, networks, engine, protocol, zoo, flops, memory"
    code = f"from joulelab.learning import {modules}; import sys; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
