"""Trained towers → the compact encoder's folder, and how far int8 moved its answers. Knows nothing of fusion."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from PIL.Image import Image

from ...encoders.compact import CompactManifest
from ...encoders.wordpieces import WordPieces
from ...inputs import clean, to_pixels
from ...types import Features, Sample
from .export_image import export_image
from .export_text import export_text
from .image_tower import WIDTH, ImageTower
from .text_tower import TextTower, start_folder

__all__ = ["ExactEncoder", "export_compact"]

FILES = ("text.onnx", "image.onnx", "tokenizer.json")


def export_compact(text: TextTower, image: ImageTower, folder: Path, *, max_tokens: int, side: int) -> None:
    """Write `text.onnx`, `image.onnx`, `tokenizer.json` and `compact.json`.

    Args:
        text: The trained text tower.
        image: The trained image tower.
        folder: Where to.
        max_tokens: Longest sequence the text tower reads.
        side: Side of the image tower's square in pixels.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights, branch = (
        {name: value.detach().float().numpy() for name, value in part.state_dict().items()}
        for part in (text.encoder, text.branch)
    )
    export_text(weights, branch, text.encoder.config.num_attention_heads, folder / "text.onnx")
    export_image(image, side, folder / "image.onnx")
    shutil.copyfile(start_folder() / "tokenizer.json", folder / "tokenizer.json")
    hashes = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES}
    width = 2 * text.encoder.config.hidden_size
    manifest = CompactManifest(max_tokens, side, text_width=width, image_width=WIDTH, files=hashes)
    (folder / "compact.json").write_text(json.dumps(asdict(manifest), indent=1) + "\n", encoding="utf-8")


class ExactEncoder:
    """The towers in float32 torch behind the `Encoder` protocol, to compare the int8 ones with."""

    name = "compact-exact"
    hash = ""

    def __init__(self, text: TextTower, image: ImageTower, *, max_tokens: int, side: int) -> None:
        self.text, self.image, self.side = text.eval(), image.eval(), side
        self.pieces = WordPieces(start_folder() / "tokenizer.json", max_tokens)

    def encode(self, samples: Sequence[Sample]) -> Features:
        """Features of read posts; see `Encoder.encode`."""
        texts = [clean(s.text) if s.text else "" for s in samples]
        targets = [clean(s.target) if s.target and t else "" for s, t in zip(samples, texts, strict=True)]
        tokens = self.pieces.encode(texts, targets)
        has_text = np.array([bool(t) for t in texts])
        has_image = np.array([s.image is not None for s in samples])
        image = np.zeros((len(samples), WIDTH), np.float32)
        with torch.inference_mode():
            text = self.text.features(tokens).numpy() * has_text[:, None]
            pictures = [to_pixels(s.image, self.side) for s in samples if isinstance(s.image, Image)]
            if pictures:
                image[has_image] = self.image.features(torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)).numpy()
        has_target = np.array([bool(t) for t in targets])
        return Features(
            text.astype(np.float32),
            image,
            has_text,
            has_image,
            has_target,
            tokens.n_tokens,
            tokens.truncated,
            tokens.unknown_share,
        )
