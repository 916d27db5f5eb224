"""The report of a batching experiment: findings, tables and figures in order."""

from __future__ import annotations

from typing import Any

from joulelab import formats
from joulelab.analysis.batching import MATTERS, Choice, Limit, PolicyFigures
from joulelab.kinds.batching.figures import batch_distribution, batch_sizes, front
from joulelab.kinds.batching.runs import (
    asked_limit,
    choices,
    limit_note,
    saturations,
    setting_name,
    tail_name,
)
from joulelab.kinds.batching.tables import (
    chosen_policies,
    energy_effects,
    energy_interactions,
    energy_of_cells,
    energy_range,
    model_by_policy,
    policy_effects,
    policy_pairs,
    response_effects,
    response_interactions,
    response_of_cells,
)
from joulelab.present import Unavailable
from joulelab.report.effects import SIGNIFICANT_P, moved_by
from joulelab.report.experiment import Experiment
from joulelab.report.report import Report

Chosen = tuple[dict[str, Any], Choice]
AT_LEAST = 2
MOST_REPETITIONS = 100
"""Above this the number is not stated."""
WHY = {
    "saturated": "is saturated",
    "drops requests": "drops too many requests",
    "response unknown": "has runs without a response time",
}


def batching_findings(experiment: Experiment) -> list[str]:
    """A sentence for each model and arrival process, then general findings.

    Empty if no run has finished. Without energies it covers response times and saturated cells.
    """
    if not len(experiment.runs):
        return []
    try:
        found = choices(experiment)
    except Unavailable:
        found = []
    said = [_setting(experiment, levels, choice) for levels, choice in found]
    said += [_reach(experiment, found)]
    said += [moved_by(experiment, energy_effects, "Energy per request")]
    said += [moved_by(experiment, response_effects, "Mean response time")]
    if found:
        said += [f"Energy per request is {experiment.energy.name}, {experiment.energy.status}."]
        said += limit_note(experiment)
    else:
        said += saturations(experiment)
    return [sentence for sentence in said if sentence]


def _setting(experiment: Experiment, levels: dict[str, Any], choice: Choice) -> str:
    """Which policy to run for one model and one arrival process."""
    if not choice.policies:
        return ""
    name, (limit, _) = setting_name(experiment, levels), asked_limit(experiment)
    best = choice.best
    if best is None:
        return f"{name}: {_none(experiment, choice, limit)}."
    said = f"{name}: {best.policy} needs {_energy(best)} per request"
    said += _against(choice)
    if formats.known(best.response_s):
        said += f", with a {tail_name(experiment)} of {formats.duration(best.response_s)}"
    if limit is not None:
        said += f" (limit: {limit})"
    clauses = [
        _undecided(experiment, choice),
        _alike(choice, limit),
        _quick(choice, limit),
        _cheaper(choice, limit),
        _unsure(best),
    ]
    return "; ".join([said, *filter(None, clauses)]) + "."


def _none(experiment: Experiment, choice: Choice, limit: Limit | None) -> str:
    """Why no policy is recommended, and which one comes closest."""
    saturated = [one for one in choice.policies if one.hindrance == "saturated"]
    if len(saturated) == len(choice.policies):
        whole = "the only policy" if len(choice.policies) == 1 else "every policy"
        return f"{whole} is saturated, so none can be recommended"
    if limit is None:
        return "no policy can be recommended"
    said = (
        f"no policy meets the limit, a {tail_name(experiment)} of at most "
        f"{formats.duration(limit.seconds)} in every run"
    )
    slow = [one for one in choice.policies if one.hindrance == "too slow"]
    if not slow:
        return said
    closest = min(slow, key=lambda one: one.response_s)
    return (
        f"{said}; {closest.policy} comes closest with {formats.duration(closest.response_s)} "
        f"at {formats.joules(closest.energy_j)} per request"
    )


def _energy(figures: PolicyFigures) -> str:
    """The mean, and its interval if there is one: ``1.90 J (1.80 to 2.00 J)``."""
    said = formats.joules(figures.energy_j)
    if not formats.known(figures.low_j):
        return f"{said} (one run)" if figures.runs == 1 else said
    return f"{said} ({energy_range(figures.low_j, figures.high_j)})"


def _against(choice: Choice) -> str:
    """The saving compared with the smallest batch."""
    best, baseline, ratio = choice.best, choice.baseline, choice.ratio
    if best is None or baseline is None or best.policy == baseline.policy:
        return ""
    if ratio is None:
        return f", against {formats.joules(baseline.energy_j)} with {baseline.policy}"
    if ratio.low <= 1 <= ratio.high:
        return f", not significantly different from {baseline.policy}"
    word = "less" if ratio.value < 1 else "more"
    return f", {formats.percent(abs(choice.saving), 0)} {word} than {baseline.policy}"


def _undecided(experiment: Experiment, choice: Choice) -> str:
    """The policy with the lowest energy, if perhaps by chance, and what would decide."""
    best, least = choice.best, choice.least
    if best is None or least is None or best is least or best.energy_j <= 0:
        return ""
    less = 1 - least.energy_j / best.energy_j
    after = (
        f" with a {tail_name(experiment)} of {formats.duration(least.response_s)}"
        if formats.known(least.response_s)
        else ""
    )
    said = f"{least.policy} took {formats.percent(less)} less{after}, which may be chance"
    if less < MATTERS:
        return f"{said} and is too little to matter"
    needed = choice.repetitions
    if needed is None:
        return said
    some = f"about {needed}" if needed <= MOST_REPETITIONS else f"more than {MOST_REPETITIONS}"
    return f"{said}: {some} repetitions of each would decide"


def _alike(choice: Choice, limit: Limit | None) -> str:
    """Other qualified policies whose energy is indistinguishable from the lowest."""
    told = {choice.baseline.policy if choice.baseline else "", _quicker(choice, limit)}
    told |= {choice.least.policy if choice.least else ""}
    others = [policy for policy in choice.alike if policy not in told]
    if not others:
        return ""
    verb = "does" if len(others) == 1 else "do"
    return f"{formats.listing(others)} {verb} not differ significantly from it in energy"


def _quicker(choice: Choice, limit: Limit | None) -> str:
    """The policy that answers faster for little more energy; not needed under a limit."""
    best, quick = choice.best, choice.quick
    if limit is not None or best is None or quick is None or best.energy_j <= 0:
        return ""
    return quick.policy if quick.response_s < best.response_s else ""


def _quick(choice: Choice, limit: Limit | None) -> str:
    """The extra cost of the faster policy."""
    best, quick = choice.best, choice.quick
    if best is None or quick is None or not _quicker(choice, limit):
        return ""
    sooner = f"answers after {formats.duration(quick.response_s)}"
    if quick.policy in choice.alike:
        return f"{quick.policy} {sooner} and does not differ significantly from it in energy"
    more = formats.percent(quick.energy_j / best.energy_j - 1, 0)
    return f"{quick.policy} {sooner} for {more} more"


def _cheaper(choice: Choice, limit: Limit | None) -> str:
    """The policy with lower energy, and why it does not qualify."""
    best, cheaper = choice.best, choice.cheaper
    if best is None or cheaper is None or best.energy_j <= 0:
        return ""
    less = formats.percent(1 - cheaper.energy_j / best.energy_j, 0)
    why = WHY.get(cheaper.hindrance, "")
    if limit is not None and cheaper.hindrance == "too slow":
        why = f"answers after {formats.duration(cheaper.response_s)}"
    return f"{cheaper.policy} would take {less} less but {why}"


def _unsure(best: PolicyFigures) -> str:
    if not best.unsure:
        return ""
    some = "" if best.unsure == best.runs == 1 else f" in {best.unsure} of {best.runs} runs"
    return f"whether it keeps up is unknown{some}"


def _reach(experiment: Experiment, found: list[Chosen]) -> str:
    """How much the effect of the policy differs between models, and whether by chance."""
    by_model: dict[str, float] = {}
    for levels, choice in found:
        if formats.known(choice.reach) and "model" in levels:
            model = str(levels["model"])
            by_model[model] = max(by_model.get(model, 0.0), choice.reach)
    if len(by_model) < AT_LEAST:
        return ""
    most, least = (pick(by_model, key=lambda m: by_model[m]) for pick in (max, min))
    said = (
        f"The policy changes energy per request by up to {formats.percent(by_model[most], 0)} for "
        f"{most} and by up to {formats.percent(by_model[least], 0)} for {least}"
    )
    try:
        p, eta_squared = model_by_policy(experiment)
    except Unavailable as error:
        why = error.reason.rstrip(".")
        return f"{said}; whether models differ in this was not tested ({why})."
    test = (
        "interaction of model and policy, on logarithms: p "
        f"{_equals(p)}, partial η² = {formats.effect(eta_squared)}"
    )
    if p >= SIGNIFICANT_P:
        return f"{said}, which may be chance ({test})."
    return f"{said}: tune the batch size per model ({test})."


def _equals(p: float) -> str:
    text = formats.p_value(p)
    return text if text.startswith("<") else f"= {text}"


BATCHING = Report(
    contents=(
        chosen_policies,
        front,
        energy_of_cells,
        batch_sizes,
        response_of_cells,
        batch_distribution,
        energy_effects,
        policy_effects,
        energy_interactions,
        response_effects,
        response_interactions,
        policy_pairs,
    ),
    lead=(front, chosen_policies),
    findings=batching_findings,
)
