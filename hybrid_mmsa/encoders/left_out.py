"""What becomes of a text's features where words are left out, estimated from one reading of the whole text.

To know it, the text has to be read again without the word. A small network that has seen what came of that for many
words tells it nearly as well from the states of the tokens in a few layers: those of the word, and the mean of the
others. Amortised explanation: Jethani et al. 2022, arXiv 2107.07436; Covert et al. 2024, arXiv 2401.15866. It knows
tokens and states, and nothing of words, labels or heads: what it estimates are features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from ..artefacts import read_arrays
from ..errors import ArtefactError
from ..foreign import translated
from ..products import product
from ..types import FloatArray, IntArray

__all__ = ["DEPTHS", "LeftOut", "LeftOutFile", "TokenStates", "gone_from", "missing", "parts_of"]

DEPTHS = (0.0, 0.5, 1.0)
"""The layers whose states are looked at: the embeddings, the middle one, and the one that features are the mean of."""
NAMES = ("in.weight", "in.bias", "out.weight", "out.bias")


@dataclass(frozen=True, slots=True, eq=False)
class TokenStates:
    """One text as a tower read it, in one window or more.

    Attributes:
        tokens: Of the whole text, without special ones.
        places: int64 `[t]`, which of `tokens` each token that was read is; -1 for special ones and the target.
        states: float32 `[t, len(DEPTHS), d]`; the mean over `t` of the last layer's are the text's features.
    """

    tokens: Sequence[int]
    places: IntArray
    states: FloatArray


def missing(whole: Sequence[int], part: Sequence[int]) -> range:
    """The places of the tokens that a shortened text lacks: between what both versions begin with and end with."""
    most = min(len(whole), len(part))
    start = next((i for i in range(most) if whole[i] != part[i]), most)
    end = next((i for i in range(most - start) if whole[-1 - i] != part[-1 - i]), most - start)
    return range(start, len(whole) - end)


def gone_from(text: TokenStates, versions: Sequence[Sequence[int]]) -> NDArray[np.bool_]:
    """Which of the tokens that were read each shortened version lacks, bool `[n, t]`.

    Args:
        text: The whole text.
        versions: The tokens of each version.
    """
    gone: NDArray[np.bool_] = np.zeros((len(versions), len(text.places)), dtype=bool)
    for row, version in enumerate(versions):
        lacking = missing(text.tokens, version)
        gone[row] = (text.places >= lacking.start) & (text.places < lacking.stop)
    return gone


def parts_of(states: FloatArray, gone: NDArray[np.bool_]) -> FloatArray:
    """What the network reads, float32 `[n, 2 * layers * d]`: mean states of the tokens that go and of those that stay.

    Args:
        states: `[t, layers, d]`.
        gone: `[n, t]`, which tokens are left out; in each row one at least, and not all.
    """
    flat, leaves = states.reshape(len(states), -1), gone.astype(np.float32)
    taken = product(leaves, flat)
    kept = flat.sum(0) - taken
    count = leaves.sum(1, keepdims=True)
    means: FloatArray = np.concatenate([taken / count, kept / (len(states) - count)], axis=1).astype(np.float32)
    return means


class LeftOut:
    """The network: `parts_of` → by how much features change. One hidden layer, x * sigmoid(x) in the middle.

    Args:
        arrays: `in.weight` `[hidden, 2 * layers * d]`, `in.bias`, `out.weight` `[d, hidden]`, `out.bias`.

    Raises:
        ArtefactError: One of them is missing, or they do not fit together.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        shapes = [arrays[name].shape if name in arrays else () for name in NAMES]
        if not all(shapes):
            raise ArtefactError(f"what leaving words out does needs {', '.join(NAMES)}; found {', '.join(arrays)}")
        hidden, width = shapes[0][0], shapes[2][0]
        if shapes != [(hidden, 2 * len(DEPTHS) * width), (hidden,), (width, hidden), (width,)]:
            raise ArtefactError(f"what leaving words out does has arrays of shapes {shapes}, which do not fit together")
        self._arrays = {name: np.asarray(arrays[name], np.float32) for name in NAMES}

    def features(self, text: TokenStates, versions: Sequence[Sequence[int]]) -> FloatArray:
        """About the features of shortened versions of a text, float32 `[n, d]`.

        Args:
            text: The whole text.
            versions: The tokens of each version.
        """
        gone = gone_from(text, versions)
        changed = gone.any(1)
        found = np.repeat(text.states[:, -1].mean(0, keepdims=True), len(versions), axis=0)
        if changed.any():
            found[changed] += self.changes(parts_of(text.states, gone[changed]))
        return found

    def changes(self, parts: FloatArray) -> FloatArray:
        """By how much features change, float32 `[n, d]`; see `parts_of`."""
        hidden = product(parts, self._arrays["in.weight"].T) + self._arrays["in.bias"]
        hidden = (hidden / (1 + np.exp(-hidden))).astype(np.float32)
        return product(hidden, self._arrays["out.weight"].T) + self._arrays["out.bias"]

    def save(self, path: Path, tower: str, facts: Mapping[str, object] | None = None) -> None:
        """Write it as float16, with the hash of the tower it was fitted to, and facts about its making."""
        halves = {name: np.ascontiguousarray(array, np.float16) for name, array in self._arrays.items()}
        told = {name: str(fact) for name, fact in (facts or {}).items()}
        save_file(halves, path, metadata={**told, "tower": tower})


class LeftOutFile:
    """A network in a file, looked at as a tower is opened, and read when something is first left out.

    Args:
        path: Where it is.
        tower: SHA-256 (hex) of the text tower that it has to be fitted to.

    Attributes:
        facts: What it was made with.

    Raises:
        ArtefactError: It cannot be read, or was fitted to another tower.
    """

    def __init__(self, path: Path, tower: str) -> None:
        self.path = path
        with translated(lambda cause: ArtefactError(f"cannot read {path}: {cause}")), safe_open(path, "np") as file:
            self.facts: Mapping[str, str] = file.metadata() or {}
        if (fitted := self.facts.get("tower", "none")) != tower:
            raise ArtefactError(
                f"{path} was fitted to another text tower: to {fitted[:12]}…, not to {tower[:12]}…; make it anew with "
                f"`hybrid-mmsa train left-out --data … --towers {path.parent} --runs …`, or remove it: full "
                "explanations then read a text without each of its words"
            )

    @cached_property
    def network(self) -> LeftOut:
        """The network itself."""
        return LeftOut(read_arrays(self.path))

    @classmethod
    def of_tower(cls, path: Path, tower: str) -> LeftOutFile | None:
        """The file if there is one: a tower of one's own may have none."""
        return cls(path, tower) if path.is_file() else None
