"""``joulelab batch``: measure batches of a model here, and find the best batching policy.

::

    check ─ measure the table, or read it ─ (save it) ─ plan each rate ─ show
             kinds.inference.schedule                   serving.planning
"""

from __future__ import annotations

import importlib.util
import sys
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from joulelab.cli.batch_answer import Answer, Scenario, answer_view
from joulelab.cli.batch_options import (
    INTERRUPTED,
    batch_arrivals,
    check_measuring,
    doing,
    measured_here,
    table_of,
)
from joulelab.cli.options import parse_duration_s
from joulelab.cli.output import show
from joulelab.cli.serving_commands import Batch
from joulelab.cli.signals import end_on_sigterm
from joulelab.energy.booking import Booking
from joulelab.energy.carbon.footprint import default_place, default_pue
from joulelab.energy.carbon.intensity import Intensity, mean_intensity
from joulelab.errors import UsageError
from joulelab.kinds.inference.batch_table import READY, BatchTable, read_table, write_table
from joulelab.kinds.inference.executor import ServingExecutor, ServingJob
from joulelab.kinds.inference.images import RequestImages
from joulelab.kinds.inference.models import Model, find_model
from joulelab.kinds.inference.table_measuring import BatchWork
from joulelab.serving.arrivals import ArrivalProcess, thinned
from joulelab.serving.planning.comparison import ResponseLimit, Trials
from joulelab.serving.planning.fleet import Fleet, Site, fleet
from joulelab.serving.planning.plan import BASELINE, Plan, plan
from joulelab.serving.policies import parse_policy
from joulelab.serving.tasks import BatchTask, ImageSource

NO_LIMIT = ResponseLimit(99, 1e9)
"""The limit to plan with if any response time will do; its percentile is shown."""
FEW_WINDOWS = Trials(windows=2)
"""Trials for a number of replicas that is only mentioned."""
THINNED_REQUESTS = 5000
"""Number of requests of a recorded trace shared by replicas."""


def run_batch(asked: Batch) -> int:
    """Measure or read a table of batches, plan each rate, and show the answer.

    Args:
        asked: the options of the command.

    Returns:
        0; 4 if a limit cannot be met or requests arrive too fast; 130 after Ctrl-C.

    Raises:
        UsageError: an option is impossible.
        ServingError: the model fails.
        KeyboardInterrupt: Ctrl-C came before a batch of one image was measured.
    """
    if asked.llm is not None:
        from joulelab.cli.token_batching import run_token_batch

        return run_token_batch(asked)
    _check(asked)
    limit = _limit(asked)
    rates, whole = batch_arrivals(asked, limit)
    for text in asked.policy or ():
        parse_policy(text)
    site, place = _site(asked)
    table, interrupted = table_of(asked, read_table, lambda: _measure(asked, limit), write_table)
    with doing() as tell:
        tell("simulating policies")
        planner = _Planner(asked, limit, table, site)
        answer = Answer(
            table=table,
            limit=limit,
            site=site,
            place=place,
            scenarios=tuple(planner.scenario(arrivals) for arrivals in rates),
            fleet=None if whole is None else planner.fleet(whole),
            interrupted=interrupted,
            remarks=planner.remarks,
            own=planner.own,
        )
    show(answer_view(answer, verbose=asked.verbose), as_json=asked.json)
    return INTERRUPTED if interrupted else answer.exit_code


@dataclass
class _Planner:
    """Plans from one table.

    Attributes:
        asked: the options of the command.
        limit: of the response time, if any.
        table: what batches cost.
        site: carbon intensity and PUE.
    """

    asked: Batch
    limit: ResponseLimit | None
    table: BatchTable
    site: Site

    def __post_init__(self) -> None:
        self._costs = self.table.costs
        self._kept = self.limit or NO_LIMIT
        given = {text: parse_policy(text) for text in self.asked.policy or ()}
        largest = self.table.largest
        able = [str(one) for one in given.values() if one.largest <= largest]
        self.own = tuple(dict.fromkeys(able))
        self.remarks = tuple(
            f"{text} is left out: batches up to {largest} were measured; --largest "
            f"{one.largest} with more --patience measures further"
            for text, one in given.items()
            if one.largest > largest
        )

    def scenario(self, arrivals: ArrivalProcess) -> Scenario:
        """The plan for one rate."""
        share, remark = thinned(arrivals, self.asked.replicas, THINNED_REQUESTS)
        made = plan(
            self._costs,
            share,
            self._kept,
            self.own,
            candidates=self._candidates(),
            trials=Trials(seed=self.asked.seed),
            spread=self.table.repeatability or 0.0,
        )
        remarks = (*made.remarks, *arrivals.remarks, *([remark] if remark else []))
        made = replace(made, remarks=remarks)
        return Scenario(
            model=self.table.model,
            limit=self.limit,
            arrivals=str(arrivals),
            rate_per_s=arrivals.rate_per_s,
            replicas=self.asked.replicas,
            plan=made,
            shared=self._shared(arrivals.rate_per_s, made),
            needed=None if made.best is not None else self._needed(arrivals),
            times_to_tell=self.table.times_to_tell(made.undecided) if made.undecided else None,
        )

    def fleet(self, arrivals: ArrivalProcess) -> Fleet | str:
        """The fleet with the fewest watts, or why none is possible."""
        try:
            return fleet(self._costs, arrivals, self._kept, self.own, site=self.site)
        except UsageError as error:
            return error.message

    def _candidates(self) -> list[str] | None:
        """The candidates without a limit; none needs a maximum wait."""
        if self.limit is not None:
            return None
        sizes = self._costs.sizes[1:]
        return [f"fixed({size})" for size in sizes] + [f"greedy({size})" for size in sizes[::-1]]

    def _shared(self, rate_per_s: float, made: Plan) -> Fleet | None:
        """The replicas under the chosen policy, if any, each with its share of the rate."""
        if made.best is None:
            return None
        replicas = partial(
            Fleet, rate_per_s, self.asked.replicas, idle_w=self._costs.idle_w, site=self.site
        )
        before = None if made.baseline.saturated else replicas(made.baseline)
        return replicas(made.best, baseline=before)

    def _needed(self, arrivals: ArrivalProcess) -> int | str:
        """The number of greedy replicas that would hold the limit, or why none would."""
        greedy = [f"greedy({self._costs.largest})", BASELINE]
        trials = replace(FEW_WINDOWS, seed=self.asked.seed)
        try:
            found = fleet(self._costs, arrivals, self._kept, candidates=greedy, trials=trials)
        except UsageError as error:
            return error.message
        return found.replicas


def _measure(asked: Batch, limit: ResponseLimit | None) -> tuple[BatchTable, bool]:
    """Measure batches of a model on this machine; after Ctrl-C, keep what was measured."""
    model = find_model(asked.model or "", asked.weights)
    _check_module(model)
    crop = asked.crop or model.crop
    resize = max(crop, round(model.resize * crop / model.crop))
    end_on_sigterm()
    with closing(RequestImages(asked.data_dir, asked.seed)) as images:
        source = ImageSource(images.files(asked.images), resize, crop)
        task = BatchTask(model.source, source, 1, 0.0, with_images=not asked.ready)
        task.check()
        measured, where = measured_here(
            asked,
            limit,
            ServingExecutor,
            lambda device, threads: BatchWork(ServingJob("loading", device, threads, task)),
            "batch 1",
        )
    table = BatchTable(
        model=model.name,
        weights=model.weights,
        images=READY if asked.ready else asked.images,
        resize=resize,
        crop=crop,
        windows=measured.windows,
        remarks=measured.remarks,
        **where,
    )
    return table, measured.interrupted


def _limit(asked: Batch) -> ResponseLimit | None:
    """The limit of the response time."""
    options = {99: asked.p99, 95: asked.p95, 50: asked.p50}
    given = {percentile: text for percentile, text in options.items() if text is not None}
    if len(given) > 1:
        names = " and ".join(f"--p{percentile}" for percentile in given)
        raise UsageError(f"{names}: a plan keeps one limit", "give the one that matters most")
    for percentile, text in given.items():
        return ResponseLimit(float(percentile), parse_duration_s(text, f"--p{percentile}"))
    return None


def _check(asked: Batch) -> None:
    """Refuse impossible options before measuring."""
    if asked.table is None and asked.model is None:
        raise UsageError(
            "which model?", "name one: joulelab batch resnet18 --rate 50 --p99 200ms; or --table"
        )
    check_measuring(asked, "torch", "torchvision", user="measuring a model")


def _check_module(model: Model) -> None:
    """Refuse a missing module before starting; it is not imported here."""
    if ":" not in model.name:
        return
    module = model.name.partition(":")[0]
    sys.path[:0] = [folder for folder in model.source.path if folder not in sys.path]
    try:
        found = importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        found = False
    if not found:
        raise UsageError(
            f"the model {model.name!r}: no module {module} in {Path.cwd()}",
            "run this in its folder, or install its package",
        )


def _site(asked: Batch) -> tuple[Site, str]:
    """Carbon intensity and PUE, and the place in words; empty if unknown."""
    located = asked.located()
    if (booking := Booking.of(located, asked.pue)) is None:
        return Site(pue=default_pue() if asked.pue is None else asked.pue), ""
    intensity = booking.intensity
    if isinstance(intensity, Intensity):
        return Site(intensity.g_per_kwh, booking.pue), intensity.place
    length_s = intensity.end_s - intensity.start_s
    g_per_kwh, reason = mean_intensity(intensity, intensity.start_s, length_s)
    if g_per_kwh is None:
        raise UsageError(f"{located or default_place()}: {reason}", "give the mean in g/kWh")
    return Site(g_per_kwh, booking.pue), f"{intensity.place}, mean over the file"
