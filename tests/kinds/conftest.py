"""One server for the studies that serve: it takes seconds to start."""

import pytest

from joulelab.kinds.inference import executor
from joulelab.serving.session import ServingSession


class KeptSession(ServingSession):
    """A session whose processes outlive a study; after an error they start anew, as usual."""

    def close(self):
        """Keep the processes for the next study."""

    def end(self):
        """End the processes."""
        super().close()


@pytest.fixture(scope="session")
def kept_session():
    """On the processor, with one thread."""
    session = KeptSession("cpu", 1)
    yield session
    session.end()


@pytest.fixture(scope="module")
def one_server(kept_session):
    """Studies and batch tables of a module are served by the same processes."""

    def session(device, threads):
        assert (device, threads) == ("cpu", 1)
        return kept_session

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(executor, "ServingSession", session)
        yield
