"""A text tower and an image tower of any make, as one encoder. Knows no library of towers and no labels.

`open_clip` and `hf` fill it with towers that run in torch.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image as Pictures
from PIL.Image import Image

from ..errors import ArtefactError
from ..forks import OpenLock
from ..inputs import reword
from ..types import BoolArray, Features, FloatArray, IntArray, Modality, Sample

__all__ = ["Reading", "Tower", "TowerPair", "grey", "opening", "weights_hash"]

BATCH = 32
_HUB = OpenLock()


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What a text tower made of `n` texts: float32 `[n, d]`, and how much it read; see `Features`."""

    features: FloatArray
    n_tokens: IntArray
    truncated: BoolArray
    unknown_share: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Tower:
    """One tower as its tuning needs it.

    Attributes:
        module: The torch module whose layers may be tuned.
        features: Cleaned texts or RGB pictures, a batch of them → a torch tensor `[n, width]` that keeps gradients.
        example: Something it can read.
    """

    module: Any
    features: Callable[[Sequence[Any]], Any]
    example: Any


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TowerPair:
    """Both towers, safe to call from many threads. Targets are not read: their rows say that none was there.

    Attributes:
        name: How adapters name it.
        hash: SHA-256 (hex) over the weights and all that decides the features.
        text_width, image_width: Feature dimensions.
        read_texts: Cleaned texts, a batch of them or fewer → `Reading`.
        read_pictures: RGB pictures, a batch of them or fewer → float32 `[n, image_width]`.
        towers: Both, for tuning.
    """

    name: str
    hash: str
    text_width: int
    image_width: int
    read_texts: Callable[[Sequence[str]], Reading]
    read_pictures: Callable[[Sequence[Image]], FloatArray]
    towers: Mapping[Modality, Tower] = field(default_factory=dict)

    def encode(self, samples: Sequence[Sample]) -> Features:
        """Features of read posts, in their order; see `Encoder.encode`."""
        n = len(samples)
        texts = {i: reword(s.text) for i, s in enumerate(samples) if s.text}
        pictures = {i: s.image for i, s in enumerate(samples) if isinstance(s.image, Image)}
        has_text, has_image = (np.isin(np.arange(n), list(side)) for side in (texts, pictures))
        values = Features(
            text_features=np.zeros((n, self.text_width), np.float32),
            image_features=np.zeros((n, self.image_width), np.float32),
            has_text=has_text,
            has_image=has_image,
            has_target=np.zeros(n, dtype=bool),
            n_tokens=np.zeros(n, np.int64),
            truncated=np.zeros(n, dtype=bool),
            unknown_share=np.zeros(n, np.float32),
        )
        # Texts of like length go together, so that little time goes into padding.
        for rows in _batches(sorted(texts, key=lambda i: len(texts[i]))):
            reading = self.read_texts([texts[i] for i in rows])
            values.text_features[rows], values.n_tokens[rows] = reading.features, reading.n_tokens
            values.truncated[rows], values.unknown_share[rows] = reading.truncated, reading.unknown_share
        for rows in _batches(list(pictures)):
            values.image_features[rows] = self.read_pictures([pictures[i] for i in rows])
        return values


def _batches(rows: list[int]) -> Iterator[list[int]]:
    yield from (rows[start : start + BATCH] for start in range(0, len(rows), BATCH))


def grey() -> Image:
    """A small picture of nothing, to try a tower on."""
    return Pictures.new("RGB", (8, 8), "grey")


def weights_hash(weights: Mapping[str, Any], facts: object) -> str:
    """SHA-256 (hex) over tensors by name, and over whatever else decides the features.

    Args:
        weights: A state dict.
        facts: Anything whose `repr` says it all: sizes, pooling, how pictures are prepared.
    """
    digest = hashlib.sha256(repr(facts).encode())
    for name in sorted(weights):
        values = np.ascontiguousarray(weights[name].detach().cpu().float().numpy())
        digest.update(f"{name}{values.shape}".encode() + values.tobytes())
    return digest.hexdigest()


@contextmanager
def opening(name: str, fetch: str) -> Iterator[None]:
    """While towers are opened: no hub is asked, and whatever goes wrong is an `ArtefactError`.

    Args:
        name: The encoder's name, for the error.
        fetch: How to get the model once, for the error.
    """
    from huggingface_hub import constants

    # The one switch that all three libraries obey; `local_files_only` reaches not every file they look for.
    with _HUB:
        before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
        silent = logging.root.manager.disable
        logging.disable(logging.CRITICAL)  # the error below reports what goes wrong, once
        try:
            yield
        except ArtefactError:
            raise
        except Exception as error:  # the libraries raise a dozen kinds
            why = " ".join(str(error).split())
            raise ArtefactError(
                f"cannot open the encoder {name!r}: {why[:160]}. Nothing is fetched: {fetch}"
            ) from error
        finally:
            logging.disable(silent)
            constants.HF_HUB_OFFLINE = before
