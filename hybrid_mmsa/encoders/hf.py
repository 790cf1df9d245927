"""A transformers text model with a timm picture model (extra `hf`), from local files or the local cache.

Knows nothing of labels. Words are pooled over the last layer, by their mean or (`#cls`) by their first token; pictures
as the timm model pools them. A pair may be

    hf:roberta-base+timm:vit_base_patch16_224   models of the hub, fetched earlier
    hf:my/bert#cls+timm:my/vit   folders, as `save_pretrained` and timm's `save_for_hf` write them
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL.Image import Image
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from ..errors import ArtefactError
from ..forks import OpenLock
from ..types import FloatArray
from .pair import Reading, Tower, TowerPair, grey, opening, weights_hash

__all__ = ["open_pair"]

MOST_TOKENS = 256
"""Posts are short; what goes beyond is cut, and `Features.truncated` says so."""


def open_pair(name: str, root: Path) -> TowerPair:
    """Open both towers, in evaluation mode, on the CPU, in float32.

    Args:
        name: `hf:TEXT+timm:PICTURE`, see above.
        root: Paths in the name are relative to it.

    Raises:
        ArtefactError: No such models here, or their files cannot be read; the message says how to get them.
    """
    text_name, plus, image_name = name.removeprefix("hf:").partition("+timm:")
    if not plus or not text_name or not image_name:
        raise ArtefactError(f"found the encoder {name!r}; wanted hf:TEXT+timm:PICTURE")
    text_name, _, pooling = text_name.partition("#")
    if pooling not in ("", "mean", "cls"):
        raise ArtefactError(f"encoder {name!r}: no pooling {pooling!r}; there are mean and cls")
    with (
        _quiet(),
        opening(name, f"fetch {text_name} and {image_name} into the local cache with `hf download`, or name folders"),
    ):
        text = _Words(text_name, root, cls=pooling == "cls")
        image = _Pictures(image_name, root)
    facts = ("hf", text.most, pooling or "mean", text.vocabulary, image.facts)
    weights = {f"text.{k}": v for k, v in text.model.state_dict().items() if k not in text.unused}
    weights |= {f"image.{k}": v for k, v in image.model.state_dict().items()}
    return TowerPair(
        name=name,
        hash=weights_hash(weights, facts),
        text_width=text.model.config.hidden_size,
        image_width=image.model.num_features,
        read_texts=text.read,
        read_pictures=image.read,
        towers={"text": Tower(text.model, text.features, "a day"), "image": Tower(image.model, image.features, grey())},
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """No bar while weights are loaded."""
    bars: Any = transformers_logging
    enabled = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if enabled:
            bars.enable_progress_bar()


class _Words:
    def __init__(self, name: str, root: Path, *, cls: bool) -> None:
        source = str(root / name) if (root / name).is_dir() else name
        model, found = AutoModel.from_pretrained(
            source, local_files_only=True, dtype=torch.float32, output_loading_info=True
        )
        # A pooler is drawn anew where the file has none; it is not used, and so does not count.
        self.unused = {key for key in found["missing_keys"] if key.startswith("pooler.")}
        if missing := sorted(set(found["missing_keys"]) - self.unused):
            raise ArtefactError(f"{source} lacks {len(missing)} weights of its model, such as {missing[0]}")
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True)
        positions = getattr(self.model.config, "max_position_embeddings", MOST_TOKENS)
        # RoBERTa's first positions are taken, which its configuration does not say.
        self.most = int(min(self.tokenizer.model_max_length, positions - 2, MOST_TOKENS))
        self.cls = cls
        self._lock = OpenLock()  # tokenizers keep state while they work

    @property
    def vocabulary(self) -> list[tuple[str, int]]:
        return sorted(self.tokenizer.get_vocab().items())

    def read(self, texts: Sequence[str]) -> Reading:
        with self._lock:
            found = self._tokens(texts)
            whole = [self.tokenizer(text, verbose=False)["input_ids"] for text in texts]
            special = self.tokenizer.num_special_tokens_to_add()
        ids, mask = found["input_ids"], found["attention_mask"]
        with torch.inference_mode():
            features = self._pooled(ids, mask)
        n_tokens = np.maximum(mask.sum(1).numpy() - special, 0)
        unknown = (ids == self._unknown).logical_and(mask > 0).sum(1).numpy() / np.maximum(n_tokens, 1)
        return Reading(
            _array(features),
            n_tokens.astype(np.int64),
            np.array([len(one) > self.most for one in whole]),
            unknown.astype(np.float32),
        )

    def features(self, texts: Sequence[str]) -> torch.Tensor:
        with self._lock:
            found = self._tokens(texts)
        return self._pooled(found["input_ids"], found["attention_mask"])

    def _tokens(self, texts: Sequence[str]) -> Any:
        return self.tokenizer(list(texts), truncation=True, max_length=self.most, padding=True, return_tensors="pt")

    def _pooled(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        share = mask[:, :, None].to(hidden.dtype)
        return hidden[:, 0] if self.cls else (hidden * share).sum(1) / share.sum(1)

    @property
    def _unknown(self) -> int:
        number = self.tokenizer.unk_token_id
        return -1 if number is None else int(number)


class _Pictures:
    def __init__(self, name: str, root: Path) -> None:
        if (root / name).is_dir():
            name = f"local-dir:{root / name}"
        else:
            _check_cached(name)
        model: Any = timm.create_model(name, pretrained=True, num_classes=0)
        self.model = model.eval().requires_grad_(False)
        preparing: Any = timm.data
        settings = preparing.resolve_model_data_config(self.model)
        self.prepare = preparing.create_transform(**settings, is_training=False)
        self.facts = sorted((key, repr(value)) for key, value in settings.items())

    def read(self, pictures: Sequence[Image]) -> FloatArray:
        with torch.inference_mode():
            return _array(self.features(pictures))

    def features(self, pictures: Sequence[Image]) -> torch.Tensor:
        result: torch.Tensor = self.model(torch.stack([self.prepare(picture) for picture in pictures]))
        return result


def _check_cached(name: str) -> None:
    """Raise where timm would turn to a web address, which the hub's switch does not forbid."""
    known = timm.get_pretrained_cfg(name, allow_unregistered=True)
    if known is not None and known.url and not known.hf_hub_id:
        file = Path(torch.hub.get_dir()) / "checkpoints" / Path(str(known.url)).name
        if not file.is_file():
            raise FileNotFoundError(f"{file.name} is not in the local cache")


def _array(values: torch.Tensor) -> FloatArray:
    result: FloatArray = values.float().numpy()
    return result
