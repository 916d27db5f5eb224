"""An engine of simulated nodes: each worker answers as a real one would, without a process.

Runs are windows on the one meter of their node, so that overlaps would be seen.
"""

import random
import time

import joulelab
from joulelab.energy.measurement import Measurement
from joulelab.energy.reading import Reading, Status
from joulelab.execution.engine import Engine, Worker

WATTS = 10.0


class SimulatedEngine(Engine):
    """Nodes whose workers take random times.

    Args:
        nodes: machine of each node.
        seconds: of a run, from a random number generator.
        killed: share of groups at which the worker is killed.
    """

    def __init__(self, nodes, seconds=lambda chance: 0.0, killed=0.0, seed=0):
        self.nodes, self.seconds, self.killed = nodes, seconds, killed
        self.workers = len(nodes)
        self.chance = random.Random(seed)
        self.windows = {}
        self.took = None
        self.stops_after = None
        self.kills = 0
        self.says = {}
        self.fails = set()
        self.interrupted_loading = 0
        self.end_between = 0
        self.killed_loading = 0
        self.queued = 0
        self.conditions = {}
        self.started = 0
        self._alive = {}

    def start(self, number, folder):
        free = [node for node in range(len(self.nodes)) if not self._busy(node)]
        node = free[0]
        self.started += 1
        self._alive[node] = worker = SimulatedWorker(self, node)
        return worker

    def finish(self, node):
        """Let the run of a node end now."""
        if self._busy(node) and self._alive[node].due_s:
            self._alive[node].due_s = time.monotonic()

    def wait(self, seconds):
        due = [one.due_s for one in self._alive.values() if one.ended() is None and one.due_s]
        now = time.monotonic()
        left_s = min([seconds, *(max(0.0, at - now) for at in due)])
        if any(one.lines for one in self._alive.values()) or left_s <= 0:
            return
        time.sleep(left_s)

    def _busy(self, node):
        return node in self._alive and self._alive[node].ended() is None


class SimulatedWorker(Worker):
    def __init__(self, engine, node):
        self.name = f"node {node}"
        self.engine, self.node = engine, node
        self.why = None
        self.due_s = 0.0
        self._todo = []
        self._entry = 0
        self.lines = [{"hello": self._hello()}]
        self._looks = 3 if engine.queued and node else 0

    def _hello(self):
        return {
            "joulelab": joulelab.__version__,
            "commit": None,
            "python": "3",
            "host": self.name,
            "node": self.name,
            "pid": 1,
            "time": time.time(),
            "worker": f"{self.node}/{self.engine.started}",
            **self.engine.says,
        }

    def send(self, line):
        if "study" in line and self.engine.interrupted_loading:
            self.engine.interrupted_loading -= 1
            self.lines.append({"failed": "interrupted", "hint": "", "interrupted": True})
            self.why = "exit code 130"
        elif "study" in line and self.engine.killed_loading:
            self.engine.killed_loading -= 1
            self.lines.append({"enter": "so_far", "kind": "setup", **energy(1.0)})
            self.why = "signal SIGKILL"
        elif "study" in line:
            machine = {"device": {"name": "cuda:0", "model": self.engine.nodes[self.node]}}
            machine |= self.engine.conditions.get(self.node, {})
            entry = {"session": line["study"]["session"], "host": self.name, "conditions": machine}
            setup = {"enter": "book", "kind": "setup", "state": "finished", **energy(0.0)}
            self.lines += [setup, {"ready": entry, "latest": {}, "files": [], "devices": ["gpu:0"]}]
        elif "group" in line:
            self._todo = list(line["runs"])
            self._group = line["group"]
            self._next()
        elif "stop" in line:
            self.lines.append({"ended": {"idle_after_w": {}, "ended_at": "then"}})
            self.why = "exit code 0"
        else:
            self.why = "exit code 130"

    def _next(self):
        if not self._todo:
            self.due_s = 0.0
            self.lines.append({"done": self._group})
            if self.engine.end_between:
                self.engine.end_between -= 1
                self.lines.append(
                    {
                        "enter": "so_far",
                        "kind": "between",
                        **energy(0.5, 100.0 * self.engine.started),
                    }
                )
                self.why = "exit code 130"
            return
        self._begun_s = time.monotonic()
        self.due_s = self._begun_s + self.engine.seconds(self.engine.chance)
        self._entry += 1
        run = self._todo[0]
        begin = {"enter": "begin", "entry": self._entry, "kind": "run", "at": 1.0, "runs": [run]}
        self.lines += [begin, {"far": [3, 5]}]
        done = sum(map(len, self.engine.windows.values()))
        stops = self.engine.stops_after is not None and done >= self.engine.stops_after
        if stops or self.engine.chance.random() < self.engine.killed:
            self.lines.append({"enter": "progress", "entry": self._entry, **energy(1.0)})
            self.why = "signal SIGKILL"
            self.engine.kills += 1

    def receive(self):
        if self._looks:  # in the queue
            self._looks -= 1
            return []
        while self.why is None and self.due_s and time.monotonic() >= self.due_s:
            took_s = time.monotonic() - self._begun_s
            if self.engine.took is not None:
                told_s = self.engine.took(self.engine, self.node, self._todo[0])
                took_s = told_s * self.engine.chance.uniform(0.99, 1.01)
            windows = self.engine.windows.setdefault(self.node, [])
            windows.append((self._begun_s, self._begun_s + took_s))
            row = {"run_id": self._todo.pop(0), "state": "finished", "duration_s": took_s}
            row |= {"energy_gross_j": WATTS * took_s, "energy_status": "measured"}
            if row["run_id"] in self.engine.fails:
                row |= {"state": "failed", "error": "out of memory"}
            end = {"enter": "end", "entry": self._entry, "state": "finished", "error": None}
            self.lines.append({**end, "rows": [row], "part": False, **energy(took_s)})
            self._next()
        lines, self.lines = self.lines, []
        return lines

    def ended(self):
        return None if self.lines and self.why else self.why

    def waiting(self):
        return "pending, Resources" if self._looks else ""

    def kill(self):
        self.lines.append({"failed": "interrupted", "hint": "", "interrupted": True})
        self.why = "signal SIGTERM"


def energy(seconds, at=1.0):
    joules = WATTS * seconds
    reading = Reading("gpu:0", "simulated", Status.MEASURED, joules, 0.0, None, seconds)
    whole = Measurement("run", at, seconds, (reading,), 2, seconds)
    total = {
        "status": "measured",
        "gross_j": joules,
        "idle_j": None,
        "error_j": 0.0,
        "domains": ["gpu:0"],
        "sources": ["simulated"],
        "idle_error_j": None,
    }
    return {"measurement": whole.to_dict(), "total": total}
