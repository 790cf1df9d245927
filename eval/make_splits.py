"""Make the split manifests in `eval/splits` from corpora on disk. It knows no model.

    python eval/make_splits.py mvsa_single --data MVSA_Single --clmlf splits_clmlf.json
    python eval/make_splits.py twitter2015 --data Twitter2015
    python eval/make_splits.py airline --data sentences

Manifests hold ids and hashes, never a text or a picture. CLMLF's split is given as `{"train": [ids], "dev": …}`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Container, Iterable, Mapping
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TypeAlias, get_args

from PIL import Image
from rich.console import Console

from hybrid_mmsa.data import CORPORA, LoadReport, Record, Split, load_corpus
from hybrid_mmsa.data.duplicates import groups, picture_hash, picture_pairs, text_pairs
from hybrid_mmsa.data.splits import FOLD, SplitManifest, leaked_ids, make_folds
from hybrid_mmsa.training.posts.rows import text_key

FOLDS = 10
HELD_OUT = ("airline", "short_reviews")
"""Corpora of one part, of which a tenth each is held out for test and for dev."""
CLMLF = "CLMLF (Li et al., Findings of NAACL 2022)"
Pair: TypeAlias = tuple[str, str]
Pairs: TypeAlias = dict[str, list[Pair]]


def twins(records: Iterable[Record]) -> Pairs:
    """Pairs of near-duplicates by words and, where there are pictures, by picture."""
    texts: dict[str, str] = {}
    hashes = {}
    for sample in (record.sample for record in records):
        if sample.text:
            texts[str(sample.id)] = sample.text
        if isinstance(sample.image, Path):
            with Image.open(sample.image) as image:
                hashes[str(sample.id)] = picture_hash(image)
    pairs = {"text": list(text_pairs(texts))}
    return pairs | {"picture": list(picture_pairs(hashes))} if hashes else pairs


def with_leaks(manifest: SplitManifest, split_of: Mapping[str, Split], pairs: Pairs) -> SplitManifest:
    """The manifest, naming the dev and test posts with a twin in train."""
    leaks = {
        kind: tuple(leaked_ids(groups(split_of, _within(found, split_of)), split_of)) for kind, found in pairs.items()
    }
    return replace(manifest, near_duplicates=leaks)


def in_folds(records: Iterable[Record], pairs: Pairs) -> list[list[str]]:
    """Ids by fold; near-duplicates share a fold."""
    labels = {str(r.sample.id): str(r.sample.label) for r in records if r.sample.label}
    joined = groups(labels, _within([pair for found in pairs.values() for pair in found], labels))
    fold_of = make_folds(joined, labels, FOLDS)
    return [[id_ for id_ in labels if fold_of[id_] == k] for k in range(FOLDS)]


def _within(pairs: Iterable[Pair], ids: Container[str]) -> list[Pair]:
    return [(a, b) for a, b in pairs if a in ids and b in ids]


def mvsa_single(records: list[Record], pairs: Pairs, clmlf: Path) -> list[SplitManifest]:
    """CLMLF's split as the incomplete copy and as the complete corpus have it, and ten folds."""
    parts = {
        part: tuple(str(id_) for id_ in ids) for part, ids in json.loads(clmlf.read_text(encoding="utf-8")).items()
    }
    name, corpus = "mvsa_single_clmlf_3311", "mvsa_single"
    split = SplitManifest(name, corpus, f"{CLMLF}; 300 of its 3,611 train pairs are missing", parts, {})
    split = with_leaks(split, split.split_of, pairs)
    held_out = {part: parts[part] for part in ("dev", "test")}
    whole = f"{CLMLF}; train is all the rest, 3,611 pairs where the corpus is complete"
    folds = {f"{FOLD}{k}": tuple(ids) for k, ids in enumerate(in_folds(records, pairs))}
    made = "Made here: ten folds, stratified by label; near-duplicates by text or picture share a fold"
    return [
        split,
        replace(split, name="mvsa_single_clmlf", source=whole, parts=held_out, rest="train"),
        SplitManifest("mvsa_single_10fold", corpus, made, folds, {}),
    ]


def memotion(records: list[Record], pairs: Pairs) -> list[SplitManifest]:
    """An 80/10/10 split of Memotion 7k, whose released part has none."""
    folds = in_folds(records, pairs)
    parts = {"train": tuple(chain.from_iterable(folds[:8])), "dev": tuple(folds[8]), "test": tuple(folds[9])}
    source = "Made here: 80/10/10, stratified by label; near-duplicates by text or picture share a part"
    manifest = SplitManifest("memotion_grouped", "memotion", source, parts, {})
    return [with_leaks(manifest, manifest.split_of, pairs)]


def held_out_split(corpus: str, records: list[Record], pairs: Pairs) -> list[SplitManifest]:
    """A tenth for test and a tenth for dev, by a hash of the words, so that equal posts share a part."""
    split_of = {str(r.sample.id): tenth(r.sample.text or "") for r in records if r.sample.label}
    parts = {part: tuple(i for i, split in split_of.items() if split == part) for part in ("dev", "test")}
    source = "Made here: a tenth each for test and dev, by a hash of the words"
    manifest = SplitManifest(f"{corpus}_held_out", corpus, source, parts, {}, rest="train")
    return [with_leaks(manifest, split_of, pairs)]


def tenth(text: str) -> Split:
    """The part a text falls into: of ten, number 0 is dev and number 1 is test."""
    number = int.from_bytes(hashlib.sha256(f"own/{text_key(text)}".encode()).digest()[:4], "big") % 10
    return "dev" if number == 0 else "test" if number == 1 else "train"


def own_split(corpus: str, records: list[Record], pairs: Pairs) -> list[SplitManifest]:
    """The corpus's own split: its leaks, and its ids only where the official files do not say them."""
    split_of = {str(r.sample.id): r.split for r in records if r.split}
    manifest = SplitManifest(f"{corpus}_own", corpus, "The corpus's own split", {}, {})
    if corpus == "mvsa_multiple":
        parts = {part: tuple(i for i, split in split_of.items() if split == part) for part in get_args(Split)}
        manifest = SplitManifest("mvsa_multiple_clmlf", corpus, CLMLF, parts, {})
    return [with_leaks(manifest, split_of, pairs)]


def main() -> None:
    """Write the manifests of one corpus and print how many near-duplicates were found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", choices=sorted(CORPORA))
    parser.add_argument("--data", type=Path, help="the corpus's folder; a bundled corpus needs none")
    parser.add_argument("--clmlf", type=Path, help="CLMLF's split, for mvsa_single")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "splits")
    chosen = parser.parse_args()
    report, console = LoadReport(), Console()
    records = list(load_corpus(chosen.corpus, chosen.data, report))
    pairs = twins(records)
    if chosen.corpus == "mvsa_single":
        manifests = mvsa_single(records, pairs, chosen.clmlf or (chosen.data or Path()) / "splits_clmlf.json")
    elif chosen.corpus in HELD_OUT:
        manifests = held_out_split(chosen.corpus, records, pairs)
    elif chosen.corpus == "memotion":
        manifests = memotion(records, pairs)
    else:
        manifests = own_split(chosen.corpus, records, pairs)
    for line in report.lines():
        console.print(line)
    console.print({f"{kind} pairs": len(found) for kind, found in pairs.items()})
    for manifest in manifests:
        manifest.save(chosen.out / f"{manifest.name}.json")
        sizes = {part: len(ids) for part, ids in manifest.parts.items()}
        leaks = {kind: len(ids) for kind, ids in manifest.near_duplicates.items()}
        console.print(manifest.name, sizes, leaks, manifest.sha256)


if __name__ == "__main__":
    main()
