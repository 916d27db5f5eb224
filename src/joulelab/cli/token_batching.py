"""``joulelab batch --llm``: measure tokens, plan continuous batching, and show the answer."""

from __future__ import annotations

from pathlib import Path

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
from joulelab.cli.token_plan import TokenAnswer, token_plan_view
from joulelab.errors import UsageError
from joulelab.kinds.generation.executor import GenerationExecutor, GenerationJob
from joulelab.kinds.generation.table_measuring import TokenWork
from joulelab.kinds.generation.token_table import (
    TokenTable,
    check_precision,
    read_token_table,
    write_token_table,
)
from joulelab.learning.language_models import language_model_source
from joulelab.serving.generation.planning import WINDOWS, TokenLimits, plan_tokens
from joulelab.serving.generation.simulation import Lengths
from joulelab.serving.generation.tasks import DECODE, GenerationTask, Part
from joulelab.serving.planning.comparison import ResponseLimit, Trials
from joulelab.serving.tasks import ModelSource


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
    table, interrupted = table_of(
        asked, read_token_table, lambda: _measure(asked, lengths, limits), write_token_table
    )
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
    check_precision(asked.precision)
    check_measuring(asked, "torch", "transformers", user="measuring a language model")


def _measure(asked: Batch, lengths: Lengths, limits: TokenLimits) -> tuple[TokenTable, bool]:
    """Measure tokens of a model on this machine; after Ctrl-C, keep what was measured."""
    model = asked.llm or ""
    factory, options, weights = language_model_source(model)
    precision = check_precision(asked.precision)
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
    measured, where = measured_here(
        asked,
        limits.token,
        GenerationExecutor,
        lambda device, threads: TokenWork(GenerationJob("loading", device, threads, task)),
        "one sequence",
    )
    table = TokenTable(
        model=model,
        weights=weights,
        precision=precision,
        sources=measured.sources,
        windows=measured.windows,
        remarks=measured.remarks,
        **where,
    )
    return table, measured.interrupted
