"""nano's stages `answers` and `reasons`: projector and language model learn to answer. Knows no corpora.

The label weighs most: a small model that learns whole answers, every token alike, learns to write and not to judge.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from ...types import IntArray
from ..common.batches import alike
from ..common.device import training_precision
from ..common.loop import LoopConfig, claim, train
from .lessons import FACTS, JUDGED, KINDS, Lessons
from .pieces import IMAGE

__all__ = ["AnswersConfig", "Course", "embedded", "measure", "restore_answers", "train_answers"]

WEIGHTS = "model.safetensors"
WIDTH_STEP = 16


@dataclass(frozen=True, slots=True)
class AnswersConfig:
    """How answering is learnt."""

    loop: LoopConfig = field(
        default=LoopConfig(epochs=2, learning_rate=1e-3, weight_decay=0.1, warmup=0.05, averaging=0.998)
    )
    share: float = 0.45
    """Share of an epoch's batches that is learnt from."""
    batch_size: int = 32
    label_weight: float = 0.5
    """Share of the loss that the label's token has."""
    facts_weight: float = 0.25
    """Share of what the words say, what the picture says and whether it is sarcastic."""
    claims_weight: float = 0.0
    """Share of the labels said in a rationale; the rest has what is left. At 0 they are part of the rest."""
    dropout: float = 0.1
    """On what goes into the language model."""
    opinions: float = 0.5
    """What the fast tier's opinion counts against the label that people gave, where it has one."""
    blanked: float = 0.1
    """Share of what is asked (words, patches) that is left blank, so that no single word is learnt by heart."""
    practice: float = 0.0
    """Share of the lessons with a rationale that are learnt from once more with their labels drawn by chance, for the
    rationale alone (`practice`)."""


class Course:
    """Lessons and what is seen in their pictures, on the model's device, taken in batches.

    Args:
        lessons: Questions and answers; the picture of each is a row of `features`.
        features: float16 `[pictures, patches, channels]`, on the device.
        corpora: Names of the corpora that lessons are from, by number.
        words: Token ids of the three label words.

    Attributes:
        lessons, corpora: The same.
        words: Token ids int64 `[3]` of the label words, on the device.
    """

    def __init__(self, lessons: Lessons, features: Tensor, corpora: Sequence[str], words: Sequence[int]) -> None:
        self.lessons = lessons
        self.corpora = tuple(corpora)
        self.words = torch.tensor(words, device=features.device)
        self._features = features
        self._opinions = torch.from_numpy(lessons.opinions).to(features.device)
        self._ids, self._kinds = (torch.from_numpy(values).to(features.device) for values in lessons.padded())

    def take(self, rows: IntArray) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Token ids and kinds int64 `[n, width]`, features of the lessons that show a picture, opinions `[n, 3, 3]`."""
        # Few different widths: math libraries compile and cache a kernel per shape.
        device, width = self._ids.device, -(-int(self.lessons.lengths[rows].max()) // WIDTH_STEP) * WIDTH_STEP
        shown = self.lessons.pictures[rows]
        places = torch.from_numpy(rows).to(device)
        seen = self._features[torch.from_numpy(shown[shown >= 0]).to(device)]
        ids, kinds = (values[places, :width].long() for values in (self._ids, self._kinds))
        return ids, kinds, seen, self._opinions[places].float()


def train_answers(model: Any, learnt: Course, held: Course, config: AnswersConfig, folder: Path, pieces: str) -> None:
    """Train projector and language model in place.

    Args:
        model: As the `words` stage left it.
        learnt: What is learnt from.
        held: What is measured on, before and after.
        config: The recipe.
        folder: The stage's folder; a killed run goes on where it stopped.
        pieces: Says which tokens the lessons are in, see `Prepared.id`.
    """
    lessons = learnt.lessons
    facts = {"stage": folder.name, "recipe": asdict(config), "rows": len(lessons), "pieces": pieces}
    claim(folder, facts)
    learning = _learning(model)
    epochs = [_drawn(lessons, config, epoch) for epoch in range(config.loop.epochs)]
    shares = _shares(config)

    def loss(_: nn.Module, rows: IntArray) -> Tensor:
        kinds, losses = _losses(model, learnt, rows, config)[1:3]
        return _weighted(_counted(kinds, config), losses, shares)

    tokens = int(sum(lessons.lengths[rows].sum() for epoch in epochs for rows in epoch))
    before = measure(model, held, config.batch_size)
    train(learning, epochs, loss, config.loop, folder, record=facts | {"tokens": tokens})
    scores = {"before": before, "after": measure(model, held, config.batch_size)}
    (folder / "dev.json").write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")
    save_file({name: values.contiguous() for name, values in learning.state_dict().items()}, folder / WEIGHTS)


def restore_answers(model: Any, config: AnswersConfig, folder: Path, pieces: str) -> bool:
    """Read into the model what a finished stage left in `folder`; whether there is such a stage.

    Raises:
        InputError: It was trained by another recipe, or on other pieces.
    """
    if not (folder / WEIGHTS).exists():
        return False
    claim(folder, {"recipe": asdict(config), "pieces": pieces})
    _learning(model).load_state_dict(load_file(folder / WEIGHTS))
    return True


def measure(model: Any, held: Course, batch_size: int) -> dict[str, dict[str, float]]:
    """By corpus: how many tokens of each kind are right where all before them is given, and their mean loss."""
    lessons, found = held.lessons, dict[tuple[str, str], list[tuple[float, float]]]()
    names = {number: name for name, number in KINDS.items()}
    with torch.inference_mode():
        for rows in alike(lessons.lengths, batch_size, 0):
            for place, kind, loss, hit in zip(*(values.tolist() for values in _losses(model, held, rows)), strict=True):
                corpus = held.corpora[lessons.corpora[rows[place]]]
                found.setdefault((corpus, names[kind]), []).append((loss, hit))
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
    model: Any, course: Course, rows: IntArray, config: AnswersConfig | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of every taught token of some lessons: whose it is, its kind, its loss, and whether it is the likeliest."""
    ids, kinds, seen, opinions = course.take(rows)
    following = ids[:, 1:]
    with training_precision():
        read = embedded(model, ids, seen)
        if config is not None:
            blank = (torch.rand(ids.shape, device=ids.device) < config.blanked) & (kinds == 0)
            read = functional.dropout(read.masked_fill(blank.unsqueeze(-1), 0), config.dropout)
        taught = kinds[:, 1:] > 0
        hidden = model.model.language_model(inputs_embeds=read, use_cache=False).last_hidden_state
        logits = model.lm_head(hidden[:, :-1][taught]).float()
    whose, told = taught.nonzero()[:, 0], kinds[:, 1:][taught]
    losses = functional.cross_entropy(logits, following[taught], reduction="none")
    if config is not None:
        losses = _softened(losses, logits, course.words, opinions, (whose, told), config.opinions)
    return whose, told, losses, logits.argmax(-1) == following[taught]


def _softened(
    losses: Tensor, logits: Tensor, words: Tensor, opinions: Tensor, places: tuple[Tensor, Tensor], share: float
) -> Tensor:
    """Losses of label, text and picture mixed with their cross-entropy to the fast tier's opinion, where it has one.

    Args:
        losses: `[tokens]`.
        logits: `[tokens, pieces]`.
        words: Token ids `[3]` of the label words.
        opinions: `[n, 3, 3]`.
        places: Row and kind of each token.
        share: What an opinion counts, in [0, 1].
    """
    row, kind = places
    asked = (kind >= KINDS[JUDGED[0]]) & (kind <= KINDS[JUDGED[-1]])
    wanted = opinions[row[asked], kind[asked] - KINDS[JUDGED[0]]]
    soft = -(wanted * logits[asked].log_softmax(-1)[:, words]).sum(1)
    mixed = torch.where(wanted.sum(1) > 0, (1 - share) * losses[asked] + share * soft, losses[asked])
    return losses.masked_scatter(asked, mixed)


def _shares(config: AnswersConfig) -> dict[str, float]:
    """What each kind of token counts, 1 together."""
    shares = {name: config.facts_weight / len(FACTS) for name in FACTS}
    shares |= {"label": config.label_weight, "claim": config.claims_weight}
    return shares | {"rest": 1 - sum(shares.values())}


def _counted(kinds: Tensor, config: AnswersConfig) -> Tensor:
    """Kinds as they are weighed: claims without a share of their own are part of the rest."""
    return kinds if config.claims_weight else kinds.masked_fill(kinds == KINDS["claim"], KINDS["rest"])


def _weighted(kinds: Tensor, losses: Tensor, shares: Mapping[str, float]) -> Tensor:
    """The mean losses of each kind by its share; what a batch lacks counts nothing."""
    parts = []
    for name, share in shares.items():
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
