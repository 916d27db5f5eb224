"""How ``joulelab batch`` is printed: measured batches, policies or rates, and sentences."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from joulelab import formats
from joulelab.cli.batch_answer import Answer, Scenario, power_in_words
from joulelab.cli.output import data_console, print_json
from joulelab.kinds.inference.batch_table import READY, BatchTable
from joulelab.serving.planning.comparison import Account, Outcome

SHOWN = 4
"""Policies that hold the limit, the cheapest first, in a table of policies."""

_COST_NAMES: dict[Account, str] = {
    "gross": "J/request",
    "net": "net J/request",
    "time": "time/request",
}


def print_answer(answer: Answer, *, as_json: bool) -> None:
    """Print it all to standard output.

    Args:
        answer: what was found.
        as_json: one JSON object instead.
    """
    if as_json:
        print_json(answer.to_dict() | {"exit_code": answer.exit_code})
        return
    console = data_console()
    _print_table(console, answer.table)
    if len(answer.scenarios) == 1:
        console.print(_policies(answer.scenarios[0], answer))
    elif answer.scenarios:
        console.print(_rates(answer))
    for line in answer.sentences():
        console.print(line, style="bold", soft_wrap=True, markup=False)
    for line in _powers(answer):
        console.print(line, soft_wrap=True, markup=False)
    for line in answer.uncertainty() + answer.warnings():
        console.print(line, style="dim", soft_wrap=True, markup=False)


def _print_table(console: Console, table: BatchTable) -> None:
    images = "tensors that lie ready" if table.images == READY else f"images: {table.images}"
    threads = f", {formats.count(table.threads, 'thread')}" if table.device == "cpu" else ""
    console.print(f"{table.model} on {table.machine}{threads}", style="bold", markup=False)
    known_w = table.costs.idle_w
    idle = f"idle with the model loaded: {formats.watts(known_w)}" if known_w is not None else ""
    about = (f"weights: {table.weights}", f"{images}, {table.crop} px", idle)
    console.print("; ".join(filter(None, about)), soft_wrap=True, markup=False)
    console.print(_costs(table))


def _costs(table: BatchTable) -> Table:
    drawn = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    known = [one.gross_j_per_image for one in table.sizes]
    size, unit = formats.scale(max((one for one in known if one is not None), default=1.0), _UNITS)
    for name in (
        "batch",
        "time",
        "images/s",
        f"net\n{unit}/image",
        f"gross\n{unit}/image",
        "error\nbound",
        "windows",
    ):
        drawn.add_column(name, justify="right", no_wrap=True)
    for one in table.sizes:
        bound = one.error_j_per_image
        drawn.add_row(
            str(one.size),
            formats.duration(one.seconds),
            formats.significant(one.size / one.seconds),
            formats.at_scale(one.net_j_per_image, size),
            formats.at_scale(one.gross_j_per_image, size),
            formats.DASH if bound is None else f"± {formats.at_scale(bound, size)}",
            str(sum(window.size == one.size for window in table.windows)),
        )
    return drawn


_UNITS = ((0.1, 1.0, "J"), (0.0, 1e-3, "mJ"))


def _policies(scenario: Scenario, answer: Answer) -> Table:
    made = scenario.plan
    drawn = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    drawn.add_column("policy", no_wrap=True)
    for name in (_COST_NAMES[made.account], made.limit.name, "mean", "batch", "load"):
        drawn.add_column(name, justify="right", no_wrap=True)
    drawn.add_column("")
    own = {str(one) for one in answer.own}
    for one in _shown(scenario, own):
        marks = [
            mark
            for mark, holds in (
                ("best", one is made.best),
                ("fewest J?", one is made.least and one is not made.best),
                ("baseline", one is made.baseline),
                ("quickest", one is made.quickest),
                ("yours", one.policy in own),
                ("too slow", answer.limit is not None and not one.holds),
            )
            if holds
        ]
        drawn.add_row(one.policy, *_figures(one, made.account), ", ".join(marks))
    return drawn


def _shown(scenario: Scenario, own: set[str]) -> list[Outcome]:
    """The baseline, the cheapest that hold the limit, the quickest, and the user's own."""
    made = scenario.plan
    holding = [one for one in made.outcomes if one.holds]
    holding.sort(key=lambda one: one.mean_per_request(made.account) or 0.0)
    first = [one for one in (made.best, made.least) if one is not None]
    chosen = [*first, *holding[:SHOWN], made.baseline]
    chosen += [one for one in made.outcomes if one.policy in own]
    chosen += [made.quickest] if made.quickest is not None else []
    if made.best is None:
        chosen.append(max(made.outcomes, key=lambda one: one.most_per_s))
    return list({one.policy: one for one in chosen}.values())


def _figures(one: Outcome, account: Account) -> list[str]:
    grows = one.saturated
    mean_s = sum(one.response_means_s) / len(one.response_means_s)
    return [
        _cost(one, account),
        "grows" if grows else formats.duration(one.response_s),
        "grows" if grows else formats.duration(mean_s),
        formats.significant(one.batch_mean),
        formats.percent(one.load, 0),
    ]


def _cost(one: Outcome, account: Account) -> str:
    value = one.mean_per_request(account)
    return formats.duration(value) if account == "time" else formats.joules(value)


def _rates(answer: Answer) -> Table:
    account = answer.scenarios[0].plan.account
    drawn = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    percentile = answer.scenarios[0].plan.limit.name
    drawn.add_column("rate", justify="right", no_wrap=True)
    drawn.add_column("policy")
    for name in (_COST_NAMES[account], "batch 1", "saving", percentile, "load"):
        drawn.add_column(name, justify="right", no_wrap=True)
    for one in answer.scenarios:
        made = one.plan
        before = "saturated" if made.baseline.saturated else _cost(made.baseline, account)
        rate = f"{formats.significant(one.rate_per_s)}/s"
        if made.best is None:
            what = "saturated" if made.quickest is None else f"none keeps {made.limit}"
            drawn.add_row(rate, what, formats.DASH, before, *[formats.DASH] * 3)
            continue
        _, response, _, _, load = _figures(made.best, account)
        same = made.baseline.saturated or made.best is made.baseline
        saving = formats.DASH if same else formats.percent(made.saving, 0)
        cost = _cost(made.best, account)
        drawn.add_row(rate, made.best.policy, cost, before, saving, response, load)
    return drawn


def _powers(answer: Answer) -> list[str]:
    """Power of the servers at each rate, and CO2e where a place is known."""
    said = []
    for one in answer.scenarios:
        if one.shared is None or one.shared.power_w is None:
            continue
        servers = formats.count(one.replicas, "server")
        rate = f"{formats.significant(one.rate_per_s)}/s"
        said.append(f"{servers} at {rate}: {power_in_words(one.shared)}")
    if answer.site.g_per_kwh is not None:
        said.append(f"carbon intensity: {answer.site.g_per_kwh:g} g/kWh ({answer.place})")
    return said
