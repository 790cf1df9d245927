"""nano's `pieces` stage: corpora → tokenizer, tokens of all texts and lessons, and which pictures they show.

Worked out once: the stages behind it read tokens alone, on this machine or on another. Knows no model.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import transformers
from safetensors.numpy import load_file, save_file

from ...adapters import Adapter, resolve_adapter
from ...data import PHOTOS
from ...reasoning.prompt.prompts import load_prompt
from ...types import LABELS, FloatArray, IntArray
from ..common.loop import claim
from .corpora import nano_posts
from .lessons import Lessons, end_to_end, write_lessons
from .model import PATCHES, make_image_processor
from .opinions import OPINIONS, opinions
from .pieces import make_processor, make_tokenizer
from .rows import PROMPT, NanoRow, nano_rows
from .seen import CLASS_PHOTOS, seen_things
from .texts import nano_texts

__all__ = ["PiecesConfig", "Prepared", "prepare"]

FACTS, TEXTS, LEARNT, HELD = "facts.json", "texts.safetensors", "learnt.safetensors", "held.safetensors"


@dataclass(frozen=True, slots=True)
class PiecesConfig:
    """How corpora become tokens."""

    pieces: int = 6144
    longest: int = 384
    """Most tokens of question and answer; longer ones are left out."""
    share: float = 1.0
    """Share of all texts and posts that is used, to try a recipe."""
    seed: int = 0
    fast: str = "default"
    """The adapter whose opinions are learnt beside what people said; none if empty."""


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """What the other stages need.

    Attributes:
        processor: Tokenizer, chat template and picture reader.
        texts: Tokens of each text.
        learnt, held: Lessons to learn from and to measure on.
        pictures: The pictures they show, by number, from the data folder.
        facts: Counts (`texts`, `rows` and `held_out` by corpus), `corpora` by number, ids of the prompt and its
            partner, and `fast`: name and hash of the adapter whose opinions are learnt, `None` without one.
        id: Hash of all that decides them; the stages behind this one are of the same.
    """

    processor: Any
    texts: list[IntArray]
    learnt: Lessons
    held: Lessons
    pictures: list[Path]
    facts: dict[str, Any]
    id: str


def prepare(data: Path, start: Path, config: PiecesConfig, folder: Path) -> Prepared:
    """The stage, from disk if it is there; then the corpora are not read again.

    Args:
        data: Folder holding the corpora.
        start: ImageNet's MobileNetV2; as `.onnx` it also says what is surely seen in posts' pictures, where the
            data holds photos that name its classes.
        config: The recipe.
        folder: The stage's folder.

    Raises:
        InputError: There is nothing to learn from, or the folder holds a stage of another recipe.
        ArtefactError: The fast tier's adapter is not there or damaged.
    """
    fast = resolve_adapter(config.fast) if config.fast else None
    made_with = _made_with(fast)
    claimed = {"stage": folder.name, "recipe": asdict(config), **made_with}
    claim(folder, claimed)
    if not (folder / FACTS).is_file():
        _write(data, start, config, folder, fast)
    library: Any = transformers
    facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    texts = load_file(folder / TEXTS)
    return Prepared(
        library.AutoProcessor.from_pretrained(folder, local_files_only=True),
        np.split(texts["ids"], np.cumsum(texts["lengths"])[:-1]),
        Lessons.load(folder / LEARNT),
        Lessons.load(folder / HELD),
        [Path(path) for path in facts.pop("pictures")],
        facts | made_with,
        hashlib.sha256(json.dumps(claimed, sort_keys=True).encode()).hexdigest(),
    )


def _made_with(fast: Path | None) -> dict[str, Any]:
    """What beside the recipe decides the lessons: who is asked, and how."""
    prompt = load_prompt(PROMPT)
    told: dict[str, Any] = {"prompt_id": prompt.id, "fast": None}
    told["partner_id"] = None if prompt.partner is None else prompt.partner.id
    if fast is not None:
        adapter = Adapter.load(fast)
        told["fast"] = {"name": adapter.name, "hash": adapter.hash}
    return told


def _write(data: Path, start: Path, config: PiecesConfig, folder: Path, fast: Path | None) -> None:
    seen = _seen(data, start, folder)
    learnt, held = nano_rows(data, seed=config.seed, seen=seen)
    texts = _share(nano_texts(learnt, data), config)
    parts = [_share(rows, config) for rows in (learnt, held)]
    processor = _processor(texts, parts[0], config)
    processor.save_pretrained(folder)
    ids = [np.array(each, np.int16) for each in processor.tokenizer(texts, add_special_tokens=False)["input_ids"]]
    lengths = np.array([len(each) for each in ids], np.int64)
    save_file({"ids": np.concatenate(ids), "lengths": lengths}, folder / TEXTS)
    pictures = sorted({Path(row.sample.image) for part in parts for row in part if row.sample.image is not None})
    corpora = sorted({row.corpus for part in parts for row in part})
    for rows, asked, file in zip(parts, (fast, None), (LEARNT, HELD), strict=True):
        silent = np.zeros((len(rows), len(OPINIONS), len(LABELS)), np.float32)
        said = silent if asked is None else opinions(rows, asked)
        _lessons(rows, processor, (pictures, corpora), config, said).save(folder / file)
    facts = {
        "texts": len(texts),
        "corpora": corpora,
        "rows": _counts(parts[0]),
        "held_out": _counts(parts[1]),
        "pictures": [str(path.relative_to(data) if path.is_relative_to(data) else path.resolve()) for path in pictures],
    }
    partial = folder / f"{FACTS}.partial"  # the stage is there when this file is
    partial.write_text(json.dumps(facts) + "\n", encoding="utf-8")
    partial.replace(folder / FACTS)


def _seen(data: Path, start: Path, folder: Path) -> dict[str, tuple[str, ...]] | None:
    """What the start's classifier surely sees in pictures that their corpus does not tell of."""
    if start.suffix != ".onnx" or not (data / PHOTOS / CLASS_PHOTOS).is_dir():
        return None
    posts = [post for part in nano_posts(data) for post in part if post.things is None]
    pictures = sorted({Path(post.sample.image) for post in posts if isinstance(post.sample.image, str | Path)})
    return seen_things(data, start, pictures, kept=folder / "seen.json")


def _share(rows: Sequence[Any], config: PiecesConfig) -> list[Any]:
    if config.share >= 1:
        return list(rows)
    return random.Random(config.seed).sample(list(rows), round(config.share * len(rows)))


def _processor(texts: Sequence[str], rows: Sequence[NanoRow], config: PiecesConfig) -> Any:
    prompt = load_prompt(PROMPT)
    # The instruction is read before every post: its words are worth a piece each.
    told = [part.instruction for part in (prompt, prompt.partner) if part is not None] * len(rows)
    tokenizer = make_tokenizer([*texts, *(row.target.answer for row in rows), *told], prompt, config.pieces)
    return make_processor(tokenizer, make_image_processor())


def _lessons(
    rows: Sequence[NanoRow],
    processor: Any,
    names: tuple[Sequence[Path], Sequence[str]],
    config: PiecesConfig,
    said: FloatArray,
) -> Lessons:
    posts = [(row.sample, row.target) for row in rows]
    written, kept = write_lessons(processor, load_prompt(PROMPT), posts, patches=PATCHES, longest=config.longest)
    pictures, corpora = ({name: number for number, name in enumerate(each)} for each in names)
    ours = [rows[number] for number in kept]
    return Lessons(
        *end_to_end(written),
        np.array([-1 if r.sample.image is None else pictures[Path(str(r.sample.image))] for r in ours], np.int64),
        np.array([row.weight for row in ours], np.float32),
        np.array([corpora[row.corpus] for row in ours], np.int64),
        said[kept].astype(np.float16),
    )


def _counts(rows: Sequence[NanoRow]) -> dict[str, int]:
    return {corpus: sum(row.corpus == corpus for row in rows) for corpus in sorted({row.corpus for row in rows})}
