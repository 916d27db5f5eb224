"""What tests of forecasts share."""

import pytest
from small_studies import layers


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Eight configurations, trained twice each."""
    return layers(tmp_path_factory.mktemp("trained") / "layers")
