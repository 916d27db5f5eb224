"""The page of a study: progress, power, energy, results and errors, from its results folder."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from joulelab import formats
from joulelab.energy.reading import Status
from joulelab.errors import JoulelabError
from joulelab.live.expected import Forecast, Outlook
from joulelab.live.following import Changes, Follower, Row, uncollected
from joulelab.live.power import Booking
from joulelab.live.source import Source
from joulelab.live.tallies import Experiment, Point, Tallies, Tally
from joulelab.study.now import Now, read_now
from joulelab.study.store_reading import is_running, read_manifest, read_study, reader

MOST_CONFIGURATIONS = 300
"""Most rows of the table; of more, those that have changed last."""
MOST_POINTS = 1500
"""Most points of the figures, besides the fronts; of more, a part that is drawn by their number."""
MOST_ERRORS = 50
MOST_WORKERS = 50
TOGETHER_S = 6.0
"""Power that was heard of so long before the last is that of the same time."""
MOST_DETAILS = 4000
"""Most characters of a traceback."""
RANGE = 1 << 32
SPREAD = 2_654_435_761
"""Odd, about the golden ratio of `RANGE`: multiples are spread evenly."""


class StudySource(Source):
    """What is shown of a results folder, whoever runs it.

    Args:
        folder: with results.
        expected: whether a study is about to be written there.
    """

    page = "study"

    def __init__(self, folder: Path, *, expected: bool = False) -> None:
        super().__init__()
        self.folder = folder
        self._expected = expected
        self._follower = Follower(folder)
        self._study: Mapping[str, Any] = {}
        self._tallies = Tallies({"experiment": {}})
        self._booking = Booking()
        self._details: dict[str, str] = {}
        self._problems: dict[str, None] = {}
        self._manifest: tuple[Any, Mapping[str, Any]] = (None, {})
        self._outlook = Outlook(Forecast({}), 0.0)
        self._unreadable = ""
        self._head: dict[str, Any] = {}
        self._summed: tuple[int, dict[str, Any]] = (-1, {})

    def check(self) -> None:
        """Read the study, as far as it can be.

        Raises:
            StoreError: there is none, or it cannot be read at all.
        """
        with reader(self.folder):
            self._read()

    def _update(self) -> None:
        try:
            with uncollected():
                self._read()
            self._unreadable = ""
        except JoulelabError as error:
            if not (self._expected and not self._study):
                self._unreadable = error.message
        head = self._said()
        if head != self._head:
            if self._summed[0] == self._version:  # they stay as they are
                self._summed = (self._version + 1, self._summed[1])
            self._head = head
            self._version += 1

    def _read(self) -> None:
        if not self._study:
            self._follower.values = Tallies(read_study(self.folder)).values_needed
        changes = self._follower.read()
        if changes is not None and changes.afresh:
            self._begin_again()
            self._study = read_study(self.folder)
            self._tallies, self._booking = Tallies(self._study), Booking()
            self._details, self._problems = {}, {}
            self._manifest = (None, {})
            self._outlook = Outlook(Forecast({}), 0.0)
        if changes is not None:
            self._take(changes)
        if self._tallies.values_needed and not self._follower.values:
            self._follower.values = True
            self._follower.begin_again()
            self._read()
        self._read_manifest()

    def _take(self, changes: Changes) -> None:
        version = self._version + 1
        if changes.runs or changes.entries or changes.afresh or changes.damage:
            self._version = version
        self._outlook.take(self._tallies, self._tallies.add(changes.runs, version))
        self._booking.add(changes.booked, changes.entries, version)
        for entry in [*changes.failed, *changes.entries]:
            self._note_details(entry)
        self._problems |= dict.fromkeys(changes.damage)

    def _note_details(self, entry: Row) -> None:
        if entry["state"] == "failed" and entry["error"]:
            for run in entry["runs"]:
                self._details.pop(run, None)
                self._details[run] = entry["error"]
            while len(self._details) > MOST_ERRORS:
                del self._details[next(iter(self._details))]

    def _read_manifest(self) -> None:
        path = self.folder / "manifest.json"
        try:
            about = path.stat()
        except OSError:
            return
        stamp = (about.st_ino, about.st_size, about.st_mtime_ns)
        planned = sum(one.states.total() for one in self._tallies.experiments.values())
        if (stamp, planned) == self._manifest[0]:
            return
        manifest = read_manifest(self.folder)
        self._manifest = ((stamp, planned), manifest)
        sessions = manifest.get("sessions") or [{}]
        began = _moment(sessions[-1].get("started_at"))
        self._outlook = Outlook(Forecast.of(manifest, planned), began)
        self._outlook.take(self._tallies, range(len(self._tallies.tallies)))
        self._version += 1

    # What is said

    def _said(self) -> dict[str, Any]:
        """What is shown apart from rows and points; texts are ready to be shown."""
        counts: Counter[str] = Counter()
        for experiment in self._tallies.experiments.values():
            counts += experiment.states
        running, now = is_running(self.folder), read_now(self.folder)
        state, words = self._state(counts, running)
        if not running:  # what was under way has been interrupted
            counts["planned"] += counts.pop("running", 0)
        return {
            "study": self._study.get("name", self.folder.name),
            "folder": str(self.folder),
            "state": state,
            "words": words,
            "running": running,
            "counts": {name: counts[name] for name in ("finished", "failed", "running", "planned")},
            "doing": self._doing(now) if running else "",
            "workers": self._workers(now) if running else [],
            "search": now.search if running and now is not None else "",
            "power": self._power(running=running),
            **self._sums(),
            "problems": [*([self._unreadable] if self._unreadable else []), *self._problems],
        }

    def _sums(self) -> dict[str, Any]:
        """What changes only with the store; adding up 25,000 runs takes a while."""
        if self._summed[0] != self._version:
            experiments = self._tallies.experiments.values()
            sums = {
                "energy": self._energy(),
                "left": self._left(),
                "experiments": [self._experiment(one) for one in experiments],
                "best": [best for one in experiments if (best := self._best(one))],
                "configurations": len(self._tallies.tallies),
                "interrupted": self._booking.interrupted,
            }
            self._summed = (self._version, sums)
        return self._summed[1]

    def _state(self, counts: Counter[str], running: bool) -> tuple[str, str]:
        left, failed = counts["planned"] + counts["running"], counts["failed"]
        if self._unreadable:
            return "gone", "The folder cannot be read."
        if running and not counts.total():
            return "starting", ""
        if running:
            return "running", ""
        if not counts.total():
            return "waiting", "" if self._expected else "Nothing has been planned."
        if not left:
            return "finished", f"{formats.count(failed, 'run')} failed." if failed else ""
        how = "Its process has ended unexpectedly" if self._booking.open else "Interrupted"
        return "stopped", f"{how}, with {formats.count(left, 'run')} left."

    def _doing(self, now: Now | None) -> str:
        """What runs, or what is waited for."""
        if now is not None and now.workers:
            busy = sum(bool(one.runs) for one in now.workers)
            workers = formats.count(len(now.workers), "worker")
            left = formats.count(now.waiting, "run")
            return f"{busy} of {workers} with a run; {left} not given to a worker."
        entries = [one for one in self._booking.open.values() if one["runs"]]
        entry = entries[-1] if entries else None
        waits = now is not None and now.doing
        if entry is None:
            if now is not None and waits and now.since >= self._booking.ended_at:
                return _sentence(now.doing)
            steps = any(one.states["running"] for one in self._tallies.experiments.values())
            between = "Between two steps of a run." if steps else "Between two runs."
            return between if self._booking.ended_at else "Setting up."
        began_not = entry["duration_s"] is None
        if began_not and now is not None and waits and now.since >= entry["started_at"]:
            return f"{_sentence(now.doing)} Next: {self._title(entry)}."
        share = ""
        if now is not None and now.of and entry["duration_s"] is not None:
            share = f", {now.done:,} of {now.of:,}"
        return f"{self._title(entry)}{share}."

    def _workers(self, now: Now | None) -> list[str]:
        """What each worker does, in words."""
        found = [] if now is None else now.workers
        said = [
            f"{one.name}{f' on {one.node}' if one.node else ''}: {one.words}"
            for one in found[:MOST_WORKERS]
        ]
        return [*said, f"and {len(found) - MOST_WORKERS} more"] if len(found) > len(said) else said

    def _title(self, entry: Row) -> str:
        """An entry of the ledger in words."""
        if entry["configuration"] is None:
            return str(entry["kind"])
        experiment = self._tallies.experiments.get(entry["experiment"])
        several = len(self._tallies.experiments) > 1
        place = entry["configuration"] or entry["experiment"]
        if several and entry["configuration"]:
            place = f"{entry['experiment']}: {place}"
        number = entry["round"]
        if experiment is not None and experiment.rounds and number is not None:
            place += f", round {number + 1}"
        runs = len(entry["runs"])
        return f"{place}, {runs} runs together" if runs > 1 else place

    def _power(self, *, running: bool) -> dict[str, Any] | None:
        if not self._booking.segments:
            return None
        last, power_w, how = self._booking.segments[-1], 0.0, ""
        together = [
            one for one in self._booking.going_on.values() if one.end > last.end - TOGETHER_S
        ]
        if len(together) > 1:
            power_w = math.fsum(one.power_w for one in together)
            how = f"sum of {len(together)} runs, each a mean of its last seconds"
        return {
            "text": formats.watts(power_w or last.power_w),
            "status": Status.of_set(one.status for one in together) if how else last.status,
            "how": how or last.words,
            "at": last.end,
            "now": running,
        }

    def _energy(self) -> dict[str, Any]:
        booking, found = self._booking, self._outlook
        forecast, ratio = found.forecast, found.ratio
        said: dict[str, Any] = {
            "text": formats.joules(booking.joules),
            "status": booking.status,
            "lost": formats.joules(booking.lost_j) if booking.lost_j else "",
            "runs": formats.joules(found.used_j) if found.runs else "",
            "same": formats.joules(found.predicted_j) if found.runs else "",
            "change": formats.change(ratio - 1) if ratio is not None else "",
            "forecast": "",
            "range": "",
            "share": None,
            "basis": "net" if all(one.net for one in self._experiments_begun()) else "gross",
        }
        if forecast.energy_j:
            said["forecast"] = formats.joules(forecast.energy_j)
            if forecast.low_j is not None and forecast.high_j is not None:
                said["range"] = formats.joules_range(forecast.low_j, forecast.high_j)
            said["share"] = found.used_j / forecast.energy_j
        return said

    def _experiments_begun(self) -> list[Experiment]:
        return [one for one in self._tallies.experiments.values() if one.runs]

    def _left(self) -> dict[str, Any]:
        seconds, how = self._outlook.left_s(self._booking.ended_at)
        known = seconds is not None
        return {
            "seconds": seconds,
            "from": self._booking.ended_at,
            "text": formats.duration(seconds) if known else formats.UNKNOWN,
            "how": how,
        }

    def _experiment(self, one: Experiment) -> dict[str, Any]:
        unit = one.metric.unit or "run"
        article = "an" if unit[0] in formats.VOWELS else "a"
        return {
            "name": one.name,
            "kind": one.kind,
            "metric": one.metric.name if one.chosen else "",
            "better": one.metric.better,
            "energy": f"{'net' if one.net else 'gross'} energy of {article} {unit}",
            "status": one.status,
            "counts": dict(one.states),
            "points": len(one.points),
            "rounds": one.rounds,
        }

    def _best(self, one: Experiment) -> dict[str, Any] | None:
        best = one.best
        if best is None:
            return None
        return {
            "experiment": one.name,
            "metric": one.metric.name,
            "value": formats.quantity(best.mean_metric),
            "energy": formats.joules(best.mean_j(net=one.net)),
            "where": self._place(one, best),
        }

    def _place(self, experiment: Experiment, point: Point) -> str:
        name = self._tallies.tallies[point.tally].name
        return f"{name}, round {point.round + 1}" if experiment.rounds else name

    # Rows and points

    def _changes(self, since: int) -> dict[str, Any]:
        tallies = [one for one in self._tallies.tallies if one.version > since]
        if len(tallies) > MOST_CONFIGURATIONS:
            tallies.sort(key=lambda one: one.version)
            tallies = tallies[-MOST_CONFIGURATIONS:]
        share = self._share()
        return {
            "head": {**self._head, "now": time.time()},
            "rows": [self._row(one) for one in tallies],
            "share": share,
            "points": [
                self._point(name, experiment, one)
                for name, experiment in enumerate(self._tallies.experiments.values())
                for one in experiment.points.values()
                if one.version > since and (since or one.front or is_shown(one.number, share))
            ],
            "errors": self._errors(since),
            "power": [
                [one.number, one.start, one.end, one.power_w]
                for one in self._booking.segments
                if one.version > since
            ],
        }

    def _share(self) -> float:
        """The share of the points that is shown: 1, 1/2, 1/4 ..."""
        points = sum(len(one.points) for one in self._tallies.experiments.values())
        return 1.0 if points <= MOST_POINTS else 0.5 ** math.ceil(math.log2(points / MOST_POINTS))

    def _row(self, one: Tally) -> list[Any]:
        experiment = self._tallies.experiments[one.experiment]
        energy_j = one.mean_j(net=one.net)
        predicted_j = self._outlook.forecast.energy_of(one)
        change = ""
        if energy_j is not None and predicted_j and not experiment.metric.per:
            change = formats.change(energy_j / predicted_j - 1)
        return [
            one.number,
            one.experiment,
            one.name,
            [one.states[name] for name in ("finished", "failed", "running", "planned")],
            formats.joules(energy_j) if energy_j is not None else "",
            change,
            formats.quantity(one.mean_metric) if one.metric_runs else "",
        ]

    def _point(self, number: int, experiment: Experiment, one: Point) -> list[Any]:
        return [
            one.number,
            number,
            one.mean_j(net=experiment.net),
            one.mean_metric,
            int(one.front),
            one.runs,
            self._place(experiment, one),
        ]

    def _errors(self, since: int) -> list[list[Any]]:
        failures = [
            (message, one) for message, one in self._tallies.errors.items() if one.version > since
        ]
        failures.sort(key=lambda pair: pair[1].version)
        return [
            [message, one.runs, one.run_id, self._details.get(one.run_id, "")[-MOST_DETAILS:]]
            for message, one in failures[-MOST_ERRORS:]
        ]


def is_shown(number: int, share: float) -> bool:
    """Whether a point is among the share that is shown; the page asks the same.

    Args:
        number: of the point.
        share: between 0 and 1.
    """
    return number * SPREAD % RANGE < share * RANGE


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _moment(text: object) -> float:
    """Seconds since the epoch of a time in ISO 8601; 0 where there is none."""
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return 0.0
