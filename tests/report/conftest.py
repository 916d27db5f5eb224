"""The studies that are reported on."""

from pathlib import Path

import pytest
from reported_study import FakeResults, as_published, drawn


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
