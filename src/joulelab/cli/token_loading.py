"""``joulelab load --api openai``: a load on the server of a language model.

::

    list of models, probe | warm-up | idle power | window: first sending ... last answer
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from joulelab.cli.load_window import (
    MeasuredLoad,
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
from joulelab.cli.serving_commands import Expected, Load, Method
from joulelab.cli.signals import end_on_sigterm
from joulelab.cli.token_answer import energy_of_tokens
from joulelab.cli.token_report import TokenReport
from joulelab.energy.meters.prometheus import named
from joulelab.energy.monitor import Monitor
from joulelab.energy.options import Options
from joulelab.errors import UsageError
from joulelab.formats import count
from joulelab.present import View
from joulelab.serving.arrivals import ArrivalProcess, parse_arrivals
from joulelab.serving.http_load import HttpLoad, Limits
from joulelab.serving.http_target import MOST_BYTES, Request, is_this_machine
from joulelab.serving.planning.comparison import ResponseLimit
from joulelab.serving.tokens.costs import TokenEnergy
from joulelab.serving.tokens.endpoint import KEY_VARIABLE, Endpoint, TokenEndpoint, key_from
from joulelab.serving.tokens.exchanges import TokenExchanges
from joulelab.serving.tokens.flow import Flow
from joulelab.serving.tokens.lengths import Counts, parse_lengths
from joulelab.serving.tokens.probe import Probe, Probed
from joulelab.serving.tokens.prompts import Prompt, TraceLengths, in_turn, read_prompts, repeats
from joulelab.serving.tokens.stream import TokenStream
from joulelab.serving.tokens.texts import ExactWriter, Writer, load_tokenizer
from joulelab.serving.trace import Trace

TIMEOUT, SILENCE = "10min", "60s"


def run_token_load(asked: Load) -> int:
    """Send a load, measure this machine, and show the result.

    Args:
        asked: the options of the command, with an ``api``.

    Returns:
        As `joulelab.cli.loading.run_load`.

    Raises:
        UsageError: an option is impossible.
        ServingError: the server cannot be reached, refuses, or has no such model.
    """
    limits = Limits(
        parse_duration_s(asked.timeout or TIMEOUT, "--timeout"),
        asked.concurrency,
        silence_s=parse_duration_s(asked.silence or SILENCE, "--silence"),
    )
    to_keep = _to_keep(asked)
    check_table(asked.out)
    endpoint = _endpoint(asked)
    arrivals = parse_arrivals(asked.arrivals)
    check_count(asked, arrivals)
    plan = _Plan.of(asked, arrivals, chat=endpoint.chat)
    tokenizer = _tokenizer(asked, plan)
    schedules = _schedules(asked, arrivals)
    addresses = endpoint.target.addresses()
    here = is_this_machine(addresses)
    if not here and not asked.yes:
        check_weight(schedules, endpoint.target)
    options = _meters(asked)
    for remark in (*arrivals.remarks, *plan.remarks):
        say(remark, "yellow")
    end_on_sigterm()
    with HttpLoad(endpoint.target, addresses, [], limits) as http:
        http.connect()
        say("asking the server what it takes ...", "dim")
        probe = Probe(
            http, endpoint, keep_length=plan.keeps_length, tokenizer=tokenizer, seed=asked.seed
        )
        probed = probe.run(drawn=not plan.texts)
        load, streams = _send(asked, http, plan, probed, schedules, options)
    tokens = TokenExchanges.of(load.exchanges, streams)
    report = TokenReport(
        asked,
        arrivals,
        load,
        here,
        **to_keep,
        probed=probed,
        tokens=tokens,
        streams=streams,
        energy=_energy(load, tokens, streams) if here or asked.energy_url else None,
        lengths=plan.output_tokens if plan.keeps_length else [None] * asked.requests,
        prompts=plan.input_tokens,
        workload=plan.in_words,
    )
    write_rows(tokens.columns(), asked.out)
    show(View(report.parts(), report.to_dict), as_json=asked.json)
    return report.exit_code


def _to_keep(asked: Load) -> dict[str, ResponseLimit]:
    """The limits that were given, as `TokenReport` names them."""
    given = {
        "limit": (asked.p99, "--p99"),
        "first": (asked.p99_first, "--p99-first"),
        "per_token": (asked.p99_token, "--p99-token"),
    }
    return {
        name: ResponseLimit(99, parse_duration_s(text, option))
        for name, (text, option) in given.items()
        if text is not None
    }


def _tokenizer(asked: Load, plan: _Plan) -> ExactWriter | None:
    """The tokenizer that was named; refuses one if no prompts are drawn."""
    if asked.tokenizer is None:
        return None
    if plan.texts:
        raise UsageError("--tokenizer is for --input-tokens", "remove it")
    return ExactWriter(load_tokenizer(asked.tokenizer))


def _meters(asked: Load) -> Options:
    """The options of the monitor."""
    options = WHOLE_MACHINE | asked.monitor | {"busy": asked.busy.value, "on_wait": say}
    if asked.energy_url is not None:
        page = named(asked.energy_url, asked.energy_metric or "")
        options["meters"] = [page, *(asked.meter or ())]
    elif asked.energy_metric is not None:
        raise UsageError("--energy-metric is a counter of --energy-url", "add --energy-url URL")
    return options


def _send(
    asked: Load,
    http: HttpLoad,
    plan: _Plan,
    probed: Probed,
    schedules: tuple[Schedule, Schedule],
    options: Options,
) -> tuple[MeasuredLoad, list[TokenStream | None]]:
    """Send the warm-up and the load; what was measured, and the answer to each request."""
    key, (schedule, before) = probed.endpoint.key, schedules
    requests, prompts_before = plan.requests(asked, probed)
    streams: list[TokenStream | None] = [None] * asked.requests

    def stream(number: int) -> TokenStream:
        made = streams[number] = TokenStream(key)
        return made

    with Monitor(**options) as monitor:
        http.requests = prompts_before
        warm_up(http, asked, before, lambda _: TokenStream(key))
        http.requests = requests
        return measured(http, asked, schedule, monitor, stream), streams


def _energy(
    load: MeasuredLoad, tokens: TokenExchanges, streams: Sequence[TokenStream | None]
) -> TokenEnergy:
    """What the tokens took."""
    start_s = load.exchanges.start_s
    chunks = [
        np.frombuffer(one.chunk_s) - start_s if one is not None else np.empty(0)
        for one in streams[: len(tokens)]
    ]
    flow = Flow.of(tokens.columns(), chunks)
    return energy_of_tokens(flow, load.measurement, load.samples, start_s)


def _endpoint(asked: Load) -> TokenEndpoint:
    """The endpoint; refuses options that are for other servers."""
    others = {
        "--image": asked.image is not None,
        "--field": bool(asked.field),
        f"--method {asked.method}": asked.method is not Method.POST,
        f"--expect {asked.expect}": asked.expect is not Expected.ANYTHING,
    }
    for name, given in others.items():
        if given:
            raise UsageError(f"{name} is for other servers than --api {asked.api}", "remove it")
    if asked.model is None:
        raise UsageError(f"--api {asked.api} needs the name of the model", "--model NAME")
    kind = None if asked.endpoint is None else Endpoint(asked.endpoint.value)
    headers = parse_pairs(asked.header, "--header")
    key = key_from(asked.key_env or KEY_VARIABLE)
    return TokenEndpoint.parse(asked.url, asked.model, kind, key, headers)


def _schedules(asked: Load, arrivals: ArrivalProcess) -> tuple[Schedule, Schedule]:
    """Of the load and of the warm-up; every request is another one."""
    load, before = (Schedule.of(asked, arrivals, 1, warm_up=early) for early in (False, True))
    return (
        replace(load, which=np.arange(asked.requests)),
        replace(before, which=np.arange(asked.warm_up)),
    )


@dataclass(frozen=True)
class _Plan:
    """What is asked of the model.

    Attributes:
        texts: (n,) the prompts of a file, one for each request; empty where they are drawn.
        input_tokens: (n,) lengths of drawn prompts.
        output_tokens: (n,) of the answers; ``None`` where the model or the server ends them.
        keeps_length: whether answers are to have exactly their length.
        in_words: where prompts and lengths come from.
        remarks: assumptions, in sentences.
    """

    texts: list[Prompt]
    input_tokens: Counts
    output_tokens: list[int | None]
    keeps_length: bool
    in_words: str
    remarks: tuple[str, ...] = ()

    @classmethod
    def of(cls, asked: Load, arrivals: ArrivalProcess, *, chat: bool) -> _Plan:
        """As the options say.

        Raises:
            UsageError: nothing says which prompts, or two options do; a file is broken.
        """
        total = asked.requests
        rng = np.random.default_rng((asked.seed, 5))
        drawn = None
        if asked.output_tokens is not None:
            drawn = parse_lengths(asked.output_tokens)
        answers = [] if drawn is None else drawn.draw(total, rng).tolist()
        if asked.prompts is not None:
            if asked.input_tokens is not None:
                raise UsageError("--prompts and --input-tokens exclude each other", "remove one")
            known = read_prompts(asked.prompts, chat=chat)
            chosen = [known[one] for one in in_turn(total, len(known), rng).tolist()]
            answers = answers or [one.max_tokens for one in chosen]
            remark = repeats(known, total)
            said = f"{count(len(known), 'prompt')} of {asked.prompts.name}; answers: "
            said += f"{drawn} tokens" if drawn else "up to max_tokens"
            remarks = (remark,) if remark else ()
            return cls(chosen, np.zeros(0, np.int64), answers, bool(drawn), said, remarks)
        traced = None
        if isinstance(arrivals, Trace) and (asked.input_tokens is None or drawn is None):
            traced = TraceLengths.of(arrivals, total)
        if asked.input_tokens is not None:
            lengths = parse_lengths(asked.input_tokens)
            prompts, of_prompts = lengths.draw(total, np.random.default_rng((asked.seed, 6))), ""
            of_prompts = f"{lengths} tokens"
        elif traced is not None:
            prompts, of_prompts = traced.input_tokens, "lengths of the trace"
        else:
            raise UsageError(
                "nothing says which prompts to send",
                "--prompts FILE, --input-tokens 200, or a trace with token counts as --arrivals",
            )
        of_answers = f"{drawn} tokens" if drawn else "ended by the model"
        if drawn is None and traced is not None:
            answers, of_answers = traced.output_tokens.tolist(), "lengths of the trace"
        return cls(
            [],
            prompts,
            answers or [None] * total,
            bool(answers),
            f"random words, {of_prompts}; answers: {of_answers}",
            () if traced is None else traced.remarks,
        )

    def requests(self, asked: Load, probed: Probed) -> tuple[list[Request], list[Request]]:
        """The requests of the load, and those of the warm-up.

        Args:
            asked: the options of the command.
            probed: what the server takes.

        Raises:
            UsageError: together they are too large to keep in memory.
        """
        load = self._written(asked.requests, (asked.seed, 7), probed)
        return load, self._written(asked.warm_up, (asked.seed, 8), probed)

    def _written(self, total: int, seed: tuple[int, int], probed: Probed) -> list[Request]:
        rng, requests, size = np.random.default_rng(seed), [], 0
        for number in range(total):
            at = number % len(self.output_tokens)
            prompt = replace(
                self._prompt(at, rng, probed.writer), max_tokens=self.output_tokens[at]
            )
            request = probed.endpoint.request(prompt, keep_length=self.keeps_length)
            size += len(request.body)
            if size > MOST_BYTES:
                raise UsageError(
                    f"the prompts of {total:,} requests exceed {MOST_BYTES >> 20} MiB",
                    "they are kept in memory: send fewer, or shorter ones",
                )
            requests.append(request)
        return requests

    def _prompt(self, at: int, rng: np.random.Generator, writer: Writer | None) -> Prompt:
        if self.texts:
            return self.texts[at]
        assert writer is not None
        return Prompt(writer.text(int(self.input_tokens[at]), rng))
