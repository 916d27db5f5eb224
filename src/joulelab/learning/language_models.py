"""Language models: those of random weights with stated sizes, and folders of Hugging Face.

A registered `LanguageModel` has sizes and no weights: its network is made on the spot from
transformers' class of that architecture. Where the lengths of prompt and output are fixed, the same
operations are computed whatever the weights are, so time and energy do not depend on them; the text
is nonsense. (The power of a processor depends somewhat on the values it multiplies: on a GPU by up
to 40 % between extreme matrices, arXiv:2409.18324.)

A folder is one written by ``save_pretrained``: nothing is downloaded, and code in the folder is not
run. A model that needs code of its own is loaded by a factory of the user's, ``module:attribute``.

`build_random` and `build_pretrained` are factories of the kind that serving takes: plain arguments
in, a module out.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from joulelab.errors import UnknownNameError, UsageError, quoted
from joulelab.optional import optional
from joulelab.plain import expanded
from joulelab.registry import Registry

if TYPE_CHECKING:
    from torch import nn

RANDOM_FACTORY = "joulelab.learning.language_models:build_random"
PRETRAINED_FACTORY = "joulelab.learning.language_models:build_pretrained"
CONFIG = "config.json"
RANDOM = "random"
USER = "a language model"


@dataclass(frozen=True)
class LanguageModel:
    """The sizes of a decoder-only transformer.

    Attributes:
        architecture: ``"gpt2"`` (learned positions, layer norm, full attention) or ``"llama"``
            (rotary positions, gated feed-forward, grouped keys and values).
        layers: number of blocks.
        width: of the hidden state.
        heads: of the attention.
        kv_heads: heads of keys and values; those of a GPT-2 are `heads`.
        feed_forward: width of the feed-forward part.
        vocabulary: number of tokens.
        context: most tokens of prompt and output together.
        tied: whether the last layer shares the weights of the embedding.
    """

    architecture: Literal["gpt2", "llama"]
    layers: int
    width: int
    heads: int
    kv_heads: int
    feed_forward: int
    vocabulary: int
    context: int
    tied: bool = True

    def parameters(self) -> int:
        """Number of parameters, by arithmetic.

        >>> f"{GPT2.parameters():,}"
        '124,439,808'
        """
        width, kv_width = self.width, self.width * self.kv_heads // self.heads
        embedding = self.vocabulary * width
        head = 0 if self.tied else embedding
        if self.architecture == "gpt2":
            attention = 4 * width * width + 4 * width
            feed_forward = 2 * width * self.feed_forward + self.feed_forward + width
            norms, last_norm, positions = 4 * width, 2 * width, self.context * width
        else:
            attention = 2 * width * width + 2 * width * kv_width
            feed_forward = 3 * width * self.feed_forward
            norms, last_norm, positions = 2 * width, width, 0
        block = attention + feed_forward + norms
        return embedding + positions + self.layers * block + last_norm + head

    def cache_values_per_token(self) -> int:
        """Numbers that the cache of keys and values keeps for a token of one sequence."""
        return 2 * self.layers * self.width * self.kv_heads // self.heads


GPT2_TINY = LanguageModel("gpt2", 4, 256, 4, 4, 1024, 50_257, 1024)
LLAMA_TINY = LanguageModel("llama", 4, 256, 4, 2, 688, 32_000, 2048, tied=False)
GPT2 = LanguageModel("gpt2", 12, 768, 12, 12, 3072, 50_257, 1024)
"""Radford et al., "Language Models are Unsupervised Multitask Learners", 2019."""
LLAMA_1B = LanguageModel("llama", 16, 2048, 32, 8, 8192, 128_256, 131_072)
"""Llama 3.2 1B, as its model card has it (Meta, 2024)."""

language_models: Registry[LanguageModel] = Registry(
    "language model",
    "joulelab.language_models",
    {
        "gpt2-tiny": (f"{__name__}:GPT2_TINY", "a GPT-2 of 4 layers, 16 million parameters"),
        "llama-tiny": (f"{__name__}:LLAMA_TINY", "a Llama of 4 layers, 19 million parameters"),
        "gpt2": (f"{__name__}:GPT2", "the smallest GPT-2, 124 million parameters"),
        "llama-1b": (f"{__name__}:LLAMA_1B", "the sizes of Llama 3.2 1B, 1.24 billion parameters"),
    },
)


def sizes_of(text: str) -> LanguageModel | None:
    """The sizes of a model by its user name; ``None`` where they are not registered.

    Args:
        text: as for `language_model_source`.
    """
    return language_models.get(text) if text in language_models.names() else None


def language_model_source(text: str) -> tuple[str, dict[str, Any], str]:
    """A user's model name as a factory, its options, and its weights in words.

    Args:
        text: a registered name, a folder with a causal model of Hugging Face, or a factory of the
            user's own, ``module:attribute``.

    Raises:
        UnknownNameError: no such name and no such folder.
        UsageError: a folder without a model, or half of ``module:attribute``.
    """
    if (sizes := sizes_of(text)) is not None:
        return RANDOM_FACTORY, asdict(sizes), RANDOM
    folder = expanded(text)
    if folder.is_dir():
        if not (folder / CONFIG).is_file():
            raise UsageError(
                f"{folder} has no {CONFIG}", "give a folder written by save_pretrained"
            )
        return PRETRAINED_FACTORY, {"folder": str(folder.resolve())}, f"of {folder.name}"
    module, colon, attribute = text.partition(":")
    if not colon or "/" in module:
        raise UnknownNameError(
            "language model, folder or module:factory", text, language_models.names()
        )
    if not module or not attribute:
        raise UsageError(
            f"the model {quoted(text)} does not name a factory", "write it as module:attribute"
        )
    return text, {}, "as the factory returns them"


def build_random(architecture: str, **sizes: Any) -> nn.Module:  # noqa: ANN401 - plain sizes
    """A causal model of random weights, the same in every process.

    Args:
        architecture: of `LanguageModel`.
        **sizes: its other attributes.

    Raises:
        MissingDependencyError: transformers is not installed.
    """
    transformers = optional("transformers", USER)
    import torch

    one = LanguageModel(architecture, **sizes)  # type: ignore[arg-type]
    config = transformers.GPT2Config if one.architecture == "gpt2" else transformers.LlamaConfig
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: nn.Module = transformers.AutoModelForCausalLM.from_config(config(**_arguments(one)))
    return model


def build_pretrained(folder: str) -> nn.Module:
    """The causal model in a folder; nothing is downloaded, and none of its code is run.

    Args:
        folder: written by ``save_pretrained``.

    Raises:
        MissingDependencyError: transformers is not installed.
        UsageError: the folder has no causal model, or one that needs code of its own.
    """
    transformers = optional("transformers", USER)
    try:
        model: nn.Module = transformers.AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # transformers raises anything for a broken folder
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UsageError(
            f"{folder} has no causal model that can be loaded: {first}",
            "for a model with code of its own, give a factory, module:attribute, that loads it",
        ) from error
    return model


def _arguments(one: LanguageModel) -> dict[str, Any]:
    """The arguments of transformers' configuration class."""
    common = {"vocab_size": one.vocabulary, "tie_word_embeddings": one.tied}
    if one.architecture == "gpt2":
        return common | {
            "n_layer": one.layers,
            "n_embd": one.width,
            "n_head": one.heads,
            "n_inner": one.feed_forward,
            "n_positions": one.context,
        }
    return common | {
        "num_hidden_layers": one.layers,
        "hidden_size": one.width,
        "num_attention_heads": one.heads,
        "num_key_value_heads": one.kv_heads,
        "intermediate_size": one.feed_forward,
        "max_position_embeddings": one.context,
    }
