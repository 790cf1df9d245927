"""`train text`: a teacher tuned on the labels of many corpora, and a student of fewer layers that learns from it.

Stages, each in a folder of its own, each skipped when its `tower.safetensors` is there:

- `teacher`: the whole MPNet on the gold labels of the mixture (`posts.mixture`).
- `student`: some of the teacher's layers, on the same texts and on rewritten ones nobody labelled. It learns what the
  teacher says of each task (Hinton et al. 2015, arXiv 1503.02531, at temperature 1), the gold labels, and the teacher's
  features and hidden states, by their cosine (as DistilBERT does, Sanh et al. 2019, arXiv 1910.01108).

Neither sees a post of MVSA-Single: what words make of a whole post is fitted on the student's features, see `fusion`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from ...encoders.wordpieces import WordPieces
from ...types import IntArray
from ..common.batches import alike
from ..common.device import training_device, training_precision
from ..common.loop import LoopConfig, claim, train
from ..posts.mixture import Mixture, load_mixture
from ..posts.rewrites import rewritten
from ..posts.rows import ClassLabel, TextRow
from .text_tower import HEADS, WEIGHTS, TextTower, head_scores, pooled, read_logits

__all__ = ["STUDENT", "TEACHER", "StudentConfig", "TeacherConfig", "TextConfig", "gold_labels", "train_text"]

TEACHER, STUDENT, TOKENIZER = "teacher", "student", "tokenizer.json"
TASK_WEIGHTS: Mapping[str, float] = {"sentiment": 1.0, "target": 1.0, "sarcasm": 0.7, "emotion": 1.0}


@dataclass(frozen=True, slots=True)
class TeacherConfig:
    """How the teacher is tuned on gold labels."""

    loop: LoopConfig = field(default=LoopConfig(epochs=1, learning_rate=5e-5, warmup=0.06, checkpoint_every=50, seed=3))
    batch_size: int = 96
    label_smoothing: float = 0.05


@dataclass(frozen=True, slots=True)
class StudentConfig:
    """How the student learns from the teacher."""

    loop: LoopConfig = field(default=LoopConfig(epochs=1, learning_rate=1e-4, warmup=0.05, checkpoint_every=50, seed=7))
    layers: tuple[int, ...] = (0, 2, 4, 6, 9, 11)
    """The teacher's layers it begins with."""
    batch_size: int = 96
    rewritten: float = 0.25
    """Rewritten texts, as a share of all."""
    gold: float = 0.25
    """What gold labels count beside the teacher's."""
    trust: float = 0.5
    """What the label of a text made by rule counts where the teacher agrees; where it does not, it counts whole."""
    features: float = 2.0
    tokens: float = 1.0


@dataclass(frozen=True, slots=True)
class TextConfig:
    """The whole recipe of the text tower."""

    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    student: StudentConfig = field(default_factory=StudentConfig)
    seed: int = 0
    """Chooses the rows of the mixture."""
    max_tokens: int = 80
    """Longest window in training."""


def train_text(
    data: Path, start: Path, runs: Path, config: TextConfig | None = None, *, held_out: Iterable[str] = ()
) -> None:
    """Run every stage that is not there yet, under `runs`.

    Args:
        data: Folder holding the corpora (see `posts/mixture.toml`).
        start: Folder of all-mpnet-base-v2, or of another model of its family, with its `tokenizer.json`.
        runs: Folder for the stages; killed runs go on where they stopped.
        config: The recipe.
        held_out: Texts that must not be trained on.
    """
    config = config or TextConfig()
    pieces = WordPieces(start / TOKENIZER, config.max_tokens)
    mixture = load_mixture(data, seed=config.seed, held_out=held_out)
    teacher = train_teacher(mixture.train, start, pieces, config.teacher, runs / TEACHER)
    student = train_student(mixture.train, teacher, start, pieces, config.student, runs / STUDENT)
    for tower, stage in ((teacher, TEACHER), (student, STUDENT)):
        _measure(tower, pieces, mixture, runs / stage / "dev.json")


def train_teacher(
    rows: Sequence[TextRow], start: Path, pieces: WordPieces, config: TeacherConfig, folder: Path
) -> TextTower:
    """The whole start model tuned on gold labels, from disk if it is there."""
    record = _claim(folder, rows, start, pieces, config)
    torch.manual_seed(config.loop.seed)  # new heads start from chance
    if (folder / WEIGHTS).exists():
        return TextTower.load(folder).to(training_device())
    tower = TextTower.begin(start).to(training_device())

    def loss(model: nn.Module, chosen: IntArray) -> Tensor:
        part = [rows[i] for i in chosen]
        with training_precision():
            logits = model(pieces.encode([r.text for r in part], [r.target for r in part]))
        return gold_loss(logits, [r.labels for r in part], config.label_smoothing)

    train(tower, _batches(rows, config.batch_size, config.loop), loss, config.loop, folder, record=record)
    tower.save(folder, start / TOKENIZER)
    return tower


def train_student(
    rows: Sequence[TextRow],
    teacher: TextTower,
    start: Path,
    pieces: WordPieces,
    config: StudentConfig,
    folder: Path,
) -> TextTower:
    """A tower of some of the teacher's layers that learnt from it, from disk if it is there."""
    record = _claim(folder, rows, start, pieces, config)
    if (folder / WEIGHTS).exists():
        return TextTower.load(folder).to(training_device())
    student = TextTower.begin(start, config.layers).to(training_device())
    student.load_state_dict(_layers_of(teacher, config.layers))
    teacher.eval().requires_grad_(False)
    rng = random.Random(config.loop.seed)
    plain = [row for row in rows if row.target is None]
    more = int(len(rows) * config.rewritten / (1 - config.rewritten))
    texts = [*rows, *(rewritten(rng.choice(plain), plain, rng) for _ in range(more))]

    def loss(model: nn.Module, chosen: IntArray) -> Tensor:
        part = [texts[i] for i in chosen]
        batch = pieces.encode([r.text for r in part], [r.target for r in part])
        with training_precision():
            with torch.no_grad():
                taught, mask = teacher.hidden(batch)
            learnt, _ = student.hidden(batch)
        wanted, features = pooled(taught, mask, batch), pooled(learnt, mask, batch)
        states = (1 - cosine_similarity(learnt.float(), taught.float(), dim=-1)) * mask
        return (
            distillation_loss(student, features, teacher.logits(wanted), part, config)
            + config.features * (1 - cosine_similarity(features, wanted, dim=-1)).mean()
            + config.tokens * states.sum() / mask.sum()
        )

    train(student, _batches(texts, config.batch_size, config.loop), loss, config.loop, folder, record=record)
    student.save(folder, start / TOKENIZER)
    return student


def gold_labels(labels: Sequence[Mapping[str, ClassLabel]], head: str, smoothing: float) -> Tensor:
    """What a head is to learn, float32 `[n, classes]`; a row of zeros where there is no label."""
    classes = HEADS[head]
    targets = torch.zeros(len(labels), classes)
    for row, known in enumerate(labels):
        label = known.get(head)
        if isinstance(label, tuple):
            targets[row] = torch.tensor(label)
        elif label is not None:
            targets[row] = smoothing / classes
            targets[row, label] += 1 - smoothing
    return targets


def gold_loss(logits: Mapping[str, Tensor], labels: Sequence[Mapping[str, ClassLabel]], smoothing: float) -> Tensor:
    """Cross-entropy to gold labels, weighed by task, summed over heads and per row of the batch."""
    total = torch.zeros((), device=next(iter(logits.values())).device)
    for head, values in logits.items():
        targets = gold_labels(labels, head, smoothing).to(values.device)
        total = total - TASK_WEIGHTS[head] * (targets * values.float().log_softmax(1)).sum()
    return total / len(labels)


def distillation_loss(
    student: TextTower,
    features: Tensor,
    taught: Mapping[str, Tensor],
    rows: Sequence[TextRow],
    config: StudentConfig,
) -> Tensor:
    """Divergence from the teacher's probabilities, and the gold labels' cross-entropy, per row of the batch.

    The teacher is asked about the target where a text names one, and about all else where it does not.
    """
    device = features.device
    named = torch.tensor([row.target is not None for row in rows], device=device)
    labels, total = [row.labels for row in rows], torch.zeros((), device=device)
    for head, logits in student.logits(student.dropout(features)).items():
        suited = (named if head == "target" else ~named).float()
        weight = TASK_WEIGHTS[head] if head in ("sentiment", "target") else 0.5
        gold = gold_labels(labels, head, 0.0).to(device)
        wanted = _corrected(taught[head].float().softmax(1), gold, rows, config.trust)
        logs = logits.float().log_softmax(1)
        gap = (wanted * (wanted.clamp_min(1e-9).log() - logs)).sum(1)
        total = total + weight * ((suited * gap).sum() - config.gold * (gold * logs).sum())
    return total / len(rows)


def _corrected(taught: Tensor, gold: Tensor, rows: Sequence[TextRow], trust: float) -> Tensor:
    """The teacher's probabilities; of texts made by rule, with the rule's label mixed in."""
    ruled = torch.tensor([row.made for row in rows], device=gold.device) & (gold.sum(1) > 0)
    agree = gold.argmax(1) == taught.argmax(1)
    share = torch.where(ruled, torch.where(agree, trust, 1.0), 0.0)[:, None]
    return (1 - share) * taught + share * gold


def _layers_of(teacher: TextTower, layers: Sequence[int]) -> dict[str, Tensor]:
    """The teacher's weights under the names that a tower of some of its layers has for them."""
    prefix = "encoder.encoder.layer."
    weights = {}
    for name, value in teacher.state_dict().items():
        if not name.startswith(prefix):
            weights[name] = value
            continue
        number, _, rest = name.removeprefix(prefix).partition(".")
        if int(number) in layers:
            weights[f"{prefix}{layers.index(int(number))}.{rest}"] = value
    return weights


def _batches(rows: Sequence[TextRow], size: int, loop: LoopConfig) -> list[list[IntArray]]:
    lengths = np.array([len(row.text) for row in rows])
    return [alike(lengths, size, 1000 * loop.seed + epoch) for epoch in range(loop.epochs)]


def _claim(
    folder: Path, rows: Sequence[TextRow], start: Path, pieces: WordPieces, config: TeacherConfig | StudentConfig
) -> dict[str, Any]:
    record = {
        "stage": folder.name,
        "start": start.name,
        "rows": len(rows),
        "recipe": {**asdict(config), "max_tokens": pieces.max_tokens},
    }
    claim(folder, record)
    return record


def _measure(tower: TextTower, pieces: WordPieces, mixture: Mixture, path: Path) -> None:
    """Write a tower's scores on the dev rows of every source, once."""
    if path.exists():
        return
    scores = {name: head_scores(read_logits(tower, pieces, rows), rows) for name, rows in mixture.dev.items()}
    path.write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")
