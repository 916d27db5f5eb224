"""``joulelab batch``: what batches of a model cost here, and which batching policy to run.

::

    check ─ measure the table, or read it ─ (save it) ─ plan each rate ─ print
             study.inference.table_measuring             serving.planning
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from joulelab.cli.batch_answer import Answer, Scenario
from joulelab.cli.batch_measuring import Measured, doing, measure_table
from joulelab.cli.batch_report import print_answer
from joulelab.cli.output import progress_console
from joulelab.energy.carbon.footprint import (
    carbon_intensity,
    checked_pue,
    default_place,
    default_pue,
)
from joulelab.energy.carbon.intensity import Intensity, mean_intensity
from joulelab.errors import UsageError
from joulelab.kinds.inference.batch_table import BatchTable
from joulelab.kinds.inference.batch_table_file import read_table, write_table
from joulelab.serving.arrivals import ArrivalProcess, parse_arrivals
from joulelab.serving.planning.arrival_thinning import thinned
from joulelab.serving.planning.comparison import ResponseLimit, Trials
from joulelab.serving.planning.fleet import Fleet, Site, fleet
from joulelab.serving.planning.plan import BASELINE, Plan, plan
from joulelab.serving.policies import parse_policy

INTERRUPTED = 130
NO_LIMIT = ResponseLimit(99, 1e9)
"""What is planned with where any response time will do: its percentile is the one that is told."""
FEW_WINDOWS = Trials(windows=2)
"""For a number of replicas that is only to be named."""


@dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes:
        model: a network of torchvision, or ``module:factory``; may be ``None`` with a table.
        rates_per_s: of requests; those of the arrivals where empty.
        arrivals: process as text; Poisson where ``None``.
        limit: of the response time, if any.
        own: policies beside the usual ones, as text.
        replicas: that share each rate.
        fleet_per_s: rate of a fleet of as many replicas as are needed, if one is asked for.
        place: where the electricity is from; the user's own setting where ``None``.
        pue: power usage effectiveness; the user's own setting where ``None``.
        seed: of arrivals, images and the order of measuring.
        table: file with a table to plan from, instead of measuring.
        save: file for the table that was measured.
        as_json: JSON instead of tables.
        measured: how batches are measured.
    """

    model: str | None
    rates_per_s: tuple[float, ...] = ()
    arrivals: str | None = None
    limit: ResponseLimit | None = None
    own: tuple[str, ...] = ()
    replicas: int = 1
    fleet_per_s: float | None = None
    place: str | None = None
    pue: float | None = None
    seed: int = 0
    table: Path | None = None
    save: Path | None = None
    as_json: bool = False
    measured: Measured = field(default_factory=Measured)


def answer_question(question: Question) -> int:
    """Measure or read the table, plan, and print.

    Args:
        question: what is asked.

    Returns:
        0; 4 where a limit cannot be held or more arrives than can be answered; 130 after Ctrl-C.

    Raises:
        UsageError: it cannot be answered as it is asked.
        ServingError: the model fails.
        KeyboardInterrupt: Ctrl-C came before a batch of one image was measured.
    """
    _check_files(question)
    rates, whole = _arrivals(question)
    for text in question.own:
        parse_policy(text)
    site, place = _site(question)
    console = progress_console()
    interrupted = False
    if question.table is not None:
        table = _read(question.table, question.model)
    else:
        assert question.model is not None, "checked by the command"
        limit_s = None if question.limit is None else question.limit.seconds
        table, interrupted = measure_table(
            question.model, question.measured, limit_s, question.seed, console
        )
        if question.save is not None:
            write_table(question.save, table)
    with doing(console) as tell:
        tell("simulating policies")
        planner = _Planner(question, table, site)
        answer = Answer(
            table=table,
            limit=question.limit,
            site=site,
            place=place,
            scenarios=tuple(planner.scenario(arrivals) for arrivals in rates),
            fleet=None if whole is None else planner.fleet(whole),
            interrupted=interrupted,
            remarks=planner.remarks,
            own=planner.own,
        )
    print_answer(answer, as_json=question.as_json)
    return INTERRUPTED if interrupted else answer.exit_code


class _Planner:
    """Plans from one table.

    Attributes:
        own: the user's policies, as text.
        remarks: on what was left out.
    """

    def __init__(self, question: Question, table: BatchTable, site: Site) -> None:
        self._question = question
        self._table = table
        self._costs = table.costs
        self._spread = table.repeatability or 0.0
        self._site = site
        self._trials = Trials(seed=question.seed)
        own = {text: parse_policy(text) for text in question.own}
        able = (one for one in own.values() if one.largest <= table.largest)
        self.own = tuple(dict.fromkeys(map(str, able)))
        self.remarks = tuple(
            f"{text} is left out: batches up to {table.largest} were measured; --largest "
            f"{one.largest} with more --patience measures further"
            for text, one in own.items()
            if one.largest > table.largest
        )

    @property
    def _limit(self) -> ResponseLimit:
        return self._question.limit or NO_LIMIT

    @property
    def _candidates(self) -> list[str] | None:
        """Without a limit there is nothing that a longest wait would be for."""
        if self._question.limit is not None:
            return None
        sizes = self._costs.sizes[1:]
        return [f"fixed({size})" for size in sizes] + [f"greedy({size})" for size in sizes[::-1]]

    def scenario(self, arrivals: ArrivalProcess) -> Scenario:
        """The plan for one rate."""
        replicas = self._question.replicas
        share, remark = thinned(arrivals, replicas, 5000)
        made = plan(
            self._costs,
            share,
            self._limit,
            self.own,
            candidates=self._candidates,
            trials=self._trials,
            spread=self._spread,
        )
        said = (*arrivals.remarks, *([remark] if remark else []))
        made = replace(made, remarks=(*made.remarks, *said))
        shared = None if made.best is None else self._shared(arrivals.rate_per_s, made)
        needed = None if made.best is not None else self._needed(arrivals)
        times = self._table.times_to_tell(made.undecided) if made.undecided else None
        return Scenario(str(arrivals), arrivals.rate_per_s, replicas, made, shared, needed, times)

    def fleet(self, arrivals: ArrivalProcess) -> Fleet | str:
        """The fleet with the fewest watts, or why there is none."""
        try:
            return fleet(self._costs, arrivals, self._limit, self.own, site=self._site)
        except UsageError as error:
            return error.message

    def _shared(self, rate_per_s: float, made: Plan) -> Fleet:
        """So many replicas under the chosen policy, each with its share of the rate."""
        assert made.best is not None, "asked by scenario"
        replicas, idle_w = self._question.replicas, self._costs.idle_w
        before = None
        if not made.baseline.saturated:
            before = Fleet(rate_per_s, replicas, made.baseline, idle_w, self._site)
        return Fleet(rate_per_s, replicas, made.best, idle_w, self._site, baseline=before)

    def _needed(self, arrivals: ArrivalProcess) -> int | str:
        """How many replicas would hold the limit when they are greedy, or why none would."""
        greedy = [f"greedy({self._costs.largest})", BASELINE]
        limit = self._limit
        trials = replace(FEW_WINDOWS, seed=self._question.seed)
        try:
            return fleet(self._costs, arrivals, limit, candidates=greedy, trials=trials).replicas
        except UsageError as error:
            return error.message


def _arrivals(question: Question) -> tuple[list[ArrivalProcess], ArrivalProcess | None]:
    """At each rate, and at that of the fleet, if one is asked for."""
    if question.fleet_per_s is not None and question.limit is None:
        raise UsageError(
            "--fleet needs a limit: without one, replicas would be run at the edge of what they "
            "can answer",
            "give one: --p99 200ms",
        )
    if question.arrivals is None and not question.rates_per_s and question.fleet_per_s is None:
        raise UsageError(
            "at which rate do requests come?",
            'give --rate 50, --arrivals "trace(file.csv)", or --fleet 100000',
        )
    shape = parse_arrivals(question.arrivals or "poisson(1)")
    rates = [shape.at_rate(rate_per_s) for rate_per_s in question.rates_per_s]
    if question.arrivals is not None and not rates and question.fleet_per_s is None:
        rates = [shape]
    whole = None if question.fleet_per_s is None else shape.at_rate(question.fleet_per_s)
    return rates, whole


def _check_files(question: Question) -> None:
    if question.table is None and question.model is None:
        raise UsageError(
            "which model?", "name one: joulelab batch resnet18 --rate 50 --p99 200ms; or --table"
        )
    if question.save is None:
        return
    if question.table is not None:
        raise UsageError("--save keeps what is measured, and --table measures nothing", "drop one")
    if not question.save.absolute().parent.is_dir():
        raise UsageError(
            f"{question.save}: there is no folder {question.save.parent}", "make it first"
        )


def _site(question: Question) -> tuple[Site, str]:
    """Carbon intensity and PUE, and of which place, in words; empty where it is unknown."""
    pue = default_pue() if question.pue is None else checked_pue(question.pue)
    where = default_place() if question.place is None else question.place
    if where is None:
        return Site(pue=pue), ""
    intensity = carbon_intensity(where)
    if isinstance(intensity, Intensity):
        return Site(intensity.g_per_kwh, pue), intensity.place
    length_s = intensity.end_s - intensity.start_s
    g_per_kwh, reason = mean_intensity(intensity, intensity.start_s, length_s)
    if g_per_kwh is None:
        raise UsageError(f"{where}: {reason}", "give the mean in g/kWh")
    return Site(g_per_kwh, pue), f"{intensity.place}, mean over the file"


def _read(path: Path, model: str | None) -> BatchTable:
    table = read_table(path)
    if model is not None and model != table.model:
        raise UsageError(
            f"{path}: the table is of {table.model}, not of {model}",
            f"leave the model out, or measure {model} without --table",
        )
    return table
