"""The bundled encoder pair in int8 ONNX: an MPNet text tower and a small image tower. Knows nothing of labels.

Words are multiplied in whole numbers with scales that belong to one token, pictures in float32. So a post's features
are the same alone, padded and in any batch; scales over a batch would let a neighbour change them
(microsoft/onnxruntime#10111).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image
from pydantic import Field, TypeAdapter, ValidationError

from ..artefacts import wrong_fields
from ..errors import ArtefactError, InputError
from ..inputs import as_sentence, reword, to_pixels
from ..types import BoolArray, Features, FloatArray, IntArray, Sample
from .onnx_session import open_session
from .wordpieces import TokenBatch, WordPieces, padded_length

__all__ = ["CompactEncoder", "CompactManifest"]

TOKENS, PICTURES = 256, 8
"""Tokens, padding included, and pictures that a tower reads at a time. So many tokens keep their activations in the
processor's cache: 32 windows of 128 take 2.6 times as long each. More pictures would take as long and 6 MB more."""
FILES = ("text.onnx", "image.onnx", "tokenizer.json")
WEIGHTS = Path(__file__).parent / "weights" / "compact"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactManifest:
    """`compact.json`: what the tower files are and what they must hash to.

    Attributes:
        max_tokens: Longest sequence of the text tower, special tokens included.
        image_size: Side of the square the image tower reads, in pixels.
        text_width, image_width: Feature dimensions.
        files: SHA-256 (hex) of `text.onnx`, `image.onnx` and `tokenizer.json`.
    """

    max_tokens: Annotated[int, Field(ge=8, le=8192)]
    image_size: Annotated[int, Field(ge=16, le=2048)]
    text_width: Annotated[int, Field(ge=1, le=16_384)]
    image_width: Annotated[int, Field(ge=1, le=16_384)]
    files: dict[str, str]

    @classmethod
    def load(cls, folder: Path) -> CompactManifest:
        """Read `compact.json`; `check` compares the files with it.

        Raises:
            ArtefactError: It is missing, or no such manifest.
        """
        try:
            manifest = TypeAdapter(cls).validate_json((folder / "compact.json").read_bytes(), strict=True)
        except ValidationError as error:
            raise ArtefactError(f"no readable encoder manifest in {folder}: {wrong_fields(error)}") from None
        except (OSError, ValueError, TypeError) as error:
            raise ArtefactError(f"no readable encoder manifest in {folder}: {error}") from error
        if sorted(manifest.files) != sorted(FILES):
            raise ArtefactError(f"the encoder manifest in {folder} must hold the hashes of {', '.join(FILES)}")
        return manifest

    def check(self, folder: Path) -> None:
        """Check every file against its hash.

        Raises:
            ArtefactError: A file is missing or differs from what the manifest says.
        """
        for name, expected in self.files.items():
            if not (folder / name).is_file():
                raise ArtefactError(f"the encoder file {folder / name} is missing; reinstall hybrid-mmsa")
            with (folder / name).open("rb") as file:
                actual = hashlib.file_digest(file, "sha256").hexdigest()
            if actual != expected:
                raise ArtefactError(
                    f"{folder / name} has SHA-256 {actual[:12]}…, wanted {expected[:12]}…: damaged or replaced"
                )

    @property
    def hash(self) -> str:
        """One SHA-256 (hex) over the file hashes and sizes."""
        facts = [self.max_tokens, self.image_size, sorted(self.files.items())]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


class CompactEncoder:
    """Both towers, opened once, safe to call from many threads.

    Args:
        folder: Where the tower files are; the bundled ones by default.
        threads: Threads per operator; default 1, which suits servers and batch jobs with workers of their own.
        name: How adapters name it.
    """

    def __init__(self, folder: Path = WEIGHTS, *, threads: int = 1, name: str = "compact") -> None:
        self.name = name
        self._arguments = (folder, threads, name)
        self.manifest = CompactManifest.load(folder)
        self.hash = self.manifest.hash
        with ThreadPoolExecutor(2) as pool:  # hashing and opening take most of a start, and let other threads run
            checked = pool.submit(self.manifest.check, folder)
            pieces = pool.submit(WordPieces, folder / "tokenizer.json", self.manifest.max_tokens)
            checked.result()  # before a damaged file is opened, and before anything else is said of it
            self._pieces = pieces.result()
            self._text, self._image = pool.map(lambda name: open_session(folder / name, threads), FILES[:2])

    def __reduce__(self) -> tuple[Any, ...]:
        folder, threads, name = self._arguments
        return partial(type(self), threads=threads, name=name), (folder.resolve(),)  # sessions cannot be pickled

    def encode(self, samples: Sequence[Sample]) -> Features:
        """Features of read posts, in their order; see `Encoder.encode`."""
        n = len(samples)
        texts = [as_sentence(reword(s.text)) if s.text else "" for s in samples]
        targets = [reword(s.target) if s.target and t else "" for s, t in zip(samples, texts, strict=True)]
        has_text = np.array([bool(t) for t in texts], dtype=bool)
        has_image = np.array([s.image is not None for s in samples], dtype=bool)
        text_features = np.zeros((n, self.manifest.text_width), np.float32)
        image_features = np.zeros((n, self.manifest.image_width), np.float32)
        tokens = self._pieces.encode(texts, targets)
        for windows in _buckets(tokens.mask.sum(1), has_text[tokens.text]):
            features = self._read_windows(tokens, windows) * tokens.shares[windows, None]
            np.add.at(text_features, tokens.text[windows], features)
        pictures = np.flatnonzero(has_image)
        for start in range(0, len(pictures), PICTURES):
            rows = pictures[start : start + PICTURES]
            image_features[rows] = self._read_pictures([samples[i].image for i in rows])
        return Features(
            text_features=text_features,
            image_features=image_features,
            has_text=has_text,
            has_image=has_image,
            has_target=np.array([bool(t) for t in targets], dtype=bool),
            n_tokens=np.where(has_text, tokens.n_tokens, 0),
            truncated=tokens.truncated,
            unknown_share=tokens.unknown_share,
        )

    def image_maps(self, samples: Sequence[Sample]) -> FloatArray:
        """The last feature map of each picture, float32 `[n, rows, columns, d_image]`; see `MapEncoder`."""
        pictures = [s.image for s in samples]
        if not pictures or not all(isinstance(p, Image) for p in pictures):
            raise InputError("found no picture that was read, or a post without one; wanted one each", field="image")
        parts = [
            self._image.run(["map"], {"pixels": self._pixels(pictures[start : start + PICTURES])})[0]
            for start in range(0, len(pictures), PICTURES)
        ]
        return np.ascontiguousarray(np.concatenate(parts).transpose(0, 2, 3, 1))

    def _read_windows(self, tokens: TokenBatch, rows: IntArray) -> FloatArray:
        length = padded_length(int(tokens.mask[rows].sum(1).max()))
        inputs = {"ids": tokens.ids[rows, :length], "mask": tokens.mask[rows, :length]}
        features: FloatArray = self._text.run(["features"], inputs)[0]
        return features

    def _read_pictures(self, pictures: Sequence[object]) -> FloatArray:
        features: FloatArray = self._image.run(["features"], {"pixels": self._pixels(pictures)})[0]
        return features

    def _pixels(self, pictures: Sequence[object]) -> NDArray[np.uint8]:
        return np.stack([to_pixels(p, self.manifest.image_size) for p in pictures if isinstance(p, Image)])


def _buckets(lengths: IntArray, chosen: BoolArray) -> Iterator[IntArray]:
    """Row numbers in batches of like length, so that little time goes into padding, and of `TOKENS` at the most."""
    rows = np.flatnonzero(chosen)
    rows = rows[np.argsort(-lengths[rows], kind="stable")]
    start = 0
    while start < len(rows):
        stop = start + max(TOKENS // padded_length(int(lengths[rows[start]])), 1)  # the longest stands first
        yield rows[start:stop]
        start = stop
