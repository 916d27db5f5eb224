"""The runner's side: which group goes to which worker, and what became of it.

::

    groups     waiting ──► given to a worker ──► done
                  ▲              │ the worker has ended
                  └──────────────┘ at most three times

The groups of a configuration stay in order, and one at a time is under way: a strategy proposes
from what was observed before. Groups of different configurations are under way together. Results
do not depend on the number of workers.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import joulelab
from joulelab.errors import JoulelabError
from joulelab.execution.engine import Engine, Worker, execution_engines
from joulelab.execution.node_time import NodeTime
from joulelab.execution.relay import Line, Receiver, measured
from joulelab.execution.waiting import Waiting
from joulelab.study.code_copies import CodeCopies
from joulelab.study.executor import Heartbeat
from joulelab.study.listener import Listener
from joulelab.study.manifest import machine_of
from joulelab.study.plan import Plan
from joulelab.study.spec import ExecutionSpec
from joulelab.study.store import Store
from joulelab.study.study import Study

WAIT_S = 0.2
"""Longest time between two looks at the workers."""
MOST_ATTEMPTS = 3
"""Times that a group is given out."""
MOST_LOST = 3
"""Workers that may end in a row without having finished a group."""
STOP_S = 30.0
"""Time for workers to book what they are doing."""
PATIENCE_S = 20.0
"""Time for a worker to begin before it is said what it waits for."""
CLOCKS_S = 60.0
"""Difference between clocks that is said."""


class PoolError(JoulelabError):
    """The workers cannot carry out the study."""


@dataclass
class _Member:
    """A worker and what it does.

    Attributes:
        worker: of the engine.
        session: its number.
        receiver: enters its lines.
        group: that it carries out; None between.
        ready: it has loaded the study.
        stopping: it was told to stop.
        failed: why it cannot work.
        interrupted: another may work in its place: its time was up, or it was told to end.
    """

    worker: Worker
    session: int
    receiver: Receiver
    group: int | None = None
    ready: bool = False
    stopping: bool = False
    failed: JoulelabError | None = None
    interrupted: bool = False
    identity: str = ""
    host: str = ""
    machine: str = ""
    said: str = ""
    started_s: float = field(default_factory=time.monotonic)
    configurations: set[tuple[str, str]] = field(default_factory=set)


def carry_out(
    study: Study, plan: Plan, store: Store, copies: CodeCopies, listener: Listener, on: str
) -> None:
    """Carry out what is left of a study with an engine.

    Args:
        study: the study.
        plan: of it.
        store: open for writing.
        copies: of its code, written.
        listener: hears what happens.
        on: name of the engine and what it needs: ``"local:2"``.

    Raises:
        UnknownNameError: there is no such engine.
        PoolError: no worker can carry it out, or workers keep ending.
    """
    name, _, address = on.partition(":")
    settings = study.spec.execution or ExecutionSpec()
    engine = execution_engines.get(name)(address, settings)
    store.plan(plan.runs)
    idle_s = study.spec.energy.idle_s
    Pool(engine, plan, store, copies, listener, study.data_dir, settings, idle_s).run()


class Pool:
    """Carries out the groups of a study with the workers of an engine.

    Args:
        engine: starts workers.
        plan: of the study.
        store: open for writing, the plan entered.
        copies: of the study's code.
        listener: hears what happens.
        data_dir: folder of data sets, as the workers see it.
        settings: of the study.
        idle_s: time in which a worker measures idle power, in seconds.
    """

    def __init__(
        self,
        engine: Engine,
        plan: Plan,
        store: Store,
        copies: CodeCopies,
        listener: Listener,
        data_dir: Path | None,
        settings: ExecutionSpec,
        idle_s: float,
    ) -> None:
        self._engine = engine
        self._plan = plan
        self._store = store
        self._copies = copies
        self._listener = listener
        self._data_dir = data_dir
        self._mix = settings.mix
        self._idle_s = idle_s
        self._runs = {run.run_id: run for run in plan.runs}
        states = store.states()
        left = {run.run_id for run in plan.left(states)}
        self._pending = {
            number: [run.run_id for run in group.runs if run.run_id in left]
            for number, group in enumerate(plan.groups)
        }
        self._waiting = Waiting(plan, [number for number, runs in self._pending.items() if runs])
        self._attempts: Counter[int] = Counter()
        self._members: list[_Member] = []
        self._started = 0
        self._lost = 0
        self._blocks = self._begun_blocks()
        self._gone_by_name: list[str] = []
        self._times: dict[str, NodeTime] = {}
        self._first_session = store.session()

    def _begun_blocks(self) -> dict[int, str]:
        """The machine of every block that was begun in an earlier session."""
        sessions = self._store.manifest().get("sessions", [])
        machines = {entry["session"]: str(machine_of(entry)["machine"]) for entry in sessions}
        return {
            block: machines[session]
            for block, session in self._store.block_sessions()
            if session in machines
        }

    def run(self) -> None:
        """Carry out what is left.

        Raises:
            KeyboardInterrupt: after what was under way has been booked.
            PoolError: no worker can carry it out, or workers keep ending.
        """
        with closing(self._engine):
            try:
                while self._waiting or self._busy():
                    self._start()
                    self._step()
                    self._check_stuck()
                self._stop()
            except BaseException:
                self._end()
                raise

    def _busy(self) -> bool:
        return any(one.group is not None for one in self._members)

    def _start(self) -> None:
        """Start as many workers as there are groups for."""
        wanted = min(self._engine.workers, len(self._waiting) + sum(map(_works, self._members)))
        while len(self._members) < wanted:
            self._start_one()

    def _start_one(self) -> None:
        session = self._first_session + self._started
        worker = self._engine.start(self._started, self._store.folder)
        receiver = Receiver(self._store, session, self._runs)
        self._members.append(_Member(worker, session, receiver))
        self._started += 1

    def _step(self) -> None:
        """Take what has come, and give out what can be."""
        self._engine.wait(WAIT_S)
        for one in list(self._members):
            self._take(one)
            if one not in self._members:  # it has ended
                continue
            self._say_waiting(one)
            if one.ready and one.group is None and not one.stopping:
                self._give(one)

    def _say_waiting(self, one: _Member) -> None:
        """Say what a worker waits for before it begins, where that takes a while."""
        if one.identity or time.monotonic() - one.started_s < PATIENCE_S:
            return
        reason = one.worker.waiting()
        if reason not in {"", one.said}:
            one.said = reason
            self._listener.doing(f"{one.worker.name} has not begun: {reason}")

    def _check_stuck(self) -> None:
        """Where no worker may carry out what is left, start another, or end.

        Raises:
            PoolError: names a block and its machine.
        """
        idle = all(one.ready and one.group is None for one in self._members)
        if (
            not self._waiting
            or not idle
            or any(self._block_for(one) is not None for one in self._members)
        ):
            return
        if len(self._members) < self._engine.workers:
            self._start_one()
            return
        raise PoolError(
            "what is left is of blocks that were begun on another kind of machine "
            f"({', '.join(sorted(set(self._blocks.values())))}), and no worker is on one",
            "ask for such a node in [execution], and run the same command again",
        )

    def _take(self, one: _Member) -> None:
        """Take the lines of a worker; note its end."""
        for line in one.worker.receive():
            self._heard(one, line)
        why = one.worker.ended()
        if why is not None:
            for line in one.worker.receive():
                self._heard(one, line)
            self._members.remove(one)
            self._gone(one, why)

    def _heard(self, one: _Member, line: Line) -> None:
        if "enter" in line:
            self._enter(one, line)
        elif "done" in line:
            self._done(one)
        elif "hello" in line:
            self._greet(one, line["hello"])
        elif "ready" in line:
            self._ready(one, line)
        elif "doing" in line:
            self._listener.doing(f"{one.worker.name}: {line['doing']}")
        elif "waiting" in line:
            self._tell_waiting(one, line["waiting"])
        elif "failed" in line:
            one.failed = PoolError(f"{one.worker.name}: {line['failed']}", line["hint"])
            one.interrupted = line.get("interrupted", False)
        elif "ended" in line:
            self._note(one, line["ended"])

    def _greet(self, one: _Member, hello: Line) -> None:
        """Send the study to a worker that can carry it out."""
        name = f"{one.worker.name} ({hello['host']})"
        one.identity, one.host = hello["worker"], hello["host"]
        one.receiver.time = self._times.setdefault(one.host, NodeTime())
        if hello["joulelab"] != joulelab.__version__:
            one.failed = PoolError(
                f"{name} has joulelab {hello['joulelab']}, this is {joulelab.__version__}",
                "install the same version there",
            )
            one.worker.kill()
            return
        if abs(apart_s := hello["time"] - time.time()) > CLOCKS_S:
            self._listener.doing(f"{name}: its clock is {apart_s:+.0f} s from this one")
        data_dir = None if self._data_dir is None else str(self._data_dir.absolute())
        folder = str(self._store.folder.absolute())
        study = {"folder": folder, "data_dir": data_dir, "session": one.session}
        one.worker.send({"study": study})

    def _tell_waiting(self, one: _Member, what: str) -> None:
        """Say what a worker waits for, unless that may be another of this study."""
        if sum(other.host == one.host for other in self._members) == 1:
            self._listener.waiting(f"{one.worker.name}: {what}")

    def _ready(self, one: _Member, line: Line) -> None:
        """Note the session of a worker that has loaded the study."""
        one.machine = str(machine_of(line["ready"])["machine"])
        self._check_machine(one)
        self._copies.add(Path(file) for file in line["files"])
        manifest = self._store.manifest()
        entry = line["ready"]
        conditions = {**self._copies.conditions, **entry["conditions"]}
        entry = {**entry, "conditions": conditions}
        latest = {**line["latest"], "plugins": self._copies.plugins}
        sessions = [*manifest.get("sessions", []), entry]
        self._store.write_manifest({**conditions, **manifest, **latest, "sessions": sessions})
        one.ready = True

    def _check_machine(self, one: _Member) -> None:
        """Refuse a second kind of machine, unless each block may have its own.

        Raises:
            PoolError: names both.
        """
        sessions = self._store.manifest().get("sessions", [])
        others = {str(machine_of(entry)["machine"]) for entry in sessions} - {one.machine}
        if others and self._mix == "refuse":
            raise PoolError(
                f"{one.worker.name} is on {one.machine}, and the study has begun on "
                f"{', '.join(sorted(others))}: differences of machines would pass for effects",
                'use nodes of one kind, or give each block its own: mix = "block" in [execution]',
            )

    def _note(self, one: _Member, more: Mapping[str, Any]) -> None:
        """Add to the session of a worker in the manifest."""
        manifest = self._store.manifest()
        sessions = [
            {**entry, **more} if entry["session"] == one.session else entry
            for entry in manifest["sessions"]
        ]
        self._store.write_manifest({**manifest, "sessions": sessions})

    def _block_for(self, one: _Member) -> int | None:
        """The first block of which a worker may be given a group."""
        allowed = {None, one.machine}
        return self._waiting.first_block(lambda block: self._blocks.get(block) in allowed)

    def _give(self, one: _Member) -> None:
        """Give out the next group; in its block, one of a configuration that the worker knows."""
        block = self._block_for(one)
        if block is None:
            return
        number = self._waiting.take(block, one.configurations)
        self._attempts[number] += 1
        self._blocks.setdefault(block, one.machine)
        key = self._plan.groups[number].configuration.key
        self._copies.check_programs()
        given = self._store.known_of(self._plan.groups[number].runs)
        one.group = number
        one.configurations.add(key)
        runs = self._pending[number]
        one.worker.send({"group": number, "runs": runs, "given": given, "gone": self._gone_by_name})

    def _enter(self, one: _Member, line: Line) -> None:
        one.receiver.enter(line)
        self._settle(one)
        kind = line["enter"]
        if kind == "begin" and line["runs"]:
            self._listener.started([self._runs[run_id] for run_id in line["runs"]])
        elif kind == "progress":
            measurement, total = measured(line)
            self._listener.progress(Heartbeat(0, 0, measurement), total)
        elif kind == "end" and line["rows"]:
            self._listener.finished(line["rows"], measured(line)[1])

    def _settle(self, one: _Member) -> None:
        """Book what workers of a node have done beside runs, as far as all of it is known."""
        mates = [other for other in self._members if other.host == one.host]
        open_s = [at for mate in mates for at in mate.receiver.begun.values()]
        one.receiver.time.settle(min(open_s, default=math.inf))

    def _done(self, one: _Member) -> None:
        assert one.group is not None
        self._lost = 0
        self._waiting.free(one.group)
        one.group = None

    def _gone(self, one: _Member, why: str) -> None:
        """Book what a worker that has ended was doing, and let another do it again."""
        one.receiver.give_up(f"{one.worker.name} has ended: {why}")
        self._settle(one)
        self._gone_by_name.append(one.identity)
        if one.stopping:
            return
        if not one.ready and one.failed is not None and not one.interrupted:
            raise one.failed
        self._lost += 1
        said = one.failed.message if one.failed else f"{one.worker.name} has ended: {why}"
        self._listener.doing(said)
        number = one.group
        if number is not None:
            states = self._store.states()
            self._pending[number] = [
                run.run_id
                for run in self._plan.groups[number].runs
                if states[run.run_id] not in {"finished", "failed"}
            ]
            if one.failed is not None:  # it has said so, as before its time was up
                self._attempts[number] -= 1
            if self._attempts[number] >= MOST_ATTEMPTS:
                raise PoolError(
                    f"{self._plan.groups[number].configuration.title}: {MOST_ATTEMPTS} workers "
                    f"have ended with it; the last: {why}",
                    f"see the logs in {self._store.folder / 'workers'}",
                )
            self._waiting.put_back(number)
        if self._lost > MOST_LOST:
            raise PoolError(
                f"{self._lost} workers in a row have ended; the last: {said}",
                f"see the logs in {self._store.folder / 'workers'}",
            )

    def _stop(self) -> None:
        """Let the workers measure idle power once more, and end."""
        self._say({"stop": True}, STOP_S + self._idle_s)

    def _end(self) -> None:
        """Let the workers book what they are doing, and end."""
        self._say({"end": True}, STOP_S)

    def _say(self, line: Line, patience_s: float) -> None:
        for one in list(self._members):
            one.stopping = True
            if one.identity:
                one.worker.send(line)
            else:  # it has not begun
                one.worker.kill()
                self._members.remove(one)
        deadline_s = time.monotonic() + patience_s
        while self._members and time.monotonic() < deadline_s:
            self._engine.wait(WAIT_S)
            for one in list(self._members):
                self._take(one)
        for one in self._members:
            one.worker.kill()
            one.receiver.give_up("it did not end when asked to")
        self._members.clear()


def _works(one: _Member) -> bool:
    return one.group is not None
