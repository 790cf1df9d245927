"""`train fusion --encoder --lora`: LoRA on one or both towers of an encoder, then heads, fusion, calibration, router.

What is fitted on predictions is fitted on those of towers that had not seen the post. Knows the corpora by their rows;
knows nothing of how an encoder is made, or of what a LoRA is.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from ...adapters import Adapter
from ...data import Record
from ...encoders import Encoder, moved_name, open_encoder
from ...encoders.pair import TowerPair
from ...errors import InputError
from ...fusion import log_softmax
from ...inputs import DRAFT_PIXELS, clean, read_image, read_sample
from ...types import FloatArray, Modality, Sample
from ..common.provenance import made_now
from ..posts.labelled import UNKNOWN, Labelled
from ..posts.rows import post_records
from .frozen import FrozenConfig, OutOfFold, fit_frozen, out_of_fold
from .frozen_posts import kept_features, labelled_posts
from .lora_side import LoraSideConfig, SidePosts, Tuned, tune_side

__all__ = ["LoraConfig", "LoraSides", "train_with_lora"]

LoraSides: TypeAlias = Literal["text", "image", "both"]
TOWERS = "towers"


@dataclass(frozen=True, slots=True)
class LoraConfig:
    """How towers are tuned, and how everything on top of them is fitted.

    Attributes:
        frozen: What stands on top.
        text, image: How either tower is tuned.
        folds: Parts of the posts that are left out in turn: each costs a run per tower. 5 at the most.
    """

    frozen: FrozenConfig = field(default_factory=FrozenConfig)
    text: LoraSideConfig = field(default_factory=LoraSideConfig)
    image: LoraSideConfig = field(default_factory=LoraSideConfig)
    folds: int = 5


def train_with_lora(
    data: Path,
    encoder: str,
    sides: LoraSides,
    out: Path,
    *,
    config: LoraConfig | None = None,
    advance: Callable[[], None] = lambda: None,
) -> Adapter:
    """Tune towers by LoRA, fit a model on top, and save the folder `Analyzer.from_pretrained` loads.

    Runs and features stand in `<out>.features`; a killed run goes on where it stopped. The LoRAs stand in
    `<out>/towers`, and the encoder's hash covers them. `made_with` says by how much each head's log-loss on posts left
    out changed.

    Args:
        data: As in `train_frozen`.
        encoder: An `open_clip:` or `hf:` encoder; paths in it are relative to the working directory.
        sides: Which towers.
        out: The folder to write; its name becomes the model's.
        config: The recipe.
        advance: Called after every post that is encoded.

    Raises:
        InputError: The encoder cannot be tuned so, or there are too few posts.
    """
    config = config or LoraConfig()
    plain = open_encoder(encoder, Path.cwd())
    if not isinstance(plain, TowerPair) or not plain.towers:
        raise InputError(f"LoRA is for open_clip: and hf: encoders, not {encoder}", field="--lora")
    wanted: tuple[Modality, ...] = ("text", "image") if sides == "both" else (sides,)
    records = post_records(data)
    parts = {name: [r for r in records if r.split == name] for name in ("train", "dev")}
    runs = kept_features(out)
    base = labelled_posts(plain, parts["train"], runs, advance)
    seen = out_of_fold(base, config.frozen)
    gains: dict[str, dict[str, float]] = {}
    recipes = {"text": config.text, "image": config.image}
    for side in wanted:
        posts, rows = _side_posts(parts["train"], base, side, seen, config.folds)
        tuned = tune_side(plain.towers[side], posts, recipes[side], runs / f"lora-{side}", out / TOWERS / side)
        seen, told = _replaced(seen, tuned, rows, base)
        gains |= told
    name = f"{encoder}+lora:{os.path.relpath(out / TOWERS, Path.cwd())}"
    opened = open_encoder(name, Path.cwd())
    train, dev = (_again(opened, parts[part], runs, advance) for part in ("train", "dev"))
    adapter = fit_frozen(train, dev, opened, name=out.name, config=config.frozen, seen=seen)
    made_with = {
        **made_now(),
        "n_train": len(parts["train"]),
        "lora": list(wanted),
        "encoder_before": plain.hash,
        "log_loss_left_out": gains,
        "recipe": asdict(config),
    }
    adapter = replace(adapter, encoder=moved_name(name, Path.cwd(), out), made_with=made_with)
    adapter.save(out)
    return adapter


def _again(encoder: Encoder, records: Sequence[Record], runs: Path, advance: Callable[[], None]) -> Labelled:
    return labelled_posts(encoder, records, runs, advance)


def _side_posts(
    records: Sequence[Record], base: Labelled, side: Modality, seen: OutOfFold, folds: int
) -> tuple[SidePosts, np.ndarray[Any, Any]]:
    """The posts that have this side, and their row numbers."""
    there = base.features.has_text if side == "text" else base.features.has_image
    values = base.features.text_features if side == "text" else base.features.image_features
    rows = np.flatnonzero(there)
    samples = [records[int(i)].sample for i in rows]
    heads = [name for name in seen.said if name.startswith(f"{side}.")]
    words = [clean(read_sample(Sample(text=s.text)).text or "") for s in samples] if side == "text" else []
    key = hashlib.sha256(repr([s.id for s in samples]).encode() + np.ascontiguousarray(values[rows]).tobytes())
    for name in heads:
        key.update(base.labels[name][rows].tobytes())
    return SidePosts(
        side=side,
        inputs=words if side == "text" else [s.image for s in samples],
        read=str if side == "text" else _picture,
        labels={name: base.labels[name][rows] for name in heads},
        folds=base.folds[rows] % folds,
        features=values[rows],
        key=key.hexdigest(),
    ), rows


def _picture(source: Any) -> Any:
    return read_image(source, draft=DRAFT_PIXELS)


def _replaced(
    seen: OutOfFold, tuned: Tuned, rows: np.ndarray[Any, Any], base: Labelled
) -> tuple[OutOfFold, dict[str, dict[str, float]]]:
    """What the tuned side says in place of the frozen one, and both log-losses per head on posts left out."""
    said, gains = dict(seen.said), {}
    for name, logits in tuned.said.items():
        whole = np.full_like(seen.said[name], np.nan)
        whole[rows] = logits
        known = rows[base.labels[name][rows] != UNKNOWN]
        gold = base.labels[name][known]
        told: Mapping[str, FloatArray] = {"frozen": seen.said[name], "lora": whole}
        gains[name] = {key: round(_log_loss(values[known], gold), 4) for key, values in told.items()}
        said[name] = whole
    return replace(seen, arrays=seen.arrays | tuned.arrays, said=said), gains


def _log_loss(logits: FloatArray, gold: np.ndarray[Any, Any]) -> float:
    return float(-log_softmax(logits.astype(np.float64))[np.arange(len(gold)), gold].mean())
