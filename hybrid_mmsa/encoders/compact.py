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
from dataclasses import dataclass, field
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
from ..onnx import Shown, open_session
from ..types import BoolArray, Features, FloatArray, IntArray, Sample
from .base import PostMap
from .left_out import DEPTHS, LeftOutFile, TokenStates
from .wordpieces import TokenBatch, WordPieces, padded_length

__all__ = ["PICTURE_TOWER", "CompactEncoder", "CompactManifest"]

TOKENS, PICTURES = 256, 8
"""Tokens, padding included, and pictures that a tower reads at a time. So many tokens keep their activations in the
processor's cache: 32 windows of 128 take 2.6 times as long each. More pictures would take as long and 6 MB more."""
FILES = ("text.onnx", "image.onnx", "tokenizer.json")
LEFT_OUT = "left_out.safetensors"
"""See `left_out`. No part of the encoder's hash: it changes no features."""
STATES = Shown("LayerNormalization", DEPTHS)
"""The embeddings of the text tower end with one, and each layer with the second of its two."""
WEIGHTS = Path(__file__).parent / "weights" / "compact"
PICTURE_TOWER = WEIGHTS / FILES[1]


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
            image = pool.submit(open_session, folder / FILES[1], threads)
            self._text, self._image = open_session(folder / FILES[0], threads, STATES), image.result()
        self._left_out = LeftOutFile.of_tower(folder / LEFT_OUT, self.manifest.files[FILES[0]])

    def __reduce__(self) -> tuple[Any, ...]:
        folder, threads, name = self._arguments
        return partial(type(self), threads=threads, name=name), (folder.resolve(),)  # sessions cannot be pickled

    def encode(self, samples: Sequence[Sample]) -> Features:
        """Features of read posts, in their order; see `Encoder.encode`."""
        return self._encode(samples)

    def encode_mapped(self, samples: Sequence[Sample]) -> tuple[Features, list[PostMap]]:
        """Features, states of tokens, and the map of the picture; see `MappedEncoder.encode_mapped`."""
        kept = _Kept()
        features = self._encode(samples, kept)
        words = kept.words if self._left_out is not None else {}
        return features, [
            PostMap(kept.maps.get(row), words.get(row), kept.pixels.get(row)) for row in range(len(samples))
        ]

    def token_states(self, samples: Sequence[Sample]) -> list[TokenStates | None]:
        """How the text tower reads each post's tokens; `None` without words. What a `LeftOut` is fitted to."""
        kept = _Kept()
        self._encode(samples, kept)
        return [kept.words.get(row) for row in range(len(samples))]

    def without_words(self, post: PostMap, texts: Sequence[str]) -> FloatArray:
        """See `MappedEncoder.without_words`.

        Raises:
            InputError: Nothing was kept of the post's words, as with a tower that no `LeftOut` was fitted to.
        """
        if self._left_out is None or not isinstance(post.words, TokenStates):
            raise InputError("nothing was kept of the words; wanted what `encode_mapped` gives", field="text")
        return self._left_out.network.features(post.words, [self.token_numbers(text) for text in texts])

    def token_numbers(self, text: str) -> list[int]:
        """The tokens of a text as the tower would read them, without special ones."""
        return self._pieces.numbers(_sentence(text))

    def _encode(self, samples: Sequence[Sample], kept: _Kept | None = None) -> Features:
        texts = [_sentence(s.text) if s.text else "" for s in samples]
        targets = [reword(s.target) if s.target and t else "" for s, t in zip(samples, texts, strict=True)]
        has_text = np.array([bool(t) for t in texts], dtype=bool)
        has_image = np.array([s.image is not None for s in samples], dtype=bool)
        tokens = self._pieces.encode(texts, targets)
        text_features, states = self._read_texts(tokens, has_text, keep=kept is not None)
        image_features = self._read_pictures(samples, np.flatnonzero(has_image), kept)
        if kept is not None:
            for row in np.flatnonzero(has_text).tolist() if states else ():
                windows = np.flatnonzero(tokens.text == row).tolist()
                kept.words[row] = TokenStates(
                    tokens=self._pieces.numbers(texts[row]),
                    places=np.concatenate([tokens.places[w, : len(states[w])] for w in windows]),
                    states=np.concatenate([states[w] for w in windows]),
                )
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

    def _read_texts(
        self, tokens: TokenBatch, chosen: BoolArray, *, keep: bool
    ) -> tuple[FloatArray, dict[int, FloatArray]]:
        """Features by text, and by window the states `[t, layers, d]` of its tokens where they are kept."""
        found = np.zeros((len(chosen), self.manifest.text_width), np.float32)
        states: dict[int, FloatArray] = {}
        lengths, outputs = tokens.mask.sum(1), self._text.outputs if keep else ["features"]
        for windows in _buckets(lengths, chosen[tokens.text]):
            length = padded_length(int(lengths[windows].max()))
            inputs = {"ids": tokens.ids[windows, :length], "mask": tokens.mask[windows, :length]}
            features, *layers = self._text.run(outputs, inputs)
            np.add.at(found, tokens.text[windows], features * tokens.shares[windows, None])
            for place, window in enumerate(windows) if layers else ():
                states[int(window)] = np.stack([layer[place, : lengths[window]] for layer in layers], axis=1)
        return found, states

    def _read_pictures(self, samples: Sequence[Sample], chosen: IntArray, kept: _Kept | None) -> FloatArray:
        """Features by post."""
        found = np.zeros((len(samples), self.manifest.image_width), np.float32)
        for start in range(0, len(chosen), PICTURES):
            rows = chosen[start : start + PICTURES]
            pixels = self._pixels([samples[row].image for row in rows])
            outputs = ["features"] if kept is None else ["features", "map"]
            found[rows], *maps = self._image.run(outputs, {"pixels": pixels})
            if kept is not None:
                kept.pixels.update(zip(rows.tolist(), pixels, strict=True))
                kept.maps.update(zip(rows.tolist(), maps[0].transpose(0, 2, 3, 1), strict=True))
        return found

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

    def _pixels(self, pictures: Sequence[object]) -> NDArray[np.uint8]:
        return np.stack([to_pixels(p, self.manifest.image_size) for p in pictures if isinstance(p, Image)])


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is kept of a batch as it is read, by post."""

    words: dict[int, TokenStates] = field(default_factory=dict)
    maps: dict[int, FloatArray] = field(default_factory=dict)
    pixels: dict[int, NDArray[np.uint8]] = field(default_factory=dict)


def _sentence(text: str) -> str:
    """What is read of a text."""
    return as_sentence(reword(text))


def _buckets(lengths: IntArray, chosen: BoolArray) -> Iterator[IntArray]:
    """Row numbers in batches of like length, so that little time goes into padding, and of `TOKENS` at the most."""
    rows = np.flatnonzero(chosen)
    rows = rows[np.argsort(-lengths[rows], kind="stable")]
    start = 0
    while start < len(rows):
        stop = start + max(TOKENS // padded_length(int(lengths[rows[start]])), 1)  # the longest stands first
        yield rows[start:stop]
        start = stop
