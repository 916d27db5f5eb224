"""A worker: loads a study once, and carries out the groups that it is given.

::

    runner                                     worker
      ◄── hello    version, host, Python
      study ──►    folder, session, data sets
      ◄── ready    conditions, idle power
      group ──►    its number, runs, what is known of its configuration
      ◄── enter ... enter
      ◄── done
      stop ──►     idle power is measured
      ◄── ended

Workers of one node load one after the other, and never beside a measured run: loading is in the
reading of every sensor of the node.

Each line is JSON. A worker whose runner is gone, or asks it to, ends as at Ctrl-C: what it was
doing is booked as interrupted.
"""

from __future__ import annotations

import os
import platform
import queue
import signal
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import joulelab
from joulelab.energy.lock import DeviceLock
from joulelab.energy.ranks import machine
from joulelab.energy.reading import Total
from joulelab.errors import JoulelabError
from joulelab.execution.connections import Connection, Sending, connect
from joulelab.execution.local import PROCESSOR
from joulelab.execution.relay import Line, RelayStore
from joulelab.kinds.program.process import end_all, left_behind
from joulelab.study.executor import Heartbeat
from joulelab.study.listener import Listener
from joulelab.study.manifest import source_commit
from joulelab.study.plan import Plan, make_plan
from joulelab.study.study_file import load_spec
from joulelab.study.working import Working, opened

Send = Callable[[Line], None]
INTERRUPTED = 130
VARIABLE = "JOULELAB_WORKER"
"""Names the worker to the processes that it starts: what a killed one has left is found by it."""


def work(connection: Connection) -> int:
    """Work for a runner until it asks to stop.

    Args:
        connection: to the runner.

    Returns:
        The exit code.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    identity = os.environ[VARIABLE] = uuid.uuid4().hex
    inbox: queue.Queue[Line] = queue.Queue()
    listening = threading.Thread(target=_listen, args=(connection, inbox), daemon=True)
    with Sending(connection) as sending:
        sending.send({"hello": hello(identity)})
        return _work(listening, inbox, sending.send)


def _work(listening: threading.Thread, inbox: queue.Queue[Line], send: Send) -> int:
    try:
        listening.start()
        asked = inbox.get()
        _carry_out(asked["study"], inbox, send)
    except KeyboardInterrupt:
        send({"failed": "interrupted", "hint": "", "interrupted": True})
        return INTERRUPTED
    except JoulelabError as error:
        send({"failed": error.message, "hint": error.hint})
        return error.exit_code
    except Exception as error:
        traceback.print_exc()
        send({"failed": f"{type(error).__name__}: {error}", "hint": "see the log of the worker"})
        return 1
    return 0


def hello(identity: str) -> Line:
    """What the runner checks before it sends a study.

    Args:
        identity: in the environment of every process that the worker starts.
    """
    return {
        "worker": identity,
        "joulelab": joulelab.__version__,
        "commit": source_commit(),
        "python": platform.python_version(),
        "host": platform.node(),
        "node": machine(),
        "pid": os.getpid(),
        "time": time.time(),
    }


def _listen(connection: Connection, inbox: queue.Queue[Line]) -> None:
    """Pass on lines; interrupt the work where the runner is gone, or wants it to end now."""
    while (line := connection.receive()) is not None and "end" not in line:
        inbox.put(line)
    os.kill(os.getpid(), signal.SIGINT)


def _carry_out(asked: Line, inbox: queue.Queue[Line], send: Send) -> None:
    folder = Path(asked["folder"])
    data_dir = None if asked["data_dir"] is None else Path(asked["data_dir"])
    spec = load_spec(folder, trust=True, manifest=asked["code"])
    plan = make_plan(spec)
    store = RelayStore(folder, asked["session"], send)
    listener = _Passing(send)
    with closing(store), ExitStack() as loading:
        alone = loading.enter_context(DeviceLock(PROCESSOR, "loading"))
        alone.acquire(on_wait=listener.waiting)
        opening = opened(spec, data_dir, plan, store, listener, alone=False)
        with opening as working, closing(working.begin()) as ledger, working.heard():
            working.load()
            workloads, now = working.workloads, working.conditions()
            entry = {**working.entry(now), "idle_before_w": working.measure_idle_alone()}
            loading.close()
            files = [str(one) for one in workloads.files()]
            ready = {"ready": entry, "latest": workloads.latest(now), "files": files}
            send({**ready, "devices": working.session.devices})
            ledger.switch("between")
            groups = _Groups(plan, working, store)
            while "group" in (line := inbox.get()):
                groups.carry_out(line)
                send({"done": line["group"]})
            after_w = working.measure_idle()
        ended_at = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        send({"ended": {"idle_after_w": after_w, "ended_at": ended_at}})


class _Groups:
    """Carries out groups, those before them of the same configuration first, as far as finished.

    A strategy that learns has to see the rounds before, whoever has trained them.
    """

    def __init__(self, plan: Plan, working: Working, store: RelayStore) -> None:
        self._plan = plan
        self._working = working
        self._store = store
        self._seen: set[int] = set()
        self._swept: set[str] = set()

    def carry_out(self, line: Line) -> None:
        """Carry out a group.

        Args:
            line: its number, the runs that are left, what is given, and workers that have ended.
        """
        for identity in set(line["gone"]) - self._swept:
            self._swept.add(identity)
            end_all(left_behind(VARIABLE, identity))
        number, wanted = line["group"], set(line["runs"])
        group = self._plan.groups[number]
        key = group.configuration.key
        earlier = [
            at
            for at, one in enumerate(self._plan.groups[:number])
            if one.configuration.key == key and at not in self._seen
        ]
        self._store.give(
            [run for at in (*earlier, number) for run in self._plan.groups[at].runs],
            line["given"],
        )
        for at in earlier:
            self._working.run(self._plan.groups[at], [])
        self._working.run(group, [run for run in group.runs if run.run_id in wanted])
        self._seen.update(earlier, (number,))


class _Passing(Listener):
    """Passes on what the runner cannot learn from what is entered."""

    def __init__(self, send: Send) -> None:
        self._send = send

    def doing(self, what: str) -> None:
        self._send({"doing": what})

    def progress(self, heartbeat: Heartbeat, total: Total) -> None:
        self._send({"far": [heartbeat.done, heartbeat.of]})

    def waiting(self, what: str) -> None:
        self._send({"waiting": what})


def main(arguments: Sequence[str] | None = None) -> int:
    """A worker of an engine: ``python -m joulelab.execution.worker local 4``.

    Args:
        arguments: name of the connection, and what it needs.
    """
    return work(connect(sys.argv[1:] if arguments is None else arguments))


if __name__ == "__main__":
    sys.exit(main())
