"""What the text tower is trained on: many corpora, each in its share (`mixture.toml`), and texts made by rule.

No text that a dev or test part holds, that is only measured on, or that the caller holds out is trained on, whichever
corpus it stands in. Knows the corpora; knows nothing of models.
"""

from __future__ import annotations

import json
import random
import tomllib
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ...data import load_corpus, load_manifest
from ...inputs import as_sentence, normalise, reword
from ...types import EMOTIONS, LABELS, EmotionLabel, Sample
from .made_texts import make_texts, vary
from .rows import ClassLabel, TextRow, fold_of, has_posts, post_records, task_labels, text_key, words_key

__all__ = ["Mixture", "dev_rows", "load_mixture", "read_mixture"]

MIXTURE_FILE = Path(__file__).with_name("mixture.toml")
MEASURED_ONLY = (
    "sentences/checklist_mft.jsonl",
    "sentences/checklist_inv_dir.jsonl",
    "sentences/target_arts.jsonl",
    "sentences/barnes_challenge.jsonl",
)
"""Packed corpora under the data folder that no row may be taken from, nor equal."""
VARIED = 0.12
"""Share of the corpora's texts without a target that are changed as another user might have written them."""


class Source(BaseModel):
    """A corpus and its share; `mixture.toml` says what each field means."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    file: str | None = None
    corpus: str | None = None
    folder: str | None = None
    rows: int = Field(gt=0)
    even: bool = False
    sincere: bool = False
    where: Mapping[str, tuple[str | int, ...]] = {}
    least: Mapping[str, float] = {}
    splits: Mapping[str, str] = {}
    manifest: str | None = None
    emotions: Mapping[str, EmotionLabel] = {}

    @model_validator(mode="after")
    def _one_place(self) -> Source:
        if (self.file is None) == (self.corpus is None or self.folder is None):
            raise ValueError(f"{self.name}: a source has either a file, or a corpus and its folder")
        return self


@dataclass(frozen=True, slots=True)
class Mixture:
    """Rows to train on, and the rows that each source holds back.

    Attributes:
        train: In an order that depends on the seed alone.
        dev, test: By source; a source whose corpus is not there is left out.
    """

    train: Sequence[TextRow]
    dev: Mapping[str, Sequence[TextRow]]
    test: Mapping[str, Sequence[TextRow]]


def read_mixture() -> tuple[Source, ...]:
    """The sources of `mixture.toml`."""
    tables = tomllib.loads(MIXTURE_FILE.read_text(encoding="utf-8"))["corpora"]
    return tuple(Source.model_validate(table) for table in tables)


def load_mixture(data: Path, *, seed: int = 0, held_out: Iterable[str] = ()) -> Mixture:
    """All rows of the sources that stand under a data folder, and the texts made by rule.

    Args:
        data: Folder holding the corpora.
        seed: Chooses the rows, where a source has more than its share, and their order.
        held_out: Texts that must not be trained on, for example because they are to measure with.
    """
    parts = _read_parts(data, ("train", "dev", "test"))
    measured = [*held_out, *_measured_texts(data)]
    barred = {words_key(row.text) for rows in parts.values() for part in ("dev", "test") for row in rows[part]}
    barred = (barred | set(map(text_key, measured))) - {""}
    train = []
    for source in read_mixture():
        rng = random.Random(f"{seed} {source.name}")
        rows = [row for row in parts.get(source.name, {}).get("train", ()) if words_key(row.text) not in barred]
        train += [_varied(row, rng) for row in _share(rows, source, rng)]
    train += [row for row in _made_rows(seed, measured) if words_key(row.text) not in barred]
    random.Random(seed).shuffle(train)
    held = ({name: rows[part] for name, rows in parts.items() if rows[part]} for part in ("dev", "test"))
    return Mixture(train, *held)


def dev_rows(data: Path) -> dict[str, list[TextRow]]:
    """The dev rows of every source, as `Mixture.dev`."""
    return {name: rows["dev"] for name, rows in _read_parts(data, ("dev",)).items() if rows["dev"]}


def _read_parts(data: Path, wanted: Container[str]) -> dict[str, dict[str, list[TextRow]]]:
    """Rows by source and split; a source whose corpus is not there is left out."""
    parts: dict[str, dict[str, list[TextRow]]] = {}
    for source in read_mixture():
        if (data / (source.file or source.folder or "")).exists():
            parts[source.name] = defaultdict(list)
            for text, target, labels, split in _rows_of(source, data):
                if labels and (split in wanted or split == "all"):
                    row = _text_row(text, target, labels, split)
                    if row.text and row.split in wanted:
                        parts[source.name][row.split].append(row)
    return parts


def _rows_of(source: Source, data: Path) -> Iterator[tuple[str, str | None, dict[str, ClassLabel], str]]:
    """Text, target, labels and split of each row; a split of `all` is still to be made."""
    if source.corpus is not None:
        for record in load_corpus(source.corpus, data / (source.folder or "")):
            yield record.sample.text or "", record.sample.target, dict(task_labels(record)), record.split or "all"
        return
    listed = {} if source.manifest is None else load_manifest(source.manifest).split_of
    with (data / (source.file or "")).open(encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            if all(row.get(key) in values for key, values in source.where.items()) and all(
                row.get(key, least) >= least for key, least in source.least.items()
            ):
                split = listed.get(str(row["id"])) or source.splits.get(row["split"], row["split"])
                yield row["text"], row.get("target"), _labels(row, source), split


def _text_row(text: str, target: str | None, labels: Mapping[str, ClassLabel], split: str) -> TextRow:
    words, named = as_sentence(reword(normalise(text))), reword(normalise(target)) if target else None
    if split == "all":
        split = {0: "dev", 1: "test"}.get(fold_of(f"own/{words_key(words)}", 10), "train")
    return TextRow(Sample(text=text, target=target), words, named or None, labels, split)


def _labels(row: Mapping[str, Any], source: Source) -> dict[str, ClassLabel]:
    """The class index of each task that a packed row has a label for."""
    labels: dict[str, ClassLabel] = {}
    if row.get("label") in LABELS:
        labels["target" if row.get("target") else "sentiment"] = LABELS.index(row["label"])
    if row.get("sarcastic") is not None:
        labels["sarcasm"] = int(row["sarcastic"])
    elif source.sincere and row.get("label") in ("neutral", "positive"):
        labels["sarcasm"] = 0
    if source.emotions:
        named = row.get("labels") or []
        emotions = {source.emotions.get(name) for name in named}
        if len(emotions) == 1 and (emotion := emotions.pop()) is not None:
            labels["emotion"] = EMOTIONS.index(emotion)
        elif not named and row.get("label") == "neutral":
            labels["emotion"] = EMOTIONS.index("none")
    return labels


def _share(rows: list[TextRow], source: Source, rng: random.Random) -> list[TextRow]:
    """As many rows as the source's share is, of each label the same number if it is to be even."""
    groups: dict[object, list[TextRow]] = defaultdict(list)
    for row in rows:
        first = next(iter(row.labels.values()))
        groups[first if source.even else None].append(row)
    chosen: list[TextRow] = []
    for group in groups.values():
        wanted = source.rows // len(groups)
        # A label that is rare in an even source is not repeated: it would be learnt by heart.
        times, rest = (0, min(wanted, len(group))) if source.even else divmod(wanted, len(group))
        chosen += group * times + rng.sample(group, rest)
    return chosen


def _varied(row: TextRow, rng: random.Random) -> TextRow:
    if row.target is not None or rng.random() >= VARIED:
        return row
    return _text_row(vary(row.sample.text or "", rng), None, row.labels, row.split)


def _made_rows(seed: int, held_out: Sequence[str]) -> Iterator[TextRow]:
    for made in make_texts(seed, held_out=held_out):
        yield replace(_text_row(made.text, made.target, made.labels, "train"), made=True)


def _measured_texts(data: Path) -> Iterator[str]:
    """Texts that models are measured on and that no source keeps back: posts, everyday posts, suites of cases."""
    yield from (record.sample.text or "" for record in load_corpus("everyday"))
    if has_posts(data):
        yield from (record.sample.text or "" for record in post_records(data) if record.split != "train")
    for name in MEASURED_ONLY:
        if (data / name).is_file():
            with (data / name).open(encoding="utf-8") as lines:
                yield from (json.loads(line)["text"] for line in lines)
