"""``joulelab load``: requests to an HTTP endpoint, and what this machine used meanwhile."""

from __future__ import annotations

from joulelab.cli.load_report import LoadReport
from joulelab.cli.load_window import (
    Schedule,
    check_count,
    check_table,
    check_weight,
    measured,
    warm_up,
    write_rows,
)
from joulelab.cli.options import parse_duration_s, parse_pairs
from joulelab.cli.output import say, show
from joulelab.cli.recording import WHOLE_MACHINE
from joulelab.cli.serving_commands import Expected, Load
from joulelab.cli.signals import end_on_sigterm
from joulelab.cli.token_loading import run_token_load
from joulelab.energy.monitor import Monitor
from joulelab.errors import UsageError
from joulelab.present import View
from joulelab.serving.arrivals import parse_arrivals
from joulelab.serving.http_load import HttpLoad, Limits
from joulelab.serving.http_target import WITH_BODY, Content, Target, is_this_machine
from joulelab.serving.images import image_files, shipped_photographs
from joulelab.serving.planning.comparison import ResponseLimit

TIMEOUT = "10s"


def run_load(asked: Load) -> int:
    """Send a load, measure this machine, and show the result.

    Args:
        asked: the options of the command.

    Returns:
        0; 1 where nothing was answered; 4 where some requests failed or the limit was missed; 130
        where it was interrupted.

    Raises:
        UsageError: an option is impossible.
        ServingError: the endpoint cannot be reached, or answers no request of the warm-up.
    """
    if asked.api is not None:
        return run_token_load(asked)
    if asked.given:
        raise UsageError(f"{asked.given[0]} is for language models", "add --api openai")
    timeout_s = parse_duration_s(asked.timeout or TIMEOUT, "--timeout")
    limits = Limits(timeout_s, asked.concurrency, asked.expect is Expected.JSON)
    limit = None
    if asked.p99 is not None:
        limit = ResponseLimit(99, parse_duration_s(asked.p99, "--p99"))
    check_table(asked.out)
    target = Target.parse(asked.url)
    arrivals = parse_arrivals(asked.arrivals)
    check_count(asked, arrivals)
    requests = _content(asked).prepared(target)
    schedule = Schedule.of(asked, arrivals, len(requests))
    before = Schedule.of(asked, arrivals, len(requests), warm_up=True)
    addresses = target.addresses()
    here = is_this_machine(addresses)
    if not here and not asked.yes:
        check_weight((before, schedule), target)
    options = WHOLE_MACHINE | asked.monitor | {"busy": asked.busy.value, "on_wait": say}
    for remark in arrivals.remarks:
        say(remark, "yellow")
    end_on_sigterm()
    with HttpLoad(target, addresses, requests, limits) as http:
        http.connect()
        with Monitor(**options) as monitor:
            warm_up(http, asked, before)
            load = measured(http, asked, schedule, monitor)
    report = LoadReport(asked, arrivals, load, here, limit)
    write_rows(load.exchanges.columns(), asked.out)
    show(View(report.parts(), report.to_dict), as_json=asked.json)
    return report.exit_code


def _content(asked: Load) -> Content:
    headers = parse_pairs(asked.header, "--header")
    if asked.method not in WITH_BODY:
        if asked.image is not None or asked.field:
            raise UsageError(f"a {asked.method} request carries no image", "use --method POST")
        return Content((), asked.method.value, "", headers)
    files = shipped_photographs() if asked.image is None else image_files(asked.image)
    return Content(files, asked.method.value, asked.field, headers)
