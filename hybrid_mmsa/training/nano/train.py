"""`train nano`: a very small vision-language model of one's own, from texts, posts and pictures to a reasoner's folder.

Stages, each in a folder of its own under the runs, each skipped when it is finished: `pieces` (the tokenizer, and all
texts and lessons in tokens) → `words` (the language model learns to write) → `pictures` (what is seen in each: the
picture side is ImageNet's MobileNetV2 and stays as it is) → `answers` (it learns to answer) → `reasons` (it practises
saying in a rationale what it said in the fields before it; sarcasm is gone over again).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError
from ...reasoning.models.own import BUNDLED
from ...reasoning.prompt.labels import label_tokens
from ...reasoning.prompt.prompts import load_prompt
from ...types import LABELS
from ..common.device import training_device
from ..common.loop import LoopConfig
from .answers import AnswersConfig, Course, restore_answers, train_answers
from .folder import write_folder
from .lessons import Lessons
from .model import NanoShape, make_model, round_as_stored, start_pieces
from .pictures import Pictures, look_at
from .practice import practised
from .prepared import PiecesConfig, Prepared, prepare
from .rows import PROMPT
from .words import WordsConfig, train_words

__all__ = ["NanoConfig", "train_nano"]

PIECES, WORDS, PICTURES, ANSWERS, REASONS = "pieces", "words", "pictures", "answers", "reasons"
USED = "used.json"


@dataclass(frozen=True, slots=True)
class NanoConfig:
    """The whole recipe."""

    shape: NanoShape = field(default_factory=NanoShape)
    pieces: PiecesConfig = field(default_factory=PiecesConfig)
    words: WordsConfig = field(default_factory=WordsConfig)
    answers: AnswersConfig = field(default_factory=AnswersConfig)
    reasons: AnswersConfig = field(
        default=AnswersConfig(
            loop=LoopConfig(epochs=1, learning_rate=3e-4, weight_decay=0.1, warmup=0.05, averaging=0.99),
            share=0.38,
            label_weight=0.25,
            facts_weight=0.15,
            claims_weight=0.35,
            practice=1.0,
        )
    )
    """Learnt from lessons that teach a rationale or sarcasm, and from practice (`practice`)."""
    seed: int = 0
    """Of the weights that start from chance."""


def train_nano(data: Path, start: Path, runs: Path, out: Path, config: NanoConfig | None = None) -> None:
    """Run every stage that is not there yet under `runs`, and write the reasoner's folder.

    Args:
        data: Folder holding the corpora (see `corpora`).
        start: ImageNet's folded MobileNetV2, see `image_tower.read_start`.
        runs: Folder for the stages; killed runs go on where they stopped.
        out: Gets the model: a folder that `open_reasoner` opens.
        config: The recipe.

    Raises:
        InputError: `start` is no such file, there is nothing to learn from, or `out` holds something else.
    """
    config = config or NanoConfig()
    check_out(out)
    prepared = prepare(data, start, config.pieces, runs / PIECES)
    model = make_model(config.shape, len(prepared.processor.tokenizer), start, config.seed)
    round_as_stored(model.model.vision_tower)
    start_pieces(model, prepared.processor.tokenizer)
    model.set_attn_implementation("eager")  # rows are short: on a CPU faster there and back than a fused kernel
    if not _restored(model, config, runs, prepared.id):
        model.to(training_device())
        train_words(model, prepared.texts, config.words, runs / WORDS, prepared.id)
        _answers(model, prepared, data, config, runs)
    facts = {
        "name": BUNDLED,
        "prompt": PROMPT,
        "parameters": sum(values.numel() for values in model.parameters()),
        "config": asdict(config),
        **prepared.facts,
        **json.loads((runs / ANSWERS / USED).read_text(encoding="utf-8")),
    }
    write_folder(model, prepared.processor, out, runs, facts)


def check_out(out: Path) -> None:
    """Raise `InputError` where a folder of another kind would be written over."""
    if out.is_dir() and any(out.iterdir()) and not (out / "config.json").is_file():
        raise InputError(f"{out} holds something that is no model; name another folder", field="out")


def _restored(model: Any, config: NanoConfig, runs: Path, pieces: str) -> bool:
    """Whether all was trained before, by this recipe on these pieces; the model then has those weights."""
    return restore_answers(model, config.answers, runs / ANSWERS, pieces) and restore_answers(
        model, config.reasons, runs / REASONS, pieces
    )


def _answers(model: Any, prepared: Prepared, data: Path, config: NanoConfig, runs: Path) -> None:
    """What is seen in the pictures, then learning to answer, and learning to give reasons."""
    paths = [data / path for path in prepared.pictures]
    pictures = look_at(model, prepared.processor.image_processor, paths, runs / PICTURES)
    tokenizer, prompt = prepared.processor.tokenizer, load_prompt(PROMPT)
    tokens = label_tokens(lambda text: tokenizer(text, add_special_tokens=False)["input_ids"], prompt.labels)
    words = [tokens.ids[label] for label in LABELS]
    learnt, held = (_readable(lessons, paths, pictures) for lessons in (prepared.learnt, prepared.held))

    def course(lessons: Lessons, config: AnswersConfig | None = None) -> Course:
        if config is not None:
            practice = practised(lessons, tokenizer, prompt, config.practice, config.loop.seed)
            lessons = Lessons.concatenate([lessons, practice])
        return Course(lessons, pictures.features, prepared.facts["corpora"], words)

    measured = course(held)
    used = {"lessons": len(learnt), "pictures": len(pictures.places)}
    (runs / ANSWERS).mkdir(parents=True, exist_ok=True)
    (runs / ANSWERS / USED).write_text(json.dumps(used) + "\n", encoding="utf-8")
    if not restore_answers(model, config.answers, runs / ANSWERS, prepared.id):
        lessons = course(learnt, config.answers)
        train_answers(model, lessons, measured, config.answers, runs / ANSWERS, prepared.id)
    lessons = course(learnt.telling(), config.reasons)
    train_answers(model, lessons, measured, config.reasons, runs / REASONS, prepared.id)


def _readable(lessons: Lessons, paths: list[Path], pictures: Pictures) -> Lessons:
    """Lessons whose picture could be read, by the places of their features."""
    places = np.array([pictures.places.get(path, -1) for path in paths] + [-1], np.int64)
    usable = lessons.take(np.flatnonzero((lessons.pictures < 0) | (places[lessons.pictures] >= 0)))
    return usable.showing(places[usable.pictures])
