"""nano's `answers` stage: projector and language model learn to answer. Knows lessons and pictures, no corpora.

The label weighs most: a small model that learns whole answers, every token alike, learns to write and not to judge.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from ..types import IntArray
from .loop import LoopConfig, claim, train
from .nano_lessons import FACTS, KINDS, Lessons
from .nano_pieces import IMAGE
from .precision import training_precision
from .text_batches import alike

__all__ = ["AnswersConfig", "Course", "embedded", "measure", "restore_answers", "train_answers"]

WEIGHTS = "model.safetensors"
WIDTH_STEP = 16


@dataclass(frozen=True, slots=True)
class AnswersConfig:
    """How answering is learnt."""

    loop: LoopConfig = field(
        default=LoopConfig(epochs=1, learning_rate=1e-3, weight_decay=0.1, warmup=0.05, averaging=0.998)
    )
    share: float = 0.66
    """Share of an epoch's batches that is learnt from."""
    batch_size: int = 32
    label_weight: float = 0.5
    """Share of the loss that the label's token has."""
    facts_weight: float = 0.25
    """Share of what the words say, what the picture says and whether it is sarcastic; the rest has what is left."""
    dropout: float = 0.1
    """On what goes into the language model."""
    blanked: float = 0.1
    """Share of what is asked (words, patches) that is left blank, so that no single word is learnt by heart."""


class Course:
    """Lessons and what is seen in their pictures, on the model's device, taken in batches.

    Args:
        lessons: Questions and answers; the picture of each is a row of `features`.
        features: float16 `[pictures, patches, channels]`, on the device.
        corpora: Names of the corpora that lessons are from, by number.

    Attributes:
        lessons, corpora: The same.
    """

    def __init__(self, lessons: Lessons, features: Tensor, corpora: Sequence[str]) -> None:
        self.lessons = lessons
        self.corpora = tuple(corpora)
        self._features = features
        self._ids, self._kinds = (torch.from_numpy(values).to(features.device) for values in lessons.padded())

    def take(self, rows: IntArray) -> tuple[Tensor, Tensor, Tensor]:
        """Token ids and kinds int64 `[n, width]`, and the features of the lessons that show a picture."""
        # Few different widths: math libraries compile and cache a kernel per shape.
        device, width = self._ids.device, -(-int(self.lessons.lengths[rows].max()) // WIDTH_STEP) * WIDTH_STEP
        shown = self.lessons.pictures[rows]
        places = torch.from_numpy(rows).to(device)
        seen = self._features[torch.from_numpy(shown[shown >= 0]).to(device)]
        return self._ids[places, :width].long(), self._kinds[places, :width].long(), seen


def train_answers(model: Any, learnt: Course, held: Course, config: AnswersConfig, folder: Path) -> None:
    """Train projector and language model in place.

    Args:
        model: As the `words` stage left it.
        learnt: What is learnt from.
        held: What is measured on, before and after.
        config: The recipe.
        folder: The stage's folder; a killed run goes on where it stopped.
    """
    lessons = learnt.lessons
    facts = {"stage": folder.name, "recipe": asdict(config), "rows": len(lessons)}
    claim(folder, facts)
    learning = _learning(model)
    epochs = [_drawn(lessons, config, epoch) for epoch in range(config.loop.epochs)]
    shares = (config.label_weight, config.facts_weight)

    def loss(_: nn.Module, rows: IntArray) -> Tensor:
        kinds, losses, _right = _losses(model, learnt.take(rows), config)
        return _weighted(kinds, losses, shares)

    tokens = int(sum(lessons.lengths[rows].sum() for epoch in epochs for rows in epoch))
    before = measure(model, held, config.batch_size)
    train(learning, epochs, loss, config.loop, folder, record=facts | {"tokens": tokens})
    scores = {"before": before, "after": measure(model, held, config.batch_size)}
    (folder / "dev.json").write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")
    save_file({name: values.contiguous() for name, values in learning.state_dict().items()}, folder / WEIGHTS)


def restore_answers(model: Any, folder: Path) -> bool:
    """Read into the model what a finished stage left in `folder`; whether there is such a stage."""
    if not (folder / WEIGHTS).exists():
        return False
    _learning(model).load_state_dict(load_file(folder / WEIGHTS))
    return True


def measure(model: Any, held: Course, batch_size: int) -> dict[str, dict[str, float]]:
    """By corpus: how many tokens of each kind are right where all before them is given, and their mean loss."""
    lessons, found = held.lessons, dict[tuple[str, str], list[tuple[float, float]]]()
    names = {number: name for name, number in KINDS.items()}
    with torch.inference_mode():
        for rows in alike(lessons.lengths, batch_size, 0):
            batch = held.take(rows)
            kinds, losses, right = (values.tolist() for values in _losses(model, batch))
            owners = np.repeat(rows, (batch[1][:, 1:] > 0).sum(1).cpu().numpy())
            for row, kind, loss, hit in zip(owners, kinds, losses, right, strict=True):
                found.setdefault((held.corpora[lessons.corpora[row]], names[kind]), []).append((loss, hit))
    scores: dict[str, dict[str, float]] = {}
    for (corpus, name), pairs in sorted(found.items()):
        loss, hit = np.mean(pairs, axis=0)
        told = {"tokens": len(pairs), "loss": round(float(loss), 4), "right": round(float(hit), 4)}
        scores.setdefault(corpus, {}).update({f"{name}/{what}": value for what, value in told.items()})
    return scores


def embedded(model: Any, ids: Tensor, seen: Tensor) -> Tensor:
    """What goes into the language model: pieces, and what is seen in the places of pictures, as LLaVA puts it there.

    Args:
        model: A `LlavaForConditionalGeneration`.
        ids: int64 `[n, width]`.
        seen: `[pictures, patches, channels]`, in the order of the rows that show one.
    """
    read: Tensor = model.get_input_embeddings()(ids)
    shown = model.model.multi_modal_projector(seen.to(read.dtype)).to(read.dtype)
    return read.masked_scatter((ids == IMAGE).unsqueeze(-1), shown)


def _learning(model: Any) -> nn.Module:
    """What learns: all but the picture side."""
    return nn.ModuleDict({"projector": model.model.multi_modal_projector, "language": model.model.language_model})


def _losses(
    model: Any, batch: tuple[Tensor, Tensor, Tensor], config: AnswersConfig | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Of every taught token of a batch, row by row: its kind, its loss, and whether it is the likeliest."""
    ids, kinds, seen = batch
    taught, following = kinds[:, 1:] > 0, ids[:, 1:]
    with training_precision():
        read = embedded(model, ids, seen)
        if config is not None:
            blank = (torch.rand(ids.shape, device=ids.device) < config.blanked) & (kinds == 0)
            read = functional.dropout(read.masked_fill(blank.unsqueeze(-1), 0), config.dropout)
        hidden = model.model.language_model(inputs_embeds=read, use_cache=False).last_hidden_state
        logits = model.lm_head(hidden[:, :-1][taught]).float()
    losses = functional.cross_entropy(logits, following[taught], reduction="none")
    return kinds[:, 1:][taught], losses, logits.argmax(-1) == following[taught]


def _weighted(kinds: Tensor, losses: Tensor, shares: tuple[float, float]) -> Tensor:
    """The mean losses of label, facts and rest, each by its share; what a batch lacks counts nothing."""
    by_kind = {name: shares[1] / len(FACTS) for name in FACTS} | {"label": shares[0], "rest": 1 - sum(shares)}
    parts = []
    for name, share in by_kind.items():
        ours = (kinds == KINDS[name]).float()
        parts.append(share * (losses * ours).sum() / ours.sum().clamp(min=1))
    return torch.stack(parts).sum()


def _drawn(lessons: Lessons, config: AnswersConfig, epoch: int) -> list[IntArray]:
    """An epoch's batches: each lesson as often as its weight says, a fraction by chance."""
    chance = np.random.default_rng([config.loop.seed, epoch])
    times = np.floor(lessons.weights + chance.random(len(lessons))).astype(np.int64)
    drawn = np.repeat(np.arange(len(lessons)), times)
    batches = alike(lessons.lengths[drawn], config.batch_size, epoch)
    return [drawn[batch] for batch in batches[: round(config.share * len(batches))]]
