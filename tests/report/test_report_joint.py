"""A joint report of experiments with and without pages beside their report."""

import pandas as pd
import pytest

from joulelab.report.experiment import experiment_of_table
from joulelab.report.pages import not_joint, write_side_pages


def experiment(kind):
    runs = pd.DataFrame({"round": [0, 0], "accuracy": [0.5, 0.6], "level": ["a", "b"], "j": [1, 2]})
    return experiment_of_table(
        runs, name=kind, kind=kind, dataset="d", factors=["level"], energy="j"
    )


def test_kinds_without_pages_have_no_joint_report(tmp_path):
    neither = [experiment("batching"), experiment("timeline")]
    assert write_side_pages("two", neither, tmp_path / "out") is None
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("unpictured")
def test_pages_name_the_experiments_that_are_not_on_them(tmp_path):
    both = [experiment("batching"), experiment("architecture")]
    page = write_side_pages("two", both, tmp_path)
    (said,) = not_joint(both)
    assert said == "batching is not on the joint page, only in the report of its study."
    assert said in page.read_text("utf-8")
    assert said in (tmp_path / "claims.md").read_text("utf-8")
