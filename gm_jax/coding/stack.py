"""A stack of bits on which symbols are pushed and popped (asymmetric numeral systems; Duda, 2013).

The coder is `constriction`'s: it is maintained, has 24 bits of precision, and gives every symbol at
least one part of 2²⁴, so that any image can be coded. Other coders on PyPI have 16 bits, need
PyTorch, or are no longer maintained.
"""

from typing import Any

import numpy as np

from gm_jax.borders import reading


class Stack:
    """The last symbol that was pushed is the first that is popped.

    A symbol whose mass is p costs −log₂ p bits, up to 256/2²⁴ of them. Symbols that are popped
    before any was pushed come of the words that lie at the bottom; those that were never reached
    are not part of `words`.
    """

    def __init__(self, bottom: np.ndarray | None = None):
        """Puts uint32 words at the bottom, such as `words` of another stack."""
        stream = constriction_module().stream
        self._family = stream.model.Categorical(perfect=False)
        coder = stream.stack.AnsCoder
        self._coder = coder() if bottom is None or not len(bottom) else coder(bottom)
        self._had_bottom, self._reached = bottom is not None, self._coder.num_words()

    def push(self, symbols: np.ndarray, masses: np.ndarray) -> None:
        """Pushes int [S] whose masses are float [S, n], so that `pop` returns them in order."""
        self._coder.encode_reverse(
            np.ascontiguousarray(symbols, np.int32),
            self._family,
            np.ascontiguousarray(masses, np.float64),
        )

    def pop(self, masses: np.ndarray) -> np.ndarray:
        """Pops int32 [S] whose masses are float [S, n]."""
        symbols = self._coder.decode(self._family, np.ascontiguousarray(masses, np.float64))
        self._reached = min(self._reached, self._coder.num_words())
        return symbols

    @property
    def emptied(self) -> bool:
        """Whether symbols came of a bottom that has no words left: then they cannot be undone."""
        return self._had_bottom and self._reached <= 2

    def words(self) -> np.ndarray:
        """What a stack needs at its bottom to be popped as this one can be: uint32."""
        # The last two words are the coder's state, which every pop changes.
        return self._coder.get_compressed()[max(0, self._reached - 2) :]


def random_words(count: int) -> np.ndarray:
    """The same pseudorandom words for all: uint32 [count], of which the last is not zero."""
    words = np.random.Generator(np.random.PCG64(0)).integers(0, 2**32, count, np.uint32)
    return np.append(words[:-1], words[-1] | np.uint32(1))


def to_bytes(words: np.ndarray) -> bytes:
    """Words as little-endian bytes."""
    return words.astype("<u4").tobytes()


def from_bytes(content: bytes) -> np.ndarray:
    """Words uint32 from little-endian bytes; ValueError for a payload that is none."""
    with reading("the payload", "copy the file anew"):
        return np.frombuffer(content, "<u4").astype(np.uint32)


def constriction_module() -> Any:
    """The package, which is an extra; ValueError if it is missing."""
    try:
        import constriction  # an extra
    except ImportError:
        raise ValueError(
            "compressing needs constriction, which is missing: pip install -e '.[coding]'"
        ) from None
    return constriction
