"""The studies that are reported on."""

from pathlib import Path

import pytest
from reported_study import FakeResults, as_published, drawn

from joulelab.report.ledger import ReportedStudy
from joulelab.report.pages import write_report
from undrawn import unpicture


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


def whole_report(folder: Path, without_pictures: str) -> Path:
    """The folder of a report that nothing is wrong with.

    Names in the study hold what HTML would understand.

    Args:
        folder: of the study.
        without_pictures: module of the report whose pages have no pictures.
    """
    study = drawn(folder)
    study.runs["network"] = study.runs["network"].str.replace("SimpleCNN", "<b>CNN</b> & co")
    study.runs["configuration"] = study.runs["configuration"].str.replace("SimpleCNN", "<i>")
    with pytest.MonkeyPatch.context() as patch:
        unpicture(patch, [without_pictures])
        return write_report(ReportedStudy(study)).parent


@pytest.fixture(scope="module")
def illustrated_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole report; the page of the study has its figures."""
    return whole_report(tmp_path_factory.mktemp("whole"), "paper_pages")


@pytest.fixture(scope="module")
def illustrated_paper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole report; the pages of the paper have their figures."""
    return whole_report(tmp_path_factory.mktemp("whole"), "pages")
