"""Names and arrays that every room shares: labels, tasks, modalities, reasons. Knows nothing of posts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

Label: TypeAlias = Literal["negative", "neutral", "positive"]
EmotionLabel: TypeAlias = Literal["anger", "joy", "optimism", "sadness", "none"]
Mode: TypeAlias = Literal["auto", "fast", "deep"]
ExplainLevel: TypeAlias = Literal["none", "modality", "full"]
Reason: TypeAlias = Literal["low_confidence", "sarcasm", "conflict", "novel", "language", "requested"]
Modality: TypeAlias = Literal["text", "image"]
Sense: TypeAlias = Literal["ocr", "faces"]
"""What else may be read in a picture: its words, and what faces in it look like. Named as the extras are."""
PictureSource: TypeAlias = Literal["picture_words", "faces"]
"""What is read in a picture and may join the answer."""
Source: TypeAlias = Literal["text", "image", "picture_words", "faces"]
"""What an answer may rest on: a side of the post, or what is read in its picture."""
PostKind: TypeAlias = Literal["words", "picture", "unseen_picture", "target"]
"""What sets posts apart where verdicts are pooled: asked about a target; else words alone, with a picture, or with a
picture that the reasoner is not shown."""
VerdictUse: TypeAlias = Literal["pooled", "alone", "ignored"]
"""How a verdict counts in the answer: pooled with the fast answer, in its place, or not at all."""
Task: TypeAlias = Literal[
    "sentiment",
    "text_sentiment",
    "image_sentiment",
    "target_sentiment",
    "text_alone",
    "image_alone",
    "sarcasm",
    "emotion",
]
"""What the fast tier judges. `text_sentiment`/`image_sentiment`: what that side says by itself.
`target_sentiment`: what the words say about the target. `text_alone`/`image_alone`: the whole post's sentiment as
judged from that side only; of a post with one side, that is its `sentiment`."""

LABELS: tuple[Label, ...] = ("negative", "neutral", "positive")
EMOTIONS: tuple[EmotionLabel, ...] = ("anger", "joy", "optimism", "sadness", "none")
TASKS: tuple[Task, ...] = get_args(Task)
SENSES: tuple[Sense, ...] = get_args(Sense)
POST_KINDS: tuple[PostKind, ...] = get_args(PostKind)
PICTURE_SOURCES: tuple[PictureSource, ...] = get_args(PictureSource)
"""In the order in which they join the answer."""

FloatArray: TypeAlias = NDArray[np.float32]
BoolArray: TypeAlias = NDArray[np.bool_]
IntArray: TypeAlias = NDArray[np.int64]
TaskArrays: TypeAlias = dict[Task, FloatArray]
"""One `[n, classes]` array per task; rows whose modality is missing are NaN."""

ImageSource: TypeAlias = "str | Path | bytes | bytearray | memoryview | BinaryIO | Image | NDArray[Any]"
"""A picture as users hold it: path, encoded bytes, file object, PIL image, numpy array, or `data:` URI."""
