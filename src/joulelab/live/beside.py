"""Serve a page beside other work of this process: in another process, or in a thread.

A study is shown by a process of its own, with a lower priority, so that the page takes no time of
the process that measures. It ends when the pipe to it is closed, which the system does as well if
this process is killed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from joulelab.errors import JoulelabError
from joulelab.live.access import address, listen, new_token
from joulelab.live.server import Server
from joulelab.live.source import Source

ENDING_S = 5.0
NICE = 10


@contextmanager
def page_beside(
    folder: Path, host: str, port: int, kinds_used: Sequence[str] = ()
) -> Iterator[str]:
    """Show a study by another process; yields the address.

    Args:
        folder: its results folder, which may not exist yet.
        host: address or name of an interface.
        port: 0 for a free one.
        kinds_used: of its experiments; what they need is loaded at once.

    Raises:
        UsageError: it cannot be served there.
    """
    listening, token = listen(host, port), new_token()
    url = address(host, listening, token)
    number = listening.fileno()
    with subprocess.Popen(
        [sys.executable, "-m", "joulelab.live.beside"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=(number,),
        start_new_session=True,  # Ctrl-C is for the study
    ) as process:
        listening.close()
        asked = {
            "folder": str(folder),
            "host": host,
            "token": token,
            "socket": number,
            "kinds": list(kinds_used),
        }
        try:
            # A token among the arguments could be read by all users of the machine.
            process.stdin.write(f"{json.dumps(asked)}\n".encode())  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
            # What it loads, it loads before anything is measured.
            if not process.stdout.readline():  # type: ignore[union-attr]
                raise JoulelabError(
                    "the live page cannot be shown", "see above, or leave out --live"
                )
            yield url
        finally:
            with suppress(OSError):
                process.stdin.close()  # type: ignore[union-attr]
            try:
                process.wait(ENDING_S)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def page_in_thread(source: Source, host: str, port: int) -> Iterator[str]:
    """Show something by a thread of this process; yields the address.

    Args:
        source: what is shown.
        host: address or name of an interface.
        port: 0 for a free one.

    Raises:
        UsageError: it cannot be served there.
    """
    listening, token = listen(host, port), new_token()
    server = Server(source, token, host, listening)
    thread = threading.Thread(target=server.serve_page, name="joulelab-page", daemon=True)
    thread.start()
    try:
        yield address(host, listening, token)
    finally:
        server.stop()
        thread.join(ENDING_S)


def main() -> None:
    """Serve the page that standard input asks for, until it is closed."""
    import socket

    from joulelab.live.study_source import StudySource
    from joulelab.study.spec import kinds

    asked = json.loads(sys.stdin.readline())
    with suppress(OSError):
        os.nice(NICE)
    for name in asked["kinds"]:
        with suppress(JoulelabError):  # of a plug-in, which is not loaded here
            kinds.get(name)
    source = StudySource(Path(asked["folder"]), expected=True)
    listening = socket.socket(fileno=asked["socket"])
    server = Server(source, asked["token"], asked["host"], listening)

    def end_with_the_pipe() -> None:
        sys.stdin.read()
        server.stop()

    threading.Thread(target=end_with_the_pipe, daemon=True).start()
    print("ready", flush=True)
    server.serve_page()


if __name__ == "__main__":
    main()
