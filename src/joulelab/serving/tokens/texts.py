"""Prompts of a given length in tokens, no two alike.

A server counts tokens with its own tokenizer. With

    w    words of a prompt, each of four letters, which most vocabularies have as one token
    n    its tokens, as the server counts them

``n = a + b w``, where the template of a chat makes a, and the tokenizer b: 1 for one with these
words, 5 for one of bytes. Two prompts of a probe give both. With the tokenizer itself the length is
exact, but for a template's part, which again is found by the probe.

Words are drawn for each prompt, so that a prefix cache of the server knows none of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from joulelab.errors import UsageError
from joulelab.optional import optional

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_WORDS = (
    "also army baby ball bank bear been bill blue body born call camp care cell club coat "
    "come cool cost data days deal deep door draw duty east edge ever fact fall fast feel "
    "file film fine firm five food form free full game girl goal gone gray grow half hand "
    "head heat help high hold home hour idea item jump just kept king know lady land late "
    "left life like list long lord love make mark mean meet mine moon most much name neck "
    "news nine note only over paid pair part past plan poor post rain read rest rich ring "
    "risk rock roof root rule said salt sand seat seem self send ship show sign size snow "
    "soil some soon star step such sure talk task tell test than them they this tiny tone "
    "tool tree true twin unit used very vote wait wall warm wave well were what wide wild "
    "wind wing wise with word work year zero"
)
WORDS = tuple(_WORDS.split())
_FILLER = " a"
_ROUNDS = 12


def words(count: int, rng: np.random.Generator) -> str:
    """A text of random words.

    Args:
        count: of words, at least 1.
        rng: draws them.
    """
    return " ".join(WORDS[one] for one in rng.integers(len(WORDS), size=count))


class Writer(ABC):
    """Writes prompts of given lengths."""

    @abstractmethod
    def text(self, tokens: int, rng: np.random.Generator) -> str:
        """A prompt.

        Args:
            tokens: its length as the server counts it; the shortest text has a word.
            rng: draws its words.
        """


@dataclass(frozen=True)
class WordWriter(Writer):
    """Writes by the number of words.

    Args:
        overhead: tokens of a prompt without words, a.
        per_word: tokens of a word, b.
    """

    overhead: float = 0.0
    per_word: float = 1.0

    @classmethod
    def between(cls, shorter: tuple[int, int], longer: tuple[int, int]) -> WordWriter:
        """As two prompts have shown.

        Args:
            shorter: words and tokens of one.
            longer: of one with more words.
        """
        per_word = (longer[1] - shorter[1]) / (longer[0] - shorter[0])
        if per_word <= 0:
            return cls()
        return cls(shorter[1] - per_word * shorter[0], per_word)

    def text(self, tokens: int, rng: np.random.Generator) -> str:
        """A text of the number of words that comes closest."""
        return words(max(1, round((tokens - self.overhead) / self.per_word)), rng)


class ExactWriter(Writer):
    """Writes with the tokenizer of the model.

    Args:
        tokenizer: of the library tokenizers.
        overhead: tokens that the template of a chat adds.
    """

    def __init__(self, tokenizer: Tokenizer, overhead: int = 0) -> None:
        self._tokenizer = tokenizer
        self._overhead = overhead

    def count(self, text: str) -> int:
        """Tokens of a text, with those that the tokenizer adds itself."""
        return len(self._tokenizer.encode(text).ids)

    def with_overhead(self, tokens: int) -> ExactWriter:
        """The same, where a template adds tokens."""
        return ExactWriter(self._tokenizer, tokens)

    def text(self, tokens: int, rng: np.random.Generator) -> str:
        """A text of exactly this length, if words and single letters can make one."""
        wanted = max(1, tokens - self._overhead)
        drawn = words(wanted, rng).split(" ")  # a word has a token at least
        few, many = 1, len(drawn)
        for _ in range(_ROUNDS + many.bit_length()):
            if few >= many:
                break
            middle = (few + many + 1) // 2
            if self.count(" ".join(drawn[:middle])) <= wanted:
                few = middle
            else:
                many = middle - 1
        text = " ".join(drawn[:few])
        while (now := self.count(text)) < wanted:
            longer = text + _FILLER
            if self.count(longer) > wanted:
                longer = text + "."
            if not now < self.count(longer) <= wanted:
                break
            text = longer
        return text


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer in the folder of a model.

    Args:
        folder: has a file ``tokenizer.json``.

    Raises:
        UsageError: it has none, or a damaged one.
        MissingDependencyError: the library is not installed.
    """
    library = optional("tokenizers", "--tokenizer")
    path = folder / "tokenizer.json" if folder.is_dir() else folder
    if not path.is_file():
        raise UsageError(
            f"{path} does not exist",
            "write it with transformers: AutoTokenizer.from_pretrained(...).save_pretrained(DIR)",
        )
    try:
        tokenizer: Tokenizer = library.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises Exception itself
        raise UsageError(f"{path} is not a tokenizer: {error}", "write the file again") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
