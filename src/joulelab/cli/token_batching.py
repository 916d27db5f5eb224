"""``joulelab batch --llm``: measure tokens, plan continuous batching, and show the answer."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

from joulelab.cli.batch_options import (
    INTERRUPTED,
    batch_arrivals,
    check_device,
    check_domains,
    doing,
)
from joulelab.cli.options import parse_duration_s
from joulelab.cli.output import check_file, say, show
from joulelab.cli.serving_commands import Batch
from joulelab.cli.signals import end_on_sigterm
from joulelab.cli.token_plan import TokenAnswer, token_plan_view
from joulelab.energy.detection import open_recorder
from joulelab.errors import UsageError
from joulelab.kinds.generation.executor import GenerationJob
from joulelab.kinds.generation.table_measuring import GeneratedAlone, TokenMeasuring
from joulelab.kinds.generation.token_table import (
    TokenTable,
    check_precision,
    read_token_table,
    write_token_table,
)
from joulelab.kinds.inference.table_measuring import Patience
from joulelab.learning.language_models import language_model_source
from joulelab.optional import require
from joulelab.serving.generation.planning import WINDOWS, TokenLimits, plan_tokens
from joulelab.serving.generation.simulation import Lengths
from joulelab.serving.generation.tasks import DECODE, GenerationTask, Part
from joulelab.serving.planning.comparison import ResponseLimit, Trials
from joulelab.serving.tasks import ModelSource
from joulelab.study.accounting import counted
from joulelab.study.device import available_threads, find_device
from joulelab.study.manifest import processor_model


def run_token_batch(asked: Batch) -> int:
    """Measure or read a table of tokens, plan each rate, and show the answer.

    Args:
        asked: the options of the command.

    Returns:
        0; 4 if a limit cannot be met or requests arrive too fast; 130 after Ctrl-C.

    Raises:
        UsageError: an option is impossible.
        ServingError: the model fails.
        KeyboardInterrupt: Ctrl-C came before one sequence was measured.
    """
    _check(asked)
    lengths = Lengths(asked.input_tokens, asked.output_tokens)
    limits = TokenLimits(
        *(
            None if text is None else ResponseLimit(99.0, parse_duration_s(text, option))
            for text, option in ((asked.p99_first, "--p99-first"), (asked.p99_token, "--p99-token"))
        )
    )
    rates, _ = batch_arrivals(asked, None)
    table, interrupted = _table(asked, lengths, limits)
    table.check(lengths)
    with doing() as tell:
        tell("simulating")
        spread = table.repeatability or 0.0
        trials = Trials(WINDOWS, seed=asked.seed)
        plans = tuple(
            plan_tokens(table.costs, one, lengths, limits, trials, spread) for one in rates
        )
    answer = TokenAnswer(table, plans, interrupted)
    show(token_plan_view(answer, verbose=asked.verbose), as_json=asked.json)
    return INTERRUPTED if interrupted else answer.exit_code


def _check(asked: Batch) -> None:
    """Refuse impossible options before measuring."""
    others = {
        "a model of images": asked.model,
        "--p99": asked.p99,
        "--p95": asked.p95,
        "--p50": asked.p50,
        "--policy": asked.policy,
        "--fleet": asked.fleet,
        "--ready": asked.ready or None,
        "--crop": asked.crop,
        "--replicas": asked.replicas if asked.replicas > 1 else None,
    }
    if given := [name for name, value in others.items() if value is not None]:
        raise UsageError(
            f"{given[0]} is not for --llm",
            "its limits are --p99-first and --p99-token, and its plan is for one server",
        )
    check_device(asked.device)
    check_precision(asked.precision)
    parse_duration_s(asked.patience, "--patience")
    if asked.table is None:
        require("torch", "transformers", user="measuring a language model")
    if asked.save is None:
        return
    if asked.table is not None:
        raise UsageError("--save keeps what is measured, and --table measures nothing", "drop one")
    check_file(asked.save)


def _table(asked: Batch, lengths: Lengths, limits: TokenLimits) -> tuple[TokenTable, bool]:
    """The named table, or one measured now; and whether Ctrl-C cut it short."""
    if asked.table is not None:
        table = read_token_table(asked.table)
        if asked.llm != table.model:
            raise UsageError(
                f"{asked.table}: the table is of {table.model}, not of {asked.llm}",
                f"give --llm {table.model}, or measure without --table",
            )
        return table, False
    table, interrupted = _measure(asked, lengths, limits)
    if asked.save is not None:
        write_token_table(asked.save, table)
    return table, interrupted


def _measure(asked: Batch, lengths: Lengths, limits: TokenLimits) -> tuple[TokenTable, bool]:
    """Measure tokens of a model on this machine; after Ctrl-C, keep what was measured."""
    model = asked.llm or ""
    factory, options, weights = language_model_source(model)
    patience = Patience(
        parse_duration_s(asked.patience, "--patience"),
        asked.largest,
        limits.token.seconds if limits.token else None,
    )
    precision = check_precision(asked.precision)
    threads = asked.threads or available_threads()
    domains = asked.domain or None
    task = GenerationTask(
        ModelSource(factory, options, (str(Path.cwd()),), model),
        precision,
        1,
        lengths.prompt,
        lengths.output,
        (Part(DECODE, 0.0, 1),),
    )
    task.check()
    end_on_sigterm()
    with ExitStack() as stack:
        recorder = stack.enter_context(
            open_recorder(asked.meter or None, interval_s=asked.interval)
        )
        check_domains(recorder, domains)
        tell = stack.enter_context(doing())
        tell("loading torch")
        device = find_device(asked.device)
        executor = GeneratedAlone(recorder, device.domain, 0.0, tell)
        stack.callback(executor.close)
        measuring = TokenMeasuring(
            executor,
            GenerationJob("loading", device.name, threads, task),
            lengths,
            patience,
            lambda measurement: counted(measurement, domains, device.domain),
            tell,
            asked.seed,
        )
        try:
            measured = measuring.run()
        except KeyboardInterrupt:
            say("interrupted before one sequence was measured: nothing to plan from")
            raise
    table = TokenTable(
        model=model,
        weights=weights,
        precision=precision,
        machine=processor_model() if device.name == "cpu" else device.model,
        device=device.name,
        threads=threads,
        measured_at=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        sources=measured.sources,
        windows=measured.windows,
        remarks=measured.remarks,
    )
    return table, measured.interrupted
