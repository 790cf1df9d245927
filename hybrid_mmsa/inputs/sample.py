"""A raw post → a checked one: text canonical, picture decoded, every field of its type. Knows nothing of models."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import get_args

from PIL import Image

from ..errors import InputError
from ..foreign import translated
from ..types import ImageSource, Label, Sample
from .image import DRAFT_PIXELS, read_image
from .language import looks_foreign
from .limits import DEFAULT_LIMITS, Limits
from .refusal import refusal, shown
from .rewording import reword
from .source import WANTED
from .text import normalise, writable

__all__ = ["read_sample"]

FOREIGN = "text does not look English; answers are made for English"
"""The warning of a post whose words are in another language; such a post is deferred."""
UNNAMED = "the text does not name the target; the answer may be about something else"
"""The warning of a post whose words hold no word of the target it asks about."""

_STRINGS = ("text", "target", "id", "time", "group", "rationale")
_LABELS = ("label", "text_label", "image_label")


def read_sample(sample: Sample, limits: Limits = DEFAULT_LIMITS) -> Sample:
    """Check a post and read its text and picture.

    The text and target come back normalised, `None` when nothing in them can be read; the picture as a PIL image in
    RGB; `warnings` with what had to be changed or could not be judged. A sample that was read already is returned as
    it is. Lone surrogates in the fields that are only carried along become U+FFFD, so that answers can be written.

    Raises:
        InputError: A field has the wrong type or value, the picture cannot be read (see `read_image`), or there is
            neither text nor picture.
    """
    if not isinstance(sample, Sample):
        raise refusal("sample", shown(sample), "a Sample")
    # A caller's own kind of string or number may raise anything.
    with translated(lambda cause: InputError(f"the post cannot be read ({cause})")):
        return _read(sample, limits)


def _read(sample: Sample, limits: Limits) -> Sample:
    _check_types(sample)
    notes: list[str] = []
    text = _words("text", sample.text, limits, notes)
    target = _words("target", sample.target, limits, notes)
    if text is None and sample.image is None:
        raise InputError("found neither text nor image (white space counts as none); wanted at least one of them")
    if text is not None and looks_foreign(text):
        notes.append(FOREIGN)
    if text is not None and target is not None and not _names(text, target):
        notes.append(UNNAMED)
    image = None if sample.image is None else _picture(sample.image, limits)
    warnings = sample.warnings + tuple(note for note in notes if note not in sample.warnings)
    read = replace(
        sample,
        text=text,
        image=image,
        target=target,
        id=_carried(sample.id),
        time=_carried(sample.time),
        group=_carried(sample.group),
        rationale=_carried(sample.rationale),
        warnings=warnings,
    )
    same = image is sample.image and all(getattr(read, n) == getattr(sample, n) for n in (*_STRINGS, "warnings"))
    return sample if same else read


def _check_types(sample: Sample) -> None:
    for name in _STRINGS:
        value = getattr(sample, name)
        if value is not None and not isinstance(value, str):
            raise refusal(name, shown(value), "a string or None")
    for name in _LABELS:
        value = getattr(sample, name)
        if value is not None and not (isinstance(value, str) and value in get_args(Label)):
            raise refusal(name, shown(value), f"one of {', '.join(get_args(Label))}, or None")
    if sample.sarcastic is not None and not isinstance(sample.sarcastic, bool):
        raise refusal("sarcastic", shown(sample.sarcastic), "True, False or None")
    if not isinstance(sample.warnings, tuple) or not all(isinstance(note, str) for note in sample.warnings):
        raise refusal("warnings", shown(sample.warnings), "a tuple of strings")


def _words(field: str, raw: str | None, limits: Limits, notes: list[str]) -> str | None:
    """Normalised text within the limit, or None when no tower could read a word of it."""
    if raw is None:
        return None
    most = limits.max_text_chars
    text = normalise(raw[:most])
    longest = max(len(raw), len(text))  # canonical text can be longer than what it was made from
    if longest > most:
        text = text[:most].rstrip(" \u200d")
        notes.append(f"{field} was cut from {longest:,} to {most:,} characters")
    return text if reword(text) else None


def _names(text: str, target: str) -> bool:
    """Whether a word of the target is in the text, also inside a hashtag, a name or a longer form of the word."""
    text, target = text.casefold(), target.casefold()
    # A target without letters, such as an emoji, is looked for as it stands.
    return any(word in text for word in re.findall(r"\w{2,}", target) or [target])


def _picture(source: ImageSource, limits: Limits) -> Image.Image:
    """The decoded picture; whatever a caller's own picture object raises on the way is an `InputError`."""
    kind = type(source).__name__
    with translated(lambda cause: refusal("image", f"an object of type {kind} that cannot be read ({cause})", WANTED)):
        picture = read_image(source, limits, draft=DRAFT_PIXELS)
        picture.load()  # one that was closed fails here and not in the encoder
        return picture


def _carried(value: str | None) -> str | None:
    return None if value is None else writable(value)
