"""``joulelab tune``: live progress on standard error, the answer on standard output."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console

from joulelab import formats
from joulelab.cli.live_pages import asked_place, shown_beside
from joulelab.cli.options import parse_duration_s
from joulelab.cli.output import check_folder, progress_console, say, show
from joulelab.cli.signals import end_on_sigterm
from joulelab.energy.reading import Total
from joulelab.kinds.objective.tune import EXPERIMENT, Tuned, default_folder, tune
from joulelab.kinds.searching.growing import unasked_words
from joulelab.present import Facts, View
from joulelab.study.executor import Heartbeat
from joulelab.study.listener import Listener

if TYPE_CHECKING:
    from joulelab.cli.tuning_commands import Tune
    from joulelab.kinds.searching.so_far import SoFar

QUIET_LINE_S = 10.0
"""Shortest time between lines where they are not drawn in place."""


def run_tune(asked: Tune) -> None:
    """Tune an objective, and show what was found."""
    page = asked_place(asked.host, asked.port, live=asked.live, user="joulelab tune --live")
    check_folder(asked.out)
    folder = asked.out or default_folder(asked.objective)
    end_on_sigterm()
    console = progress_console()
    display = Display(console, -1.0 if asked.direction == "minimize" else 1.0)
    timeout_s = parse_duration_s(asked.timeout, "--timeout") if asked.timeout else None
    try:
        with display, shown_beside(folder, page, [EXPERIMENT]):
            found = tune(
                asked.objective,
                asked.space,
                asked.budget,
                strategy=asked.strategy,
                seed=asked.seed,
                direction=asked.direction.value,
                goals=tuple(one.strip() for one in asked.goals.split(",")),
                epochs=asked.epochs,
                target=asked.target,
                seeds=asked.seeds,
                confirm=asked.confirm,
                timeout_s=timeout_s,
                cost=asked.cost,
                place=asked.place,
                out=folder,
                energy={"meters": asked.meter} if asked.meter else None,
                listener=display,
            )
    except KeyboardInterrupt:
        say("interrupted: run the same command again to go on")
        raise
    show(_view(found), as_json=asked.json)


class Display(Listener):
    """A line of progress: the best so far, what is spent and left, the expected gain.

    Args:
        console: standard error.
        sign: -1 where lower scores are better.
    """

    def __init__(self, console: Console, sign: float) -> None:
        self.console = console
        self._sign = sign
        self._status = console.status("starting")
        self._last_s = 0.0
        self._line = ""

    def __enter__(self) -> Display:
        if self.console.is_terminal:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()

    def doing(self, what: str) -> None:
        """Say what is done outside the search."""
        self.console.print(f"{what} ...", style="dim", soft_wrap=True)

    def searching(self, so_far: SoFar) -> None:
        """Draw the line, or print it every ten seconds."""
        self._show(so_far.words(self._sign))

    def progress(self, heartbeat: Heartbeat, total: Total) -> None:
        """Add the epochs and the energy of the running step to the line."""
        epoch = f", epoch {heartbeat.done}" if heartbeat.done else ""
        self._show(f"{self._line}{epoch}, {formats.joules(total.gross_j)} in it", keep=False)

    def _show(self, line: str, *, keep: bool = True) -> None:
        self._line = line if keep else self._line
        if self.console.is_terminal:
            self._status.update(line)
        elif time.monotonic() - self._last_s > QUIET_LINE_S:
            self._last_s = time.monotonic()
            self.console.print(line, soft_wrap=True, highlight=False)


def _view(found: Tuned) -> View:
    said = _words(found.values)
    one = found.confirmation
    rows = [("stopped", found.stopped)]
    if one.mean is not None:
        between = ""
        if one.low is not None and one.high is not None:
            between = f" ({formats.number(one.low)} to {formats.number(one.high)})"
        seeds = formats.count(one.seeds, "fresh seed")
        rows.append(("confirmed", f"{formats.number(one.mean)}{between} on {seeds}"))
    if found.second is not None:
        rows += _front_rows(found)
    spent = f"{formats.joules(found.spent_j)} ({found.energy_status})"
    epochs = f"{found.epochs:g} epoch{'s' * (found.epochs != 1)}"
    rows.append(("spent", f"{spent}, {formats.duration(found.duration_s)}, {epochs}"))
    if found.unasked:
        rows.append(
            ("unasked", f"{unasked_words(found.unasked)}: in the space, asked for by no trial")
        )
    rows.append(("results", f"{found.folder}: joulelab report {found.folder}"))
    # Where no search is behind the score, that comes first.
    first = [f"{found.shortfall}\n{found.advice}"] if found.shortfall else []
    score = f"{formats.number(found.score)} with {said}"
    return View([*first, score, Facts(rows)], _data(found))


def _front_rows(found: Tuned) -> list[tuple[str, str]]:
    """The front, and its knee against the best."""
    front = formats.count(len(found.front), "trial")
    knee = found.knee
    if knee is None or found.second is None or found.score is None:
        return [("front", front)]
    share = formats.percent(knee.second / found.second)
    # A share has a sense only where scores are counted from 0, and higher ones are better.
    of_best = f" against {formats.number(found.score)}"
    if 0 < knee.score <= found.score:
        of_best = f" ({formats.percent(knee.score / found.score)} of the best)"
    what = "energy" if found.second_goal == "energy" else "second goal"
    said = f"{formats.number(knee.score)}{of_best} for {share} of the {what}: {_words(knee.values)}"
    if knee.confirmed is not None:
        said += f"; {formats.number(knee.confirmed)} on fresh seeds"
    return [("front", front), ("knee", said)]


def _words(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} = {_word(value)}" for name, value in values.items())


def _word(value: object) -> str:
    return formats.number(value) if isinstance(value, float) else str(value)


def _data(found: Tuned) -> dict[str, Any]:
    one = found.confirmation
    goals: dict[str, Any] = {}
    if found.second is not None:
        knee = None if found.knee is None else asdict(found.knee)
        goals = {
            "second": found.second,
            "second_goal": found.second_goal,
            "knee": knee,
            "front": found.front["trial"].tolist(),
        }
    return {
        "values": dict(found.values),
        "score": found.score,
        "confirmation": {"mean": one.mean, "low": one.low, "high": one.high, "seeds": one.seeds},
        "energy_gross_j": found.spent_j,
        "energy_status": found.energy_status,
        "duration_s": found.duration_s,
        "epochs": found.epochs,
        "stopped": found.stopped,
        "folder": str(found.folder),
        "shortfall": found.shortfall or None,
        "advice": found.advice or None,
        "unasked": dict(found.unasked),
        **goals,
        "trials": found.trials.drop(columns=["attributes"]).to_dict("records"),
    }
