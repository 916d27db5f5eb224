"""The studies that are reported on."""

from pathlib import Path

import pytest
from reported_study import FakeResults, as_published, drawn

from joulelab.report.ledger import ReportedStudy
from joulelab.report.pages import write_report


@pytest.fixture
def study(tmp_path: Path) -> FakeResults:
    """A whole study of 36 small runs."""
    return drawn(tmp_path)


@pytest.fixture(scope="session")
def published(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> FakeResults:
    """Both experiments of Yarally et al. on Fashion-MNIST; not to be changed."""
    source = data_dir / "yarally2023"
    if not source.is_dir():
        pytest.skip(f"no published measurements at {source}")
    return as_published(source, tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="session")
def whole_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a report that nothing is wrong with, with its figures.

    Names in the study hold what HTML would understand.
    """
    study = drawn(tmp_path_factory.mktemp("whole"))
    study.runs["network"] = study.runs["network"].str.replace("SimpleCNN", "<b>CNN</b> & co")
    study.runs["configuration"] = study.runs["configuration"].str.replace("SimpleCNN", "<i>")
    return write_report(ReportedStudy(study)).parent
