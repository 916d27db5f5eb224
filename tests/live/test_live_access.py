"""Who may see a page, and what else the server gives."""

import asyncio
import hashlib
import re
import socket
from base64 import b64encode

import pytest
from starlette.testclient import TestClient
from stored import Writer

from joulelab.errors import UsageError
from joulelab.live.access import address, listen, new_token
from joulelab.live.document import document_of
from joulelab.live.server import Hub, application, event
from joulelab.live.source import Source
from joulelab.live.study_source import StudySource

TOKEN = "a-token-that-only-the-user-knows"


class Counted(Source):
    """Shows how often it has been looked at."""

    page = "study"

    def _update(self):
        self._version += 1

    def _changes(self, since):
        return {"head": {"looks": self._version}, "since": since}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("live") / "out"
    with Writer(folder) as writer:
        writer.run_all()
    return folder


@pytest.fixture(scope="module")
def client(folder):
    hub = Hub(StudySource(folder))
    return TestClient(application(hub, TOKEN, "127.0.0.1"), base_url="http://127.0.0.1:8000")


def test_the_document_has_nothing_of_the_study_and_allows_nothing_else(client):
    answer = client.get(f"/{TOKEN}/")
    assert answer.status_code == 200
    assert "widths" not in answer.text
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for name in ("style", "script"):
        [text] = re.findall(rf"<{name}>(.*?)</{name}>", answer.text, re.S)
        digest = b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{name}-src 'sha256-" in policy
        assert digest in policy
    assert not re.search(r"(src|href)=\"?https?:", answer.text.replace("http://www.w3.org", ""))
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/wrong/",
        "/wrong/events",
        f"/{TOKEN}",
        f"/{TOKEN[:-1]}/",
        f"/{TOKEN}x/events",
        f"/wrong/../{TOKEN}x/",
        f"/%2f{TOKEN}/",
        "/é/",
        "/favicon.ico",
        f"/?token={TOKEN}",
    ],
)
def test_without_the_token_everything_is_forbidden(client, path):
    answer = client.get(path)
    assert (answer.status_code, answer.content) == (403, b"")
    assert not set(answer.headers) - {"content-length"}


@pytest.mark.parametrize(
    "path",
    [
        "study.toml",
        "runs.sqlite",
        "../../../etc/passwd",
        "..%2f..%2f..%2fetc/passwd",
        "%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "events/../study.toml",
        "manifest.json",
        "page.html",
    ],
)
def test_no_file_is_served(client, path):
    answer = client.get(f"/{TOKEN}/{path}")
    assert answer.status_code in {403, 404}
    assert "root:" not in answer.text
    assert "name" not in answer.text


@pytest.mark.parametrize("method", ["post", "put", "delete", "patch", "options"])
def test_nothing_can_be_sent(client, method):
    assert getattr(client, method)(f"/{TOKEN}/").status_code == 405


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200),
        ("localhost:9000", 200),
        ("LOCALHOST", 200),
        ("[::1]:8000", 200),
        ("192.168.1.7:8000", 200),
        (socket.gethostname(), 200),
        ("evil.example:8000", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example", 403),
        ("", 403),
        ("[", 403),
        ("0.0.0.0.0:80", 403),
    ],
)
def test_a_name_of_another_site_is_forbidden(client, host, status):
    assert client.get(f"/{TOKEN}/", headers={"host": host}).status_code == status


def test_a_port_in_use_is_said_in_one_line():
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=rf"^port {port} of 127.0.0.1 cannot be used") as error:
            listen("127.0.0.1", port)
    assert "\n" not in error.value.message


@pytest.mark.parametrize(
    ("host", "port"), [("127.0.0.1", 65536), ("no.such.host.invalid", 0), ("192.0.2.1", 0)]
)
def test_an_impossible_place_is_refused(host, port):
    with pytest.raises(UsageError):
        listen(host, port)


def test_an_address_leads_to_the_page():
    with listen("127.0.0.1", 0) as listening:
        url = address("127.0.0.1", listening, TOKEN)
        assert url == f"http://127.0.0.1:{listening.getsockname()[1]}/{TOKEN}/"
        assert socket.gethostname() in address("0.0.0.0", listening, TOKEN)
    assert len({new_token() for _ in range(100)}) == 100
    assert len(new_token()) >= 32


def test_nothing_is_read_without_a_viewer_and_once_for_all_of_them():
    async def look():
        hub = Hub(source := Counted(), every_s=0.01)
        await asyncio.sleep(0.05)
        assert source._version == 0
        viewers = [hub.stream(""), hub.stream("")]
        firsts = [await anext(viewer) for viewer in viewers]
        assert all('"whole":true' in first for first in firsts)
        assert source._version <= 2
        seconds = await asyncio.gather(*map(anext, viewers))
        assert all('"whole":false' in second for second in seconds)
        for viewer in viewers:
            await viewer.aclose()
        await hub._looking
        looked = source._version
        await asyncio.sleep(0.05)
        assert source._version == looked

    asyncio.run(look())


def test_a_silent_stream_says_that_it_is_alive_and_the_end_is_told(monkeypatch):
    class Still(Counted):
        def _update(self):
            self._version = 1

    async def look():
        hub = Hub(Still(), every_s=0.01)
        monkeypatch.setattr("joulelab.live.server.BEAT_S", 0.02)
        viewer = hub.stream("")
        assert "event: change" in await anext(viewer)
        assert "event: beat" in await anext(viewer)
        await hub.end()
        assert [text.partition("\n")[0] async for text in viewer][-1] == "event: end"

    asyncio.run(look())


def test_a_look_that_fails_is_told_and_tried_again():
    class Failing(Counted):
        def _update(self):
            super()._update()
            if self._version == 2:
                raise ValueError("a defect")

    async def look():
        viewer = Hub(Failing(), every_s=0.01).stream("")
        texts = [await anext(viewer) for _ in range(5)]
        assert [text.split()[1] for text in texts] == [
            "change",
            "change",
            "wrong",
            "change",
            "wrong",
        ]
        assert "ValueError: a defect" in texts[2]
        assert '{"text":""}' in texts[4]
        await viewer.aclose()

    asyncio.run(look())


def test_numbers_that_json_does_not_have_are_null():
    assert event("change", {"a": [float("nan"), {"b": float("inf")}]}) == (
        'event: change\ndata: {"a":[null,{"b":null}]}\n\n'
    )


@pytest.mark.parametrize("page", ["study", "watch"])
def test_a_page_is_one_document(page):
    document, (style, script) = document_of(page)
    assert style in document
    assert script in document
    assert "<!-- body -->" not in document
    assert "innerHTML" not in script
