"""What the answer to one post rests on: its words and regions, each judged by hiding it. Changes no answer.

Words: occlusion, every word (or group of neighbours in a long text) left out by itself (Zeiler & Fergus 2014, arXiv
1311.2901; Li et al. 2016, arXiv 1612.08220). On posts for development, leaving a word out found the words that matter
more often than a mask in its place did. Where the encoder can estimate what that does, from its one reading of the
post, the text is read again only without the few words that seem to count most; the others keep their estimates.

Regions: the last feature map's cells, each left out of the mean that is the picture's features. That is a class
activation map (Zhou et al. 2016, arXiv 1512.04150) carried through all that follows the features, exactly, with no
further encoding. Boxes of a tenth of the picture where the map is hottest are then painted over in the picture's mean
colour and encoded again: their effects are measured, the strongest are kept, and a box that the picture
does not confirm is left out. The map alone points at the right place less often than the boxes checked so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..bounds.deadline import ENDLESS, NO_TIME, Deadline
from ..encoders import Encoder, PostMap
from ..errors import EncoderError
from ..types import LABELS, BoolArray, Change, Features, FloatArray, Region, Sample, TaskArrays, WordEffect
from .probe import Opinions, Probe
from .regions import grid_boxes, hide_boxes, place, shrunk, strongest_boxes
from .telling import LEAST_EFFECT, is_function_word, told
from .words import Span, groups, hide, word_spans

__all__ = ["Evidence", "find_all", "find_evidence", "heat_map", "hidden_words", "region_evidence"]

SARCASTIC = 0.5
"""From this P(sarcastic) on, the words that raise it are reported."""
MOST_SARCASM_WORDS = 3
MOST_REGIONS = 3
MOST_CHANGES = 3
"""Per side."""
GRID = 5
"""Rows and columns in which a picture is painted over where the encoder gives no map."""

MOST_TEXTS = 64
MOST_TOKENS = 2048
"""So many versions of a text, and so many tokens in all of them, are read at most. A text of more words, or of very
many tokens, has its words hidden a few neighbours at a time: two at a time from about 45 words on, eight in a text that
fills the tower. So a long text costs little more than a short one."""

MOST_READ = 2
"""Where an encoder can estimate what leaving words out does, so many versions of a text are read in earnest at most:
those without the words that seem to speak most for the label, function words and what would not be told left aside. On
posts for development, the three strongest words were as faithful so as with four read."""

PLAIN = 0.12
"""The hottest box of a picture is looked at first, and the others only where it lowers the label's log-odds by less. On
posts for development, the box told was as faithful so as where all are looked at."""

Group: TypeAlias = tuple[Span, ...]


@dataclass(frozen=True, slots=True, eq=False)
class HiddenWords:
    """The words of a text, one by one or in groups of neighbours, and what the fast tier says without each.

    Attributes:
        parts: The words, in reading order.
        opinions: Row `i` is about the text without `parts[i]`.
        read: bool `[n]`, whether that text was read; else it was estimated.
    """

    parts: Sequence[Group]
    opinions: Opinions
    read: BoolArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The parts of an `Explanation` that `explain="full"` adds; see there. `None` for a side that was not read.

    `grouped` says that words were hidden a few neighbours at a time, so that nothing is known of single ones;
    `failure`, why an encoder's error left the rest empty.
    """

    words: tuple[WordEffect, ...] | None = None
    sarcasm_words: tuple[WordEffect, ...] | None = None
    heat_map: tuple[tuple[float, ...], ...] | None = None
    regions: tuple[Region, ...] | None = None
    changes: tuple[Change, ...] = ()
    grouped: bool = False
    failure: str | None = None


def find_all(
    encoder: Encoder,
    judge: Callable[[Features], TaskArrays],
    prior: FloatArray,
    samples: Sequence[Sample],
    features: Features,
    about_target: BoolArray,
    kept: Sequence[PostMap | None],
    deadline: Deadline = ENDLESS,
) -> list[Evidence]:
    """`find_evidence` for each post of a batch; see `Probe` for the rest.

    Args:
        encoder: The analyzer's.
        judge: Features → calibrated probabilities per task.
        prior: Class probabilities `[3]` of a post of which nothing is read.
        samples: The posts, read.
        features: Theirs, row by row.
        about_target: bool `[n]`, whether the answer is about the post's target.
        kept: What the encoder kept of reading each.
        deadline: When no more is looked for.
    """
    evidence: list[Evidence] = []
    for i, sample in enumerate(samples):
        if deadline.passed:
            evidence.append(Evidence(failure=NO_TIME))
            continue
        try:
            row, about = features.take([i]), bool(about_target[i])
            probe = Probe(encoder, judge, prior, sample, row, about_target=about, kept=kept[i])
            evidence.append(find_evidence(probe))
        except EncoderError as error:  # the answer stands without its evidence
            evidence.append(Evidence(failure=str(error)))
    return evidence


def find_evidence(probe: Probe) -> Evidence:
    """Everything that hiding parts of a post shows about the fast tier's label for it."""
    label = int(probe.whole.sentiment[0].argmax())
    evidence = _word_evidence(probe, label)
    heat = heat_map(probe, label)
    regions, region_changes = (None, ()) if heat is None else region_evidence(probe, heat, label)
    return replace(
        evidence,
        heat_map=None if heat is None else tuple(tuple(float(v) for v in row) for row in heat),
        regions=regions,
        changes=(*evidence.changes, *region_changes),
    )


def hidden_words(probe: Probe) -> HiddenWords:
    """What the fast tier says of a text without each of its words; the text must have been read.

    A word is a token or more, so words beyond the number of tokens read were not.
    """
    text, n_tokens = probe.text or "", int(probe.features.n_tokens[0])
    spans = word_spans(text)
    if probe.features.truncated[0]:
        spans = spans[:n_tokens]
    parts = groups(spans, MOST_TEXTS if probe.estimates else min(MOST_TEXTS, MOST_TOKENS // max(n_tokens, 1)))
    texts = [hide(text, part) for part in parts]
    if len(parts) <= MOST_READ or not probe.estimates:
        return HiddenWords(parts, probe.with_texts(texts), np.ones(len(parts), dtype=bool))
    about, label = probe.estimated(texts), int(probe.whole.sentiment[0].argmax())
    telling = [not is_function_word(text[part[0][0] : part[-1][1]]) for part in parts]
    falls = np.where(telling, probe.whole.sentiment[0, label] - about.sentiment[:, label], -1)
    chosen = np.argsort(-falls, kind="stable")[:MOST_READ]
    chosen = chosen[falls[chosen] >= LEAST_EFFECT]
    if not len(chosen):
        return HiddenWords(parts, about, np.zeros(len(parts), dtype=bool))
    opinions = about.replaced(chosen, probe.with_texts([texts[i] for i in chosen]))
    return HiddenWords(parts, opinions, np.isin(np.arange(len(parts)), chosen))


def heat_map(probe: Probe, label: int) -> NDArray[np.float64] | None:
    """How much each cell of the picture raises the label's calibrated log-odds, `[rows, columns]`.

    Args:
        probe: The post.
        label: Index in `LABELS`.

    Returns:
        `None` where no picture was read. Without a map from the encoder, cells are painted over one by one.
    """
    if probe.image is None:
        return None
    feature_map = probe.image_map()
    if feature_map is None:
        picture = shrunk(probe.image)
        versions = [picture, *hide_boxes(picture, grid_boxes(GRID, GRID))]
        return _fall(probe.with_pictures(versions).sentiment, label).reshape(GRID, GRID)
    rows, columns, width = feature_map.shape
    cells = feature_map.reshape(-1, width)
    mean = cells.mean(0)
    without = mean + (mean - cells) / max(len(cells) - 1, 1)
    opinions = probe.with_image_features(np.concatenate([mean[None], without]))
    return _fall(opinions.sentiment, label).reshape(rows, columns)


def _word_evidence(probe: Probe, label: int) -> Evidence:
    """What the words show; nothing of the picture is known yet."""
    if probe.text is None:
        return Evidence()
    hidden, whole = hidden_words(probe), probe.whole
    opinions = hidden.opinions
    if not hidden.parts:
        return Evidence(words=())
    effects = whole.sentiment[0, label] - opinions.sentiment[:, label]
    words = _effects(probe.text, hidden, effects)
    answers = opinions.sentiment.argmax(1)
    changes = [
        Change(side="text", what=words[i].word, label=LABELS[answers[i]])
        for i in np.argsort(-effects, kind="stable")
        if answers[i] != label and hidden.read[i] and not is_function_word(words[i].word)
    ]
    evidence = Evidence(words=words, changes=tuple(changes[:MOST_CHANGES]), grouped=len(hidden.parts[0]) > 1)
    if whole.sarcasm[0] < SARCASTIC:
        return evidence
    mocking = _effects(probe.text, hidden, whole.sarcasm[0] - opinions.sarcasm)
    strongest = [word for word in told(mocking, 0.0) if word.effect > 0][:MOST_SARCASM_WORDS]
    return replace(evidence, sarcasm_words=tuple(strongest))


def _effects(text: str, hidden: HiddenWords, effects: FloatArray) -> tuple[WordEffect, ...]:
    edges = [(part[0][0], part[-1][1]) for part in hidden.parts]
    return tuple(
        WordEffect(word=text[start:end], start=start, end=end, effect=float(effect), estimated=not read)
        for (start, end), effect, read in zip(edges, effects, hidden.read, strict=True)
    )


def region_evidence(probe: Probe, heat: NDArray[Any], label: int) -> tuple[tuple[Region, ...], tuple[Change, ...]]:
    """The boxes of a heat map that the picture confirms, and those that would change the answer."""
    boxes = strongest_boxes(heat)
    if probe.image is None or not boxes:
        return (), ()
    read = probe.seen
    picture = shrunk(probe.image) if read is None else read
    opinions = probe.whole if read is not None or picture is probe.image else probe.with_pictures([picture])
    sentiment = opinions.sentiment
    for some in (boxes[:1], boxes[1:]):
        if some and _fall(sentiment, label).max(initial=0) < PLAIN:
            sentiment = np.concatenate([sentiment, probe.with_pictures(hide_boxes(picture, some)).sentiment])
    effects, answers = sentiment[0, label] - sentiment[1:, label], sentiment[1:].argmax(1)
    order = [i for i in np.argsort(-effects, kind="stable") if effects[i] > 0][:MOST_REGIONS]
    regions = tuple(Region(**asdict(boxes[i]), effect=float(effects[i])) for i in order)
    # Shrinking alone may turn an answer on the edge: then no box is to be blamed for it.
    turned = [i for i in order if answers[i] != label and sentiment[0].argmax() == label]
    return regions, tuple(Change(side="image", what=place(boxes[i]), label=LABELS[answers[i]]) for i in turned)


def _fall(sentiment: FloatArray, label: int) -> NDArray[np.float64]:
    """By how much the label's log-odds in each row but the first fall behind the first; finite at 0 and 1."""
    p = np.clip(sentiment[:, label].astype(np.float64), 1e-7, 1 - 1e-7)
    odds = np.log(p / (1 - p))
    fall: NDArray[np.float64] = odds[0] - odds[1:]
    return fall
