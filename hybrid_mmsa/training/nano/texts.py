"""Plain texts that nano's tokenizer and language model are learnt from. Knows no labels.

Posts as `inputs.clean` rewrites them, which is how nano reads them: handles and links masked, hashtags and emoji in
words; mail addresses too. Captions; rationales.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ...data import PHOTOS, load_photos
from ...inputs import clean, normalise
from .rows import NanoRow

__all__ = ["nano_texts", "post_texts"]

RATIONALES = 20_000
"""Composed rationales among the texts, at the most."""
TOKENISED = frozenset({"twitter2015", "twitter2017"})
"""Corpora whose texts have a space between the mark of a handle and its name."""
_TOKENISED = re.compile(r"@ (?=\w)")
_MAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")


def nano_texts(rows: Sequence[NanoRow], data: Path) -> list[str]:
    """Texts of training posts, captions of training photos, and composed rationales, each once and in a fixed order.

    Args:
        rows: What is learnt from, see `rows`.
        data: Folder holding the photos' captions.
    """
    rationales = dict.fromkeys(json.loads(row.target.answer)["rationale"] for row in rows)
    chosen = random.Random("rationales").sample(sorted(rationales), min(RATIONALES, len(rationales)))
    texts = [*post_texts(rows), *_captions(data, rows), *chosen]
    return [text for text in dict.fromkeys(texts) if text]


def post_texts(rows: Iterable[NanoRow]) -> list[str]:
    """The posts' texts as nano reads them, each once."""
    found: dict[str, None] = {}
    for row in rows:
        if row.sample.text:
            text = _MAIL.sub("@user", normalise(row.sample.text))
            found[clean(_TOKENISED.sub("@", text) if row.corpus in TOKENISED else text)] = None
    return list(found)


def _captions(data: Path, rows: Iterable[NanoRow]) -> Iterator[str]:
    """Sentences on the photos among the rows."""
    ours = {row.sample.id for row in rows if row.corpus == PHOTOS}
    if ours:
        for photo in load_photos(data / PHOTOS):
            if photo.id in ours:
                yield from (" ".join(caption.split()) for caption in photo.captions)
