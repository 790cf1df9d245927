"""Is a text in a language the model reads? Knows nothing of models: English, or not.

Most posts are plainly English and are told by their little words alone. The others are put to py3langid (after Lui and
Baldwin 2012, "langid.py"), whose model takes a second to load.
"""

from __future__ import annotations

import re
import struct
import unicodedata
from array import array
from collections.abc import Iterator
from functools import cache
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .rewording import plain_letters

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

__all__ = ["looks_foreign"]

LEAST_ENGLISH = 0.05
"""Below this probability of English a text is foreign: of English tweets and reviews 0 to 0.6 % are, of others 90 to
100 %."""
LEAST_WORDS = 3
"""Fewer words tell no language from another."""
PLAIN = 0.25
"""Share of English little words from which on a text is English without further ado."""
LONGEST = 2000
"""Characters that are looked at."""
_PIECE = 1 << 20
_STORED = 0
_LOCAL_HEADER = struct.Struct("<8xH16xHH")

_ASIDE = re.compile(r"(?:https?://|www\.)\S+|[@#]\w+|[^\w\s'’-]+|\d+", re.IGNORECASE)
_LITTLE_WORDS = """
the a an and or but of to in on at for with from is are was were be been am i i'm i've it's you he she it we they my
your his her our their this that these those not no don't doesn't didn't isn't wasn't can't won't so do does did have
has had will would can could should just what when who how why which all any some me him us them if about out up as by
than then there here very too never always after before because only more most
"""
_ENGLISH = frozenset(_LITTLE_WORDS.split())


def looks_foreign(text: str) -> bool:
    """Whether a normalised text is not English. Too few words to tell, names and mixed texts count as English."""
    words = _ASIDE.sub(" ", plain_letters(text[:LONGEST])).lower().split()
    letters = [character for word in words for character in word if character.isalpha()]
    if len(letters) >= LEAST_WORDS and 2 * sum(map(_is_latin, letters)) < len(letters):
        return True
    if len(words) < LEAST_WORDS or sum(word.replace("’", "'") in _ENGLISH for word in words) >= PLAIN * len(words):
        return False
    probabilities: dict[str, float] = dict(_identifier().rank(" ".join(words)))
    return probabilities.get("en", 0.0) < LEAST_ENGLISH


@cache
def _is_latin(character: str) -> bool:
    return character.isascii() or unicodedata.name(character, "").startswith("LATIN")


@cache
def _identifier() -> LanguageIdentifier:
    import lzma  # not before: most processes need neither

    from py3langid.langid import MODEL_DIR, MODEL_FILE, LanguageIdentifier

    # The library's own loader unpacks the model into a temporary file; nothing is written here.
    with lzma.open(MODEL_DIR / MODEL_FILE) as packed:
        model = dict(_arrays(packed))
    return LanguageIdentifier(
        model["ptc"],
        model["pc"],
        model["classes"].tolist(),
        _as_array(model.pop("nextmove")),
        model["out_feat"].tolist(),
        norm_probs=True,
        tk_row=_as_array(model["nextmove_row"]),
    )


def _arrays(npz: IO[bytes]) -> Iterator[tuple[str, NDArray[Any]]]:
    """The arrays of an `.npz` file that is not compressed, by their names, as they come: nothing is held twice.

    `numpy.load` goes back and forth in such a file, so that all of it would have to be unpacked first: 70 MB more. The
    file is a ZIP archive (APPNOTE 6.3.10, section 4.3.7) of `.npy` files.
    """
    while (head := npz.read(_LOCAL_HEADER.size)).startswith(b"PK\x03\x04"):
        method, name_length, extra_length = _LOCAL_HEADER.unpack(head)
        if method != _STORED:
            raise ValueError("the language model is packed in a way that this version does not know")
        name = npz.read(name_length).decode()
        npz.read(extra_length)
        np.lib.format.read_magic(npz)
        shape, _, dtype = np.lib.format.read_array_header_1_0(npz)
        values = np.empty(shape, dtype)
        place = values.reshape(-1).view(np.uint8).data
        while place:
            part = npz.read(min(len(place), _PIECE))
            if not part:
                raise ValueError("the language model ends too soon")
            place[: len(part)] = part
            place = place[len(part) :]
        yield name.removesuffix(".npy"), values


def _as_array(values: NDArray[np.unsignedinteger[Any]]) -> array[int]:
    """The same unsigned integers in an array of the standard library, whose items are read faster one by one."""
    found = array({2: "H", 4: "I"}[values.dtype.itemsize])
    found.frombytes(values.data.cast("B"))
    return found
