"""`train nano`: a very small vision-language model of one's own, from texts, posts and pictures to a reasoner's folder.

Stages, each in a folder of its own under the runs, each skipped when it is finished: `pieces` (the tokenizer) → `words`
(the language model learns to write) → `answers` (it learns to answer). The picture side is ImageNet's MobileNetV2 and
stays as it is, so what it sees is worked out once.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import transformers

from ..data import PHOTOS
from ..errors import InputError
from ..reasoning.prompts import load_prompt
from ..reasoning.question import Prompt
from .loop import claim
from .nano_answers import AnswerRows, AnswersConfig, restore_answers, train_answers
from .nano_corpora import nano_posts
from .nano_folder import write_folder
from .nano_lessons import write_lessons
from .nano_model import NanoShape, make_image_processor, make_model, round_as_stored
from .nano_pictures import Pictures, look_at
from .nano_pieces import make_processor, make_tokenizer
from .nano_rows import NanoRow, nano_rows
from .nano_seen import CLASS_PHOTOS, seen_things
from .nano_texts import nano_texts
from .nano_words import WordsConfig, train_words
from .precision import training_device

__all__ = ["PROMPT", "NanoConfig", "train_nano"]

PROMPT = "nano"
"""The bundled prompt that is trained with, its partner for posts with a target."""
PIECES, WORDS, ANSWERS = "pieces", "words", "answers"
USED = "rows.json"


@dataclass(frozen=True, slots=True)
class NanoConfig:
    """The whole recipe."""

    shape: NanoShape = field(default_factory=NanoShape)
    pieces: int = 6144
    words: WordsConfig = field(default_factory=WordsConfig)
    answers: AnswersConfig = field(default_factory=AnswersConfig)
    longest: int = 384
    """Most tokens of question and answer; longer rows are left out."""
    share: float = 1.0
    """Share of all texts and rows that is used, to try a recipe."""
    seed: int = 0


def train_nano(data: Path, start: Path, runs: Path, out: Path, config: NanoConfig | None = None) -> None:
    """Run every stage that is not there yet under `runs`, and write the reasoner's folder.

    Args:
        data: Folder holding the corpora (see `rows.CORPUS_FOLDERS`).
        start: ImageNet's folded MobileNetV2, see `image_tower.read_start`.
        runs: Folder for the stages; killed runs go on where they stopped.
        out: Gets the model: a folder that `open_reasoner` opens.
        config: The recipe.

    Raises:
        InputError: `start` is no such file, there is nothing to learn from, or `out` holds something else.
    """
    config = config or NanoConfig()
    check_out(out)
    prompt = load_prompt(PROMPT)
    seen = _seen(data, start, runs)
    learnt, held = (_share(rows, config) for rows in nano_rows(data, seed=config.seed, seen=seen))
    texts = _share(nano_texts(data), config)
    processor = _processor(texts, learnt, prompt, config, runs / PIECES)
    model = make_model(config.shape, len(processor.tokenizer), start, config.seed)
    round_as_stored(model.model.vision_tower)
    if not restore_answers(model, runs / ANSWERS):
        model.to(training_device())
        train_words(model, processor.tokenizer, texts, config.words, runs / WORDS)
        _answers(model, processor, (learnt, held), config, runs / ANSWERS)
    facts = {
        "name": PROMPT,
        "parameters": sum(values.numel() for values in model.parameters()),
        "prompt": PROMPT,
        "prompt_id": load_prompt(PROMPT).id,
        "config": asdict(config),
        "texts": len(texts),
        **json.loads((runs / ANSWERS / USED).read_text(encoding="utf-8")),
    }
    write_folder(model, processor, out, runs, facts)


def _answers(
    model: Any, processor: Any, rows: tuple[Sequence[NanoRow], Sequence[NanoRow]], config: NanoConfig, folder: Path
) -> None:
    """The `answers` stage: what is seen in the pictures, then learning to answer."""
    paths = sorted({Path(row.sample.image) for part in rows for row in part if row.sample.image is not None})
    pictures = look_at(model, processor.image_processor, paths)
    learnt, held = (_answer_rows(part, processor, pictures, config) for part in rows)
    counts = {
        "rows": _counts(rows[0], learnt),
        "held_out": _counts(rows[1], held),
        "pictures": len(pictures.places),
        "pictures_unreadable": len(paths) - len(pictures.places),
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / USED).write_text(json.dumps(counts, indent=1) + "\n", encoding="utf-8")
    train_answers(model, learnt, held, config.answers, folder)


def check_out(out: Path) -> None:
    """Raise `InputError` where a folder of another kind would be written over."""
    if out.is_dir() and any(out.iterdir()) and not (out / "config.json").is_file():
        raise InputError(f"{out} holds something that is no model; name another folder", field="out")


def _seen(data: Path, start: Path, runs: Path) -> dict[str, tuple[str, ...]] | None:
    """What the start's classifier surely sees in pictures, where the data holds photos that name its classes."""
    if start.suffix != ".onnx" or not (data / PHOTOS / CLASS_PHOTOS).is_dir():
        return None
    posts = [post for part in nano_posts(data) for post in part if post.things is None]
    pictures = sorted({Path(post.sample.image) for post in posts if isinstance(post.sample.image, str | Path)})
    return seen_things(data, start, pictures, kept=runs / "seen.json")


def _share(rows: Sequence[Any], config: NanoConfig) -> list[Any]:
    if config.share >= 1:
        return list(rows)
    return random.Random(config.seed).sample(list(rows), round(config.share * len(rows)))


def _processor(texts: Sequence[str], rows: Sequence[NanoRow], prompt: Prompt, config: NanoConfig, folder: Path) -> Any:
    """The `pieces` stage: tokenizer, chat template and picture reader, from disk if they are there."""
    claim(folder, {"stage": folder.name, "pieces": config.pieces, "texts": len(texts), "rows": len(rows)})
    if (folder / "tokenizer.json").is_file():
        library: Any = transformers
        return library.AutoProcessor.from_pretrained(folder, local_files_only=True)
    # The instruction is read before every post: its words are worth a piece each.
    told = [part.instruction for part in (prompt, prompt.partner) if part is not None] * len(rows)
    tokenizer = make_tokenizer([*texts, *(row.target.answer for row in rows), *told], prompt, config.pieces)
    processor = make_processor(tokenizer, make_image_processor())
    processor.save_pretrained(folder)
    return processor


def _answer_rows(rows: Sequence[NanoRow], processor: Any, pictures: Pictures, config: NanoConfig) -> AnswerRows:
    """Rows whose picture can be read, in tokens."""
    usable = [row for row in rows if row.sample.image is None or Path(row.sample.image) in pictures.places]
    lessons = write_lessons(
        processor,
        load_prompt(PROMPT),
        [row.sample for row in usable],
        [row.target for row in usable],
        patches=pictures.features.shape[1],
        longest=config.longest,
    )
    kept = [usable[number] for number in lessons.kept]
    shown = [-1 if row.sample.image is None else pictures.places[Path(row.sample.image)] for row in kept]
    return AnswerRows(
        lessons,
        np.array(shown, np.int64),
        pictures.features,
        np.array([row.weight for row in kept], np.float32),
        [row.corpus for row in kept],
    )


def _counts(rows: Sequence[NanoRow], used: AnswerRows) -> dict[str, int]:
    """Rows by corpus, and how many of all could be used."""
    counts = {corpus: sum(row.corpus == corpus for row in rows) for corpus in sorted({row.corpus for row in rows})}
    return counts | {"all": len(rows), "used": len(used.lessons)}
