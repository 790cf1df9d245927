"""CLIP-like models through open_clip (extra `clip`), from local files or the local cache. Knows nothing of labels.

Both sides are scaled to length 1, as such models compare them. A model may be

    open_clip:ViT-B-32/laion2b_s34b_b79k   an architecture and a tag that open_clip knows, fetched earlier
    open_clip:ViT-B-32/my/weights.safetensors   an architecture and a checkpoint file
    open_clip:my/folder   a folder with `open_clip_config.json` and its weights
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from PIL.Image import Image

from ..errors import ArtefactError
from ..forks import OpenLock
from ..types import FloatArray, Modality
from .pair import Reading, Tower, TowerPair, grey, opening, weights_hash

__all__ = ["open_pair"]

_SPECIAL = 2  # the marks at both ends


def open_pair(name: str, root: Path) -> TowerPair:
    """Open both towers of a model, in evaluation mode, on the CPU, in float32.

    Args:
        name: `open_clip:` and a model, see above.
        root: Paths in the name are relative to it.

    Raises:
        ArtefactError: No such model here, or its files cannot be read; the message says how to get them.
    """
    what = name.partition(":")[2]
    architecture, _, weights = what.partition("/")
    fetch = (
        f"python -c \"import open_clip; open_clip.create_model('{architecture}', pretrained='{weights}')\" fetches it"
    )
    with opening(name, fetch):
        if (root / what).is_dir():
            model_name, options = f"local-dir:{root / what}", {}
        else:
            model_name, options = architecture, _weights(architecture, weights, root)
        model, _, prepare = open_clip.create_model_and_transforms(model_name, pretrained_text=False, **options)
        tokenizer = open_clip.get_tokenizer(model_name)
        model = model.eval().requires_grad_(False)
        towers = _Towers(model, prepare, tokenizer)
        texts, pictures = towers.probe()
    facts = ("open_clip", tokenizer.context_length, type(tokenizer).__name__, str(prepare))
    return TowerPair(
        name=name,
        hash=weights_hash(model.state_dict(), facts),
        text_width=texts,
        image_width=pictures,
        read_texts=towers.read_texts,
        read_pictures=towers.read_pictures,
        towers=towers.tunable(),
    )


def _weights(architecture: str, weights: str, root: Path) -> dict[str, Any]:
    if not weights:
        raise ArtefactError(
            f"open_clip:{architecture} is not a folder and names no weights; expected ARCHITECTURE/WEIGHTS"
        )
    if (root / weights).is_file():
        return {"pretrained": str(root / weights)}
    known = open_clip.get_pretrained_cfg(architecture, weights)
    if not known:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(architecture)) or "none: no such architecture"
        raise ArtefactError(f"{weights!r} is neither a file in {root} nor a tag of {architecture}; its tags are {tags}")
    address = "" if known.get("hf_hub") else known.get("url", "")
    if address and not (Path("~/.cache/clip").expanduser() / Path(address).name).is_file():
        raise FileNotFoundError(f"{Path(address).name} is not in the local cache")
    return {"pretrained": weights}


class _Towers:
    def __init__(self, model: Any, prepare: Any, tokenizer: Any) -> None:
        self.model, self.prepare, self.tokenizer = model, prepare, tokenizer
        self._lock = OpenLock()  # tokenizers keep state while they work

    def probe(self) -> tuple[int, int]:
        """Widths of both sides, found by reading something."""
        text = self.read_texts(["a"]).features
        picture = self.read_pictures([grey()])
        return text.shape[1], picture.shape[1]

    def tunable(self) -> dict[Modality, Tower]:
        """Both towers by themselves; in models of CLIP's first make, that of the words is spread over the model."""
        words = self.model.text if hasattr(self.model, "text") else self.model.transformer
        return {
            "text": Tower(words, self.text_features, "a day"),
            "image": Tower(self.model.visual, self.picture_features, grey()),
        }

    def text_features(self, texts: Sequence[str]) -> torch.Tensor:
        with self._lock:
            ids = self.tokenizer(list(texts))
        result: torch.Tensor = self.model.encode_text(ids, normalize=True)
        return result

    def picture_features(self, pictures: Sequence[Image]) -> torch.Tensor:
        result: torch.Tensor = self.model.encode_image(torch.stack([self.prepare(p) for p in pictures]), normalize=True)
        return result

    def read_texts(self, texts: Sequence[str]) -> Reading:
        with self._lock:
            lengths = np.array([self._length(text) for text in texts], dtype=np.int64)
        with torch.inference_mode():
            features = self.text_features(texts)
        room = self.tokenizer.context_length - _SPECIAL
        return Reading(_array(features), np.minimum(lengths, room), lengths > room, np.zeros(len(texts), np.float32))

    def _length(self, text: str) -> int:
        inner = getattr(self.tokenizer, "tokenizer", None)
        if inner is None:
            return len(self.tokenizer.encode(text))
        return len(inner(text, add_special_tokens=False)["input_ids"])

    def read_pictures(self, pictures: Sequence[Image]) -> FloatArray:
        with torch.inference_mode():
            return _array(self.picture_features(pictures))


def _array(values: torch.Tensor) -> FloatArray:
    result: FloatArray = values.float().numpy()
    return result
