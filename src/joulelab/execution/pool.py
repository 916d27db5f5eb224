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
from collections.abc import Mapping, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any

from joulelab.execution.engine import Engine, engine_of
from joulelab.execution.interrupts import held_back
from joulelab.execution.member import Member, PoolError
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
from joulelab.study.workload import Begun, check_unchanged

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
TELL_S = 1.0
"""Time between two accounts of what the workers do."""


def check(on: str, settings: ExecutionSpec | None) -> None:
    """Refuse an engine that cannot work here, before anything is created.

    Args:
        on: its name and what it needs: ``"local:2"``.
        settings: of the study.

    Raises:
        JoulelabError: there is no such engine, or it cannot be used; says why.
    """
    engine, address = engine_of(on)
    engine.check(address, settings or ExecutionSpec())


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
    engine, address = engine_of(on)
    made = engine(address, study.spec.execution or ExecutionSpec())
    store.plan(plan.runs)
    Pool(made, study, plan, store, copies, listener).run()


class Pool:
    """Carries out the groups of a study with the workers of an engine.

    Args:
        engine: starts workers.
        study: the study.
        plan: of it.
        store: open for writing, the plan entered.
        copies: of the study's code.
        listener: hears what happens.
    """

    def __init__(
        self,
        engine: Engine,
        study: Study,
        plan: Plan,
        store: Store,
        copies: CodeCopies,
        listener: Listener,
    ) -> None:
        self._engine = engine
        self._plan = plan
        self._store = store
        self._copies = copies
        self._listener = listener
        self._study = study
        self._runs = {run.run_id: run for run in plan.runs}
        states = store.states()
        left = {run.run_id for run in plan.left(states)}
        self._pending = {
            number: [run.run_id for run in group.runs if run.run_id in left]
            for number, group in enumerate(plan.groups)
        }
        self._waiting = Waiting(plan, [number for number, runs in self._pending.items() if runs])
        self._attempts: Counter[int] = Counter()
        self._members: list[Member] = []
        self._started = 0
        self._lost = 0
        self._blocks = self._begun_blocks()
        self._gone_by_name: list[str] = []
        self._told_s = -TELL_S
        self._shared: set[str] = set()
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
                    with held_back():
                        self._start()
                    self._engine.wait(WAIT_S)
                    with held_back():
                        self._look()
                        self._check_stuck()
                self._stop()
            except BaseException:
                self._end()
                raise

    def _busy(self) -> bool:
        return any(one.works for one in self._members)

    def _start(self) -> None:
        """Start as many workers as there are groups for."""
        busy = sum(one.works for one in self._members)
        wanted = min(self._engine.workers, len(self._waiting) + busy)
        while len(self._members) < wanted:
            self._start_one()

    def _start_one(self) -> None:
        session = self._first_session + self._started
        worker = self._engine.start(self._started, self._store.folder)
        receiver = Receiver(self._store, session, self._runs)
        self._members.append(Member(worker, session, receiver))
        self._started += 1

    def _look(self) -> None:
        """Take what has come, and give out what can be."""
        for one in list(self._members):
            self._take(one)
            if one not in self._members:  # it has ended
                continue
            self._say_waiting(one)
            if one.ready and one.group is None and not one.stopping:
                self._give(one)
        if time.monotonic() - self._told_s >= TELL_S:
            self._tell()

    def _tell(self) -> None:
        """Give an account of what the workers do."""
        self._told_s = time.monotonic()
        waiting = sum(len(self._pending[number]) for number in self._waiting.numbers)
        self._listener.workers([one.now() for one in self._members], waiting)

    def _say_waiting(self, one: Member) -> None:
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

    def _take(self, one: Member) -> None:
        """Take the lines of a worker; note its end."""
        for line in one.worker.receive():
            self._heard(one, line)
        why = one.worker.ended()
        if why is not None:
            for line in one.worker.receive():
                self._heard(one, line)
            self._members.remove(one)
            self._gone(one, why)

    def _heard(self, one: Member, line: Line) -> None:
        if "enter" in line:
            self._enter(one, line)
        elif "done" in line:
            self._done(one)
        elif "hello" in line:
            self._greet(one, line["hello"])
        elif "ready" in line and not one.stopping:
            self._ready(one, line)
        elif "far" in line:
            one.is_at(*line["far"])
        elif "doing" in line:
            one.does(line["doing"])
            self._listener.doing(f"{one.worker.name}: {line['doing']}")
        elif "waiting" in line:
            self._tell_waiting(one, line["waiting"])
        elif "failed" in line and one.failed is None:  # else it was refused, and ended for that
            one.failed = PoolError(f"{one.worker.name}: {line['failed']}", line["hint"])
            one.interrupted = line.get("interrupted", False)
        elif "ended" in line:
            self._note(one, line["ended"])

    def _greet(self, one: Member, hello: Line) -> None:
        """Send the study to a worker that can carry it out."""
        try:
            remark = one.greeted(hello)
        except PoolError as error:
            one.failed = error
            one.worker.kill()
            return
        if remark:
            self._listener.doing(remark)
        one.receiver.time = self._times.setdefault(one.node, NodeTime())
        data_dir = self._study.data_dir and str(self._study.data_dir.absolute())
        folder = str(self._store.folder.absolute())
        study = {"folder": folder, "data_dir": data_dir, "session": one.session}
        one.worker.send({"study": {**study, "code": self._copies.conditions}})

    def _tell_waiting(self, one: Member, what: str) -> None:
        """Note what a worker waits for; say so if that is a process of somebody else."""
        if one.waits(what, self._members) and one.said != what:
            one.said = what
            self._listener.doing(f"{one.worker.name}: {what}")

    def _ready(self, one: Member, line: Line) -> None:
        """Note the session of a worker that has loaded the study.

        Raises:
            JoulelabError: it may not work on what others have begun; says why.
        """
        entry = line["ready"]
        one.kind = str(machine_of(entry)["machine"])
        one.conditions, one.devices = entry["conditions"], frozenset(line["devices"])
        others = [other for other in self._members if other.ready]
        self._check_machine(one)
        one.check_software(others)
        manifest = self._store.manifest()
        about = (self._store.folder, self._study.spec, manifest)
        begun = Begun(*about, self._engines(others))
        check_unchanged(self._plan.configurations, begun, one.conditions)
        self._copies.add(Path(file) for file in line["files"])
        conditions = {**self._copies.conditions, **entry["conditions"]}
        entry = {**entry, "conditions": conditions}
        latest = {**line["latest"], "plugins": self._copies.plugins}
        sessions = [*manifest.get("sessions", []), entry]
        self._store.write_manifest({**conditions, **manifest, **latest, "sessions": sessions})
        one.ready = True
        one.does("")
        if (shared := one.shares(others)) and one.node not in self._shared:
            self._shared.add(one.node)
            self._listener.doing(shared)

    def _engines(self, others: Sequence[Member]) -> list[str]:
        """The engines of runs that have finished or may be under way, each once."""
        at_work = [one.conditions.get("engines", {}).get("used", ()) for one in others]
        finished = self._store.finished_values("engine")
        return list(dict.fromkeys(chain(finished, *at_work)))

    def _check_machine(self, one: Member) -> None:
        """Refuse a second kind of machine, unless each block may have its own.

        Raises:
            PoolError: names both.
        """
        sessions = self._store.manifest().get("sessions", [])
        others = {str(machine_of(entry)["machine"]) for entry in sessions} - {one.kind}
        if others and (self._study.spec.execution or ExecutionSpec()).mix == "refuse":
            raise PoolError(
                f"{one.worker.name} is on {one.kind}, and the study has begun on "
                f"{', '.join(sorted(others))}: differences of machines would pass for effects",
                'use nodes of one kind, or give each block its own: mix = "block" in [execution]',
            )

    def _note(self, one: Member, more: Mapping[str, Any]) -> None:
        """Add to the session of a worker in the manifest."""
        manifest = self._store.manifest()
        sessions = [
            {**entry, **more} if entry["session"] == one.session else entry
            for entry in manifest["sessions"]
        ]
        self._store.write_manifest({**manifest, "sessions": sessions})

    def _block_for(self, one: Member) -> int | None:
        """The first block of which a worker may be given a group."""
        allowed = {None, one.kind}
        return self._waiting.first_block(lambda block: self._blocks.get(block) in allowed)

    def _give(self, one: Member) -> None:
        """Give out the next group; in its block, one of a configuration that the worker knows."""
        block = self._block_for(one)
        if block is None:
            return
        number = self._waiting.take(block, one.configurations)
        self._attempts[number] += 1
        self._blocks.setdefault(block, one.kind)
        key = self._plan.groups[number].configuration.key
        self._copies.check_programs()
        given = self._store.known_of(self._plan.groups[number].runs)
        one.group = number
        one.configurations.add(key)
        runs = self._pending[number]
        one.worker.send({"group": number, "runs": runs, "given": given, "gone": self._gone_by_name})

    def _enter(self, one: Member, line: Line) -> None:
        one.receiver.enter(line)
        self._settle(one)
        kind = line["enter"]
        if kind == "begin":
            one.does("", line["runs"])
        if kind == "begin" and line["runs"]:
            self._listener.started([self._runs[run_id] for run_id in line["runs"]])
        elif kind == "progress":
            measurement, total = measured(line)
            self._listener.progress(Heartbeat(0, 0, measurement), total)
        elif kind == "end":
            one.does("", () if line["rows"] else None)
        if kind == "end" and line["rows"]:
            self._listener.finished(line["rows"], measured(line)[1])

    def _settle(self, one: Member) -> None:
        """Book what workers of a node have done beside runs, as far as all of it is known."""
        mates = [other for other in self._members if other.node == one.node]
        open_s = [at for mate in mates for at in mate.receiver.begun.values()]
        one.receiver.time.settle(min(open_s, default=math.inf))

    def _done(self, one: Member) -> None:
        assert one.group is not None
        self._lost = 0
        self._waiting.free(one.group)
        one.group = None
        one.does("", ())

    def _gone(self, one: Member, why: str) -> None:
        """Book what a worker that has ended was doing, and let another do it again."""
        one.receiver.give_up(f"{one.worker.name} has ended: {why}")
        self._settle(one)
        if one.identity:
            self._gone_by_name.append(one.identity)
        if one.stopping:
            return
        if not one.ready and one.failed is not None and not one.interrupted:
            raise one.failed
        self._lost += 1
        said = f"{one.worker.name} has ended: {why}"
        if one.failed is not None:
            said = one.failed.message
        elif words := one.worker.last_words():
            said += f": {words}"
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
        self._say({"stop": True}, STOP_S + self._study.spec.energy.idle_s)

    def _end(self) -> None:
        """Let the workers book what they are doing, and end."""
        try:
            self._say({"end": True}, STOP_S)
        finally:
            self._give_up("the runner did not wait for its end")

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
            with held_back():
                for one in list(self._members):
                    self._take(one)
        self._give_up("it did not end when asked to")

    def _give_up(self, error: str) -> None:
        """Book what was heard of the workers that are left, and end them."""
        with held_back():
            members, self._members = self._members, []
            try:
                for one in members:
                    one.receiver.give_up(error)
                for one in members:
                    one.receiver.time.settle(math.inf)
            finally:
                for one in members:
                    one.worker.kill()
