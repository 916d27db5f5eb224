"""Options of ``joulelab load --api openai``."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from joulelab.cli.options import option

LENGTH = "LENGTH"


class Api(StrEnum):
    """Protocols that are more than a request and its answer."""

    OPENAI = "openai"


class EndpointKind(StrEnum):
    """The two forms of the OpenAI protocol."""

    CHAT = "chat"
    COMPLETIONS = "completions"


@dataclass(frozen=True, kw_only=True)
class TokenOptions:
    """What is asked of the server of a language model."""

    api: Api | None = option(
        None, "Protocol of a language model's server; for the options --model to --p99-token."
    )
    model: str | None = option(None, "Name of the model.", "NAME")
    endpoint: EndpointKind | None = option(
        None, "Form of the protocol; default: as the URL says, else chat."
    )
    prompts: Path | None = option(
        None, "JSON lines with prompt or messages, and max_tokens.", "FILE"
    )
    input_tokens: str | None = option(
        None,
        "Length of random prompts: 200, uniform(64, 512), lognormal(200, 0.5). Default: as in the "
        "trace of --arrivals.",
        LENGTH,
    )
    output_tokens: str | None = option(
        None, "Length of answers likewise. Default: as in the prompts or the trace.", LENGTH
    )
    tokenizer: Path | None = option(
        None, "Folder with the model's tokenizer.json: makes --input-tokens exact.", "FOLDER"
    )
    key_env: str | None = option(
        None, "Environment variable with your key; default: OPENAI_API_KEY.", "NAME"
    )
    silence: str | None = option(
        None, "Longest time without a byte of the answer; default: 60s.", "TIME"
    )
    energy_url: str | None = option(
        None,
        "Page for Prometheus with the server's counters of joules: DCGM's, Kepler's, Triton's, "
        "joulelab's; read instead of this machine's meters.",
        "URL",
    )
    energy_metric: str | None = option(
        None, "Counter to read there, where the exporter is unknown.", "NAME"
    )
    p99_first: str | None = option(
        None, "Limit on the 99th percentile of time to the first token.", "TIME"
    )
    p99_token: str | None = option(
        None, "Limit on the 99th percentile of time per output token.", "TIME"
    )

    @property
    def given(self) -> list[str]:
        """The options that were given, as written, but for ``--api``."""
        names = (
            "model",
            "endpoint",
            "prompts",
            "input_tokens",
            "output_tokens",
            "tokenizer",
            "key_env",
            "silence",
            "energy_url",
            "energy_metric",
            "p99_first",
            "p99_token",
        )
        return [f"--{name.replace('_', '-')}" for name in names if getattr(self, name) is not None]
