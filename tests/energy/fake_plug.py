"""Plugs for tests: HTTP servers on the loopback that answer as the devices do, or misbehave."""

import contextlib
import hashlib
import re
import secrets
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


def eventually(holds, within_s=20.0):
    """Wait until something holds; tests need no luck with timing this way."""
    deadline_s = time.monotonic() + within_s
    while not (value := holds()):
        assert time.monotonic() < deadline_s, "it never came to pass"
        time.sleep(0.005)
    return value


class FakePlug:
    """A web server that can be stopped and started again at the same address.

    `reply` gives status, text and headers for a path and its query. Where `instead` is set, it is
    given the connection of each question and does as it likes. It speaks HTTPS where `tls` is set.
    """

    tls = None

    def __init__(self, power_w=100.0, total_j=3.6e6, password=""):
        self.power_w = power_w
        self.total_j = total_j
        self.password = password
        self.asked = []
        self.instead = None
        self.port = 0
        self.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    @property
    def now_j(self):
        """What its counter says; with real time where `total_j` is a function."""
        return self.total_j() if callable(self.total_j) else self.total_j

    def reply(self, path, query, headers):
        raise NotImplementedError

    def start(self):
        self._server = _Server(("127.0.0.1", self.port), _handler(self))
        self.port = self._server.server_address[1]
        if self.tls is not None:
            self._server.socket = self.tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.003,))
        self._thread.start()

    def stop(self):
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()


class FakeTasmota(FakePlug):
    def __init__(self, decimals=3, **settings):
        super().__init__(**settings)
        self.decimals = decimals
        self.refusal = 401

    def reply(self, path, query, headers):
        if path != "/cm":
            return 404, "File not found", {}
        if self.password and (query.get("user"), query.get("password")) != ("admin", self.password):
            return self.refusal, '{"WARNING":"Need user=<username>&password=<password>"}', {}
        if query["cmnd"] == "Status 2":
            return 200, '{"StatusFWR":{"Version":"14.2.0(release-tasmota)"}}', {}
        assert query["cmnd"] == "Status 8"
        return 200, self.status(), {}

    def status(self):
        total = f"{self.now_j / 3.6e6:.{self.decimals}f}"
        return (
            f'{{"StatusSNS":{{"Time":"2026-11-21T12:00:00","ENERGY":{{"Total":{total},'
            f'"Power":{self.power_w},"Voltage":231,"Current":0.433}}}}}}'
        )


class FakeShelly(FakePlug):
    """A plug of the second generation, with its authentication.

    `nonce_uses` is how often one nonce may be used, after which it is stale; `statuses` replaces
    the answer to a path.
    """

    def __init__(self, component="Switch", nonce_uses=None, **settings):
        super().__init__(**settings)
        self.component = component
        self.nonce_uses = nonce_uses
        self.nonces = {}
        self.statuses = {}

    def reply(self, path, query, headers):
        if path == "/shelly":
            return 200, '{"model":"S3PL-00112EU","gen":3,"ver":"1.4.4","auth_en":true}', {}
        if self.password and (stale := self.refuses(headers.get("Authorization", ""))):
            return 401, "", {"WWW-Authenticate": self.challenge(stale)}
        if path in self.statuses:
            return 200, self.statuses[path], {}
        if path != f"/rpc/{self.component}.GetStatus" or query != {"id": "0"}:
            return 404, '{"code":404,"message":"No handler"}', {}
        return 200, self.status(), {}

    def status(self):
        energy = ""
        if self.total_j is not None:
            energy = f'"aenergy":{{"total":{self.now_j / 3600:.3f},"minute_ts":1790000000}},'
        return (
            f'{{"id":0,"output":true,"apower":{self.power_w},"voltage":231.2,"current":0.430,'
            f'{energy}"temperature":{{"tC":41.5,"tF":106.7}}}}'
        )

    def challenge(self, stale):
        nonce = secrets.token_urlsafe(12) + "=="
        self.nonces[nonce] = 0
        return (
            f'Digest qop="auth", realm="shellyplugsg3-aabbcc", nonce="{nonce}", algorithm=SHA-256'
            f'{", stale=true" if stale == "stale" else ""}, opaque=""'
        )

    def refuses(self, authorization):
        """Why this header does not open the door; empty where it does."""
        said = {
            key: quoted or plain
            for key, quoted, plain in re.findall(r'(\w+)=(?:"([^"]*)"|([^\s,]+))', authorization)
        }
        nonce = said.get("nonce")
        if nonce not in self.nonces or "opaque" not in said or said["username"] != "admin":
            return "no"
        account = _sha(f"admin:shellyplugsg3-aabbcc:{self.password}")
        rest = (nonce, said["nc"], said["cnonce"], "auth", _sha(f"GET:{said['uri']}"))
        count = int(said["nc"], 16)
        if _sha(":".join((account, *rest))) != said["response"] or said["uri"] != self.asked[-1]:
            return "no"
        if count != self.nonces[nonce] + 1 or count > (self.nonce_uses or count):
            return "stale"
        self.nonces[nonce] = count
        return ""


class FakeFirstShelly(FakePlug):
    """A plug of the first generation, which knows no /rpc."""

    def reply(self, path, query, headers):
        if path == "/shelly":
            return 200, '{"type":"SHPLG-S","mac":"AABBCC","auth":false,"fw":"20230913"}', {}
        return 404, "Not Found", {}


def silent(connection):
    """Say nothing until the other side gives up."""
    with contextlib.suppress(OSError):
        while connection.recv(1024):
            pass


def dripping(connection):
    """A byte now and then, which each time is soon enough for a client that waits for bytes."""
    with contextlib.suppress(OSError):
        for byte in b"HTTP/1.1 200 OK\r\nX-Drip: " + b"." * 100_000:
            connection.sendall(bytes([byte]))
            time.sleep(0.02)


def endless(connection):
    with contextlib.suppress(OSError):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
        while True:
            connection.sendall(b"[" * 65536)


def says(data):
    """Answers each question with these bytes."""

    def answer(connection):
        with contextlib.suppress(OSError):
            connection.recv(4096)
            connection.sendall(data)

    return answer


def _handler(plug):
    class Handler(BaseHTTPRequestHandler):
        def handle(self):
            if plug.instead is None:
                super().handle()
            else:
                plug.instead(self.connection)

        def do_GET(self):
            parts = urlsplit(self.path)
            plug.asked.append(self.path)
            query = {key: values[0] for key, values in parse_qs(parts.query).items()}
            status, text, headers = plug.reply(parts.path, query, self.headers)
            self.send_response(status)
            for name, value in {"Content-Length": len(text.encode()), **headers}.items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_):
            pass

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_):
        """A client that gives up is no news."""


def free_port():
    """A port of the loopback where nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def _sha(text):
    return hashlib.sha256(text.encode()).hexdigest()
