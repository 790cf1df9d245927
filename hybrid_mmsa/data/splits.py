"""Which posts are for training and which for measuring: split manifests of ids. It knows no texts and no models.

A manifest is JSON: ids by part (`train`, `dev`, `test`, or `fold_0`…), held-out posts that have a near-duplicate in
train, and the SHA-256 of both. A manifest without parts stands for the split that the corpus itself brings.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from ..bundled import bundled_path
from ..errors import ArtefactError, InputError
from .records import Record, Split

__all__ = ["SplitManifest", "leaked_ids", "load_manifest", "make_folds"]

FOLD = "fold_"


@dataclass(frozen=True, slots=True)
class SplitManifest:
    """A named split.

    Attributes:
        name: The manifest's name and file stem.
        corpus: Name of its corpus.
        source: Where the split comes from.
        parts: Ids by part; empty for the corpus's own split.
        near_duplicates: Ids of dev and test posts with a twin in train, by how they resemble it (`text`, `picture`).
        rest: The part that all posts not named go to; `None` leaves them out.
    """

    name: str
    corpus: str
    source: str
    parts: Mapping[str, tuple[str, ...]]
    near_duplicates: Mapping[str, tuple[str, ...]]
    rest: Split | None = None

    @property
    def sha256(self) -> str:
        """Hash of the ids and where they go, over canonical JSON."""
        content = {"parts": self.parts, "near_duplicates": self.near_duplicates, "rest": self.rest}
        return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    @property
    def split_of(self) -> dict[str, Split]:
        """The part of every id named, for a train/dev/test manifest."""
        return {id_: split for split in get_args(Split) for id_ in self.parts.get(split, ())}

    @property
    def folds(self) -> int:
        """Number of folds; 0 for a train/dev/test manifest."""
        return sum(part.startswith(FOLD) for part in self.parts)

    @property
    def leaked(self) -> frozenset[str]:
        """All dev and test ids with a near-duplicate in train."""
        return frozenset(id_ for ids in self.near_duplicates.values() for id_ in ids)

    def apply(self, records: Iterable[Record], fold: int | None = None) -> Iterator[Record]:
        """Records with `split` set; those the split leaves out are left out.

        Args:
            records: The corpus.
            fold: For a fold manifest: the fold to test on; the next one is dev, the others are train.
        """
        if not self.parts:
            yield from records
            return
        splits = self.split_of if fold is None else self._fold_splits(fold)
        for record in records:
            split = splits.get(record.sample.id or "", self.rest)
            if split is not None:
                yield replace(record, split=split)

    def _fold_splits(self, fold: int) -> dict[str, Split]:
        if not 0 <= fold < self.folds:
            raise InputError(f"{self.name} has folds 0..{self.folds - 1}, not {fold}", field="fold")
        named: dict[str, Split] = {f"{FOLD}{fold}": "test", f"{FOLD}{(fold + 1) % self.folds}": "dev"}
        return {id_: named.get(part, "train") for part, ids in self.parts.items() for id_ in ids}

    def save(self, path: Path) -> None:
        """Write the manifest, one part a line, with its hash."""
        values: dict[str, Any] = {
            "name": self.name,
            "corpus": self.corpus,
            "source": self.source,
            "sha256": self.sha256,
            "sizes": {part: len(ids) for part, ids in self.parts.items()},
            "rest": self.rest,
            "near_duplicates": self.near_duplicates,
            "parts": self.parts,
        }
        body = ",\n".join(f'"{key}": {json.dumps(value, separators=(",", ":"))}' for key, value in values.items())
        path.write_text("{\n" + body + "\n}\n", encoding="utf-8")


def load_manifest(name: str | Path) -> SplitManifest:
    """A manifest by the name of a bundled one, or by path; its hash is checked.

    Raises:
        ArtefactError: There is none, or its ids are not those its hash was made from.
    """
    path = Path(name) if Path(name).suffix == ".json" else bundled_path("eval", "splits", f"{name}.json")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        manifest = SplitManifest(
            name=values["name"],
            corpus=values["corpus"],
            source=values["source"],
            parts={part: tuple(ids) for part, ids in values["parts"].items()},
            near_duplicates={kind: tuple(ids) for kind, ids in values["near_duplicates"].items()},
            rest=values["rest"],
        )
        stated = values["sha256"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtefactError(f"{path.name} is no readable split manifest: {error!r}") from error
    if manifest.sha256 != stated:
        raise ArtefactError(f"{path.name} was changed: its ids do not match its SHA-256")
    return manifest


def make_folds(groups: Sequence[Sequence[str]], labels: Mapping[str, str], folds: int, seed: int = 0) -> dict[str, int]:
    """Assign groups of ids to folds, each group whole, so that every fold has about the same share of each label.

    The largest groups go first, each to the fold that so far holds fewest posts of the group's labels; ties are broken
    by a hash of seed and id, so the result depends on nothing else.
    """

    def shuffled(group: Sequence[str]) -> tuple[int, str]:
        return -len(group), hashlib.sha256(f"{seed}:{group[0]}".encode()).hexdigest()

    held: list[Counter[str]] = [Counter() for _ in range(folds)]
    fold_of: dict[str, int] = {}
    for group in sorted(groups, key=shuffled):
        label_counts = Counter(labels[id_] for id_ in group)
        load = [(sum(n * h[label] for label, n in label_counts.items()), h.total(), k) for k, h in enumerate(held)]
        fold = min(load)[-1]
        held[fold].update(label_counts)
        fold_of.update(dict.fromkeys(group, fold))
    return fold_of


def leaked_ids(groups: Iterable[Sequence[str]], split_of: Mapping[str, Split]) -> list[str]:
    """Dev and test ids in a group of near-duplicates that holds a train id, in the order of `split_of`."""
    leaked = {id_ for group in groups if "train" in {split_of.get(i) for i in group} for id_ in group}
    return [id_ for id_, split in split_of.items() if split != "train" and id_ in leaked]
