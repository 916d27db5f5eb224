"""Tiny language models made on the spot: random weights, and a tokenizer of bytes.

python examples/llm/tiny.py gpt2 FOLDER      # written as other programs read them

Energy and time depend on shapes and lengths, not on what the weights say.
"""

from __future__ import annotations

import sys

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    LlamaConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

END = "<|end|>"
CONTEXT, WIDTH, LAYERS, HEADS = 1024, 128, 2, 4
TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def load(name: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A causal language model and its tokenizer: ``gpt2``, ``llama``, or those in a folder."""
    if name not in ("gpt2", "llama"):
        return AutoModelForCausalLM.from_pretrained(name).eval(), AutoTokenizer.from_pretrained(
            name
        )
    tokenizer = byte_tokenizer()
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(configuration(name, tokenizer))
    return model.eval(), tokenizer


def configuration(name: str, tokenizer: PreTrainedTokenizerBase) -> PretrainedConfig:
    """A small configuration of the GPT-2 or the Llama kind."""
    end = {"bos_token_id": tokenizer.eos_token_id, "eos_token_id": tokenizer.eos_token_id}
    size = {"vocab_size": len(tokenizer), **end}
    if name == "gpt2":
        return GPT2Config(n_positions=CONTEXT, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS, **size)
    return LlamaConfig(
        max_position_embeddings=CONTEXT,
        hidden_size=WIDTH,
        intermediate_size=3 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS // 2,
        **size,
    )


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer for which every byte of a text is a token."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: number for number, letter in enumerate([*alphabet, END])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END)
    fast.chat_template = TEMPLATE
    return fast


if __name__ == "__main__":
    for part in load(sys.argv[1]):
        part.save_pretrained(sys.argv[2])
