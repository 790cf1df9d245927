"""Corpora → the posts and photos that nano learns from and is judged by, held-out texts kept out. Knows no answers.

A corpus whose folder is not there is left out. Texts stay as their authors wrote them; a prompt may rewrite them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from ...data import PHOTOS, Record, load_corpus, load_manifest, load_photos
from ...types import Sample
from ..posts.rows import CORPUS_FOLDERS, fold_of, post_records, text_key
from .photos import things_of

__all__ = ["POSTS", "SAID", "NanoPost", "nano_posts"]

POSTS = "mvsa_single"
"""The corpus of text and picture that nano is made for; one's own posts are of it."""
FOLDERS: Mapping[str, str] = MappingProxyType({**CORPUS_FOLDERS, "mvsa_multiple": "MVSA_Multiple"})
SPLITS: Mapping[str, str] = MappingProxyType({"memotion": "memotion_grouped", "mvsa_multiple": "mvsa_multiple_clmlf"})
"""Splits of corpora that bring none, or whose own is not the one that is measured on."""
BESIDE = (
    *("mvsa_multiple", "semeval2017", "mmsd2", "tweeteval_irony"),
    *("twitter2015", "twitter2017", "memotion", "twitter1269"),
)
SAID = frozenset({POSTS, "mvsa_multiple", "semeval2017"})
"""Corpora whose labels say what the words say."""
UNUSED = ("tweeteval_emotion", "isarcasm")
"""Corpora that teach nothing here, and whose held-out texts are kept out all the same."""
MOST_CHARACTERS = 500
"""Longer texts are left out: beside picture and answer they would not fit what nano reads."""
MOST_DEV = 400
"""Dev posts of a corpus, but for `POSTS`."""
PHOTO_FOLDS = 20
"""One photo of so many is dev."""


@dataclass(frozen=True, slots=True, eq=False)
class NanoPost:
    """A post or a photo to learn from.

    Attributes:
        sample: Text, picture (a path, not decoded), target and what is known of them.
        corpus: Where it is from.
        things: What its corpus says is to be seen in the picture; `None` where it says nothing.
    """

    sample: Sample
    corpus: str
    things: tuple[str, ...] | None = None


def nano_posts(data: Path) -> tuple[list[NanoPost], list[NanoPost]]:
    """Posts to learn from and posts to choose by.

    No text of the first stands in a dev or test part of any corpus. Only MVSA-Single's texts count where posts of
    MVSA-Multiple are words alone: their label is what the words say.

    Args:
        data: Folder holding the corpora (see `FOLDERS`) and `photos/`.

    Raises:
        InputError: Neither MVSA-Single nor one's own posts are there.
    """
    records = {POSTS: post_records(data), **{name: list(_records(data, name)) for name in BESIDE}}
    held_out = {_key(r) for rs in records.values() for r in rs if r.split != "train"}
    held_out |= {_key(r) for name in UNUSED for r in _records(data, name) if r.split != "train"}
    held_out.discard("")
    train, dev = [], []
    for name, some in records.items():
        posts = [r for r in some if _teaches(r.sample)]
        train += [NanoPost(r.sample, name) for r in posts if r.split == "train" and _key(r) not in held_out]
        held = [NanoPost(r.sample, name) for r in posts if r.split == "dev"]
        dev += held if name == POSTS else sorted(held, key=_order)[:MOST_DEV]
    for photo in _photos(data):
        (train if fold_of(photo.sample.id or "", PHOTO_FOLDS) else dev).append(photo)
    return train, dev


def _records(data: Path, name: str) -> Iterator[Record]:
    folder = data / FOLDERS.get(name, "text")
    if not folder.is_dir() or (name == "isarcasm" and not (folder / "isarcasmeval_en.jsonl").is_file()):
        return
    records: Iterator[Record] = load_corpus(name, folder)
    if name in SPLITS:
        records = load_manifest(SPLITS[name]).apply(records)
    for record in records:
        yield replace(record, sample=_usable(record.sample, name))


def _usable(sample: Sample, name: str) -> Sample:
    """What of a post teaches something."""
    if name == "mvsa_multiple":  # no picture is there, so the label is what the words say
        return Sample(text=sample.text, id=sample.id, label=sample.text_label, text_label=sample.text_label)
    if name == "memotion":
        # Most memes are said to be sarcastic, and no other corpus here has two sides and known sarcasm: what is
        # learnt from them is that words beside a picture are never meant.
        return replace(sample, sarcastic=None)
    return sample


def _teaches(sample: Sample) -> bool:
    known = sample.label is not None or sample.sarcastic is not None
    return known and len(sample.text or "") <= MOST_CHARACTERS


def _photos(data: Path) -> Iterator[NanoPost]:
    if not (data / PHOTOS).is_dir():
        return
    photos = list(load_photos(data / PHOTOS))
    for photo, things in zip(photos, things_of(photos), strict=True):
        if things:
            yield NanoPost(Sample(image=photo.image, id=photo.id), PHOTOS, things)


def _key(record: Record) -> str:
    return text_key(record.sample.text or "")


def _order(post: NanoPost) -> int:
    return fold_of(f"{post.corpus}/{post.sample.id}", 1 << 32)
