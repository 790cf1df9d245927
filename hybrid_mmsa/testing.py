"""Small parts for tests of code that uses this package: an encoder, an adapter fitted in a moment, a scripted reasoner.

They need the light core alone, no file and no network, and answer the same everywhere:

    encoder, reasoner = TinyEncoder(), ScriptedReasoner({"Great, another delay": "negative"})
    analyzer = Analyzer(encoder, [tiny_adapter(encoder)], reasoner=reasoner)
    assert analyzer.analyze("Great, another delay", mode="deep").sentiment.label == "negative"

`tiny_adapter` also fits an encoder of one's own, and examples of one's own. What such an adapter answers is for tests:
it is fitted to some dozen sentences and to plain colours.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .adapters import Adapter
from .calibration import Calibration
from .encoders import Encoder
from .errors import InputError, ReasonerError
from .fusion import FusionHead
from .inputs import read_sample, reword, to_pixels
from .routing import CalibrationSample, ErrorModel, Router, Thresholds, defer_scores
from .types import LABELS, TASKS, Features, FloatArray, Label, LoraRef, Sample, Verdict

__all__ = ["ReasonerCall", "ScriptedAnswer", "ScriptedReasoner", "TinyEncoder", "example_posts", "tiny_adapter"]

ScriptedAnswer: TypeAlias = Label | Verdict | Exception
"""What a scripted reasoner has for a post: a verdict, the label of one, or an error to raise."""

WIDTH = 256
SIDE, CELLS = 32, 4
STRENGTH = 0.1
"""Ridge penalty, as a share of the features' mean square."""
SHARPNESS = 5.0
"""What turns a regression's values, which lie about 0 and 1, into logits."""
_RECIPE = f"tiny encoder 1: {WIDTH} hashed words, {CELLS} by {CELLS} cells of {SIDE} pixels, 7 colour statistics"


class TinyEncoder:
    """A real encoder of hashed words and colour statistics; see `encoders.Encoder` and `encoders.MapEncoder`.

    Text features `[256]`: each word adds or subtracts 1 at a place that its hash decides, divided by the square root of
    the number of words (feature hashing, Weinberger et al. 2009, arXiv 0902.2206). Picture features `[7]`: means of
    red, green and blue, of their squares, and of the range between the largest and the smallest of them, in [0, 1].
    Targets are not read.

    Args:
        name: How adapters name it.

    Attributes:
        hash: The same for all of them.
    """

    def __init__(self, name: str = "tiny") -> None:
        self.name = name
        self.hash = hashlib.sha256(_RECIPE.encode()).hexdigest()

    def encode(self, samples: Sequence[Sample]) -> Features:
        """Features of read posts, in their order; see `Encoder.encode`."""
        n = len(samples)
        words = [_words(sample.text) for sample in samples]
        pictures = [i for i, sample in enumerate(samples) if sample.image is not None]
        features = Features(
            text_features=np.zeros((n, WIDTH), np.float32),
            image_features=np.zeros((n, 7), np.float32),
            has_text=np.array([bool(post) for post in words], dtype=bool),
            has_image=np.isin(np.arange(n), pictures),
            has_target=np.zeros(n, dtype=bool),
            n_tokens=np.array([len(post) for post in words], dtype=np.int64),
            truncated=np.zeros(n, dtype=bool),
            unknown_share=np.zeros(n, np.float32),
        )
        for row, post in enumerate(words):
            for word in post:
                place, sign = _hashed(word)
                features.text_features[row, place] += sign / len(post) ** 0.5
        if pictures:
            features.image_features[pictures] = self.image_maps([samples[i] for i in pictures]).mean((1, 2))
        return features

    def image_maps(self, samples: Sequence[Sample]) -> FloatArray:
        """Colour statistics of each cell of each picture, float32 `[n, 4, 4, 7]`; see `MapEncoder.image_maps`."""
        maps = np.zeros((len(samples), CELLS, CELLS, 7), np.float32)
        for row, sample in enumerate(samples):
            if not isinstance(sample.image, Image.Image):
                raise InputError("a post without a picture that `read_sample` has read", field="image")
            pixels = to_pixels(sample.image, SIDE).astype(np.float32) / 255
            spread = pixels.max(2, keepdims=True) - pixels.min(2, keepdims=True)
            values = np.concatenate([pixels, pixels**2, spread], axis=2)
            maps[row] = values.reshape(CELLS, SIDE // CELLS, CELLS, SIDE // CELLS, 7).mean((1, 3))
        return maps


def _words(text: str | None) -> list[str]:
    return re.findall(r"[\w']+", reword(text).lower()) if text else []


def _hashed(word: str) -> tuple[int, int]:
    number = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "big")
    return number // 2 % WIDTH, 1 if number % 2 else -1


@dataclass(frozen=True, slots=True)
class ReasonerCall:
    """One call of `ScriptedReasoner.reason`, as it was made.

    Attributes:
        samples: The posts.
        lora: The LoRA adapter to answer with.
        rationale: Whether the reasoner was to write.
    """

    samples: tuple[Sample, ...]
    lora: LoraRef | None
    rationale: bool

    @property
    def texts(self) -> list[str | None]:
        """The posts' words."""
        return [sample.text for sample in self.samples]


class ScriptedReasoner:
    """A reasoner that answers from a script and records what it is asked; see `reasoning.Reasoner`.

    Args:
        script: Answers by the text or the id of a post, or a function of the post. A label stands for a verdict with
            that label at 0.9; an exception is raised for the whole call, as a model that fails raises it.
        id: Names the reasoner in `RouteDecision.answered_by`.

    Attributes:
        calls: The calls, in order.
    """

    def __init__(
        self, script: Mapping[str, ScriptedAnswer] | Callable[[Sample], ScriptedAnswer], id: str = "scripted"
    ) -> None:
        self.id = id
        self.calls: list[ReasonerCall] = []
        self._script = script

    def reason(
        self, samples: Sequence[Sample], lora: LoraRef | None = None, *, rationale: bool = False
    ) -> list[Verdict]:
        """The script's verdicts, in order.

        Raises:
            ReasonerError: The script has no answer to a post. What else the script holds is raised as it is.
        """
        self.calls.append(ReasonerCall(tuple(samples), lora, rationale))
        return [self._verdict(sample) for sample in samples]

    def _verdict(self, sample: Sample) -> Verdict:
        answer = self._script(sample) if callable(self._script) else self._lookup(self._script, sample)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Verdict):
            return answer
        if answer not in LABELS:
            raise ReasonerError(f"the script answers {answer!r}; wanted one of {', '.join(LABELS)}, or a Verdict")
        shares = {label: 0.9 if label == answer else 0.05 for label in LABELS}
        return Verdict(label=answer, probabilities=shares, reasoner=self.id)

    def _lookup(self, table: Mapping[str, ScriptedAnswer], sample: Sample) -> ScriptedAnswer:
        for key in (sample.id, sample.text):
            if key is not None and key in table:
                return table[key]
        raise ReasonerError(f"the script has no answer to the post {sample.id or sample.text!r}")


def tiny_adapter(encoder: Encoder, samples: Sequence[Sample] | None = None, *, name: str = "tiny") -> Adapter:
    """Heads and a router for an encoder, fitted to labelled posts in a moment. For tests.

    The heads are ridge regressions onto the labels; words and picture are joined by adding what each says of the whole
    post. P(error) is what the probabilities say of themselves. The same posts stand in the router, so that a budget and
    a risk can be resolved.

    Args:
        encoder: Any encoder.
        samples: Posts with a `label` each; `example_posts()` where none are given. A side's own label and `sarcastic`
            are read where they are known.
        name: The adapter's name.

    Raises:
        InputError: There are no posts, or one has no label or cannot be read.
    """
    posts = [read_sample(sample) for sample in (example_posts() if samples is None else samples)]
    if not posts or any(post.label is None for post in posts):
        raise InputError("an adapter is fitted to posts that have a label each", field="label")
    features = encoder.encode(posts)
    head = FusionHead(_arrays(posts, features), strategy="late")
    draft = Adapter(
        name=name,
        encoder=encoder.name,
        encoder_hash=encoder.hash,
        head=head,
        calibration=Calibration(dict.fromkeys(TASKS, 1.0)),
        router=Router(
            error_model=ErrorModel.plain(),
            thresholds=Thresholds(p_error=0.5, sarcasm=0.5, conflict=0.5),
            fitted_on={"posts": len(posts), "encoder_hash": encoder.hash},
            set_threshold=0.2,
        ),
        made_with={"corpora": ["examples"]},
        hash=hashlib.sha256(b"".join(head.arrays[part].tobytes() for part in sorted(head.arrays))).hexdigest(),
    )
    sample = _calibration_sample(draft, features, np.array([LABELS.index(post.label or "neutral") for post in posts]))
    return replace(draft, router=replace(draft.router, sample=sample))


def _arrays(posts: Sequence[Sample], features: Features) -> dict[str, FloatArray]:
    """All arrays of a `late` head."""
    joint = [post.label for post in posts]
    sarcastic = [None if post.sarcastic is None else ("no", "yes")[post.sarcastic] for post in posts]
    text, image = features.text_features, features.image_features
    arrays = {"fusion.weights": np.array([0, 1, 0, 1], np.float32), "fusion.bias": np.zeros(3, np.float32)}
    for head, matrix, present, labels, classes in (
        ("text.sentiment", text, features.has_text, [post.text_label or post.label for post in posts], LABELS),
        ("text.joint", text, features.has_text, joint, LABELS),
        ("text.sarcasm", text, features.has_text, sarcastic, ("no", "yes")),
        ("image.sentiment", image, features.has_image, [post.image_label or post.label for post in posts], LABELS),
        ("image.joint", image, features.has_image, joint, LABELS),
    ):
        rows = [row for row in np.flatnonzero(present) if labels[row] is not None]
        targets = np.array([[labels[row] == name for name in classes] for row in rows], np.float64)
        arrays[f"{head}.weight"], arrays[f"{head}.bias"] = _ridge(matrix[rows], targets.reshape(-1, len(classes)))
    return arrays


def _ridge(matrix: FloatArray, targets: NDArray[np.float64]) -> tuple[FloatArray, FloatArray]:
    """Weights `[classes, width]` and bias `[classes]` of ridge regression, in its dual form; zeros without rows."""
    n, width = matrix.shape
    if not n:
        return np.zeros((targets.shape[1], width), np.float32), np.zeros(targets.shape[1], np.float32)
    mean, share = matrix.mean(0, dtype=np.float64), targets.mean(0)
    centred = matrix - mean
    kernel = centred @ centred.T
    penalty = STRENGTH * max(float(np.trace(kernel)) / n, 1e-9)
    weight = SHARPNESS * np.linalg.solve(kernel + penalty * np.eye(n), targets - share).T @ centred
    return weight.astype(np.float32), (SHARPNESS * share - weight @ mean).astype(np.float32)


def _calibration_sample(adapter: Adapter, features: Features, labels: NDArray[np.int64]) -> CalibrationSample:
    probabilities = adapter.posteriors(features)
    scores = adapter.router.scores(probabilities, features)
    chosen = probabilities["sentiment"].argmax(1)
    return CalibrationSample(
        p_error=scores["low_confidence"],
        sarcasm=scores["sarcasm"],
        conflict=scores["conflict"],
        novel=np.full(len(labels), np.nan),
        label=chosen,
        wrong=chosen != labels,
        order_score=defer_scores(scores, adapter.router.thresholds),
        order_wrong=chosen != labels,
    )


def example_posts() -> list[Sample]:
    """Some dozen labelled posts of words alone, of plain pictures alone, and of both."""
    words: dict[Label, str] = {
        "negative": "awful, bad, terrible, sad, broken, hate this, angry, the worst, horrible day, lost and late",
        "neutral": "the train, a table, it opens at nine, on monday, the report, two boxes, a test, our office",
        "positive": "lovely, good, great, happy, beautiful, love this, thanks, the best, wonderful day, we won, smile",
    }
    colours: dict[Label, Sequence[str]] = {
        "negative": ("black", "darkred", "maroon"),
        "neutral": ("grey", "silver", "beige"),
        "positive": ("gold", "deepskyblue", "springgreen"),
    }
    posts = [Sample(text=part, label=label) for label, parts in words.items() for part in parts.split(", ")]
    posts = [replace(post, sarcastic=False) for post in posts]
    posts += [Sample(text=f"great, {part}", label="negative", sarcastic=True) for part in ("another delay", "as if")]
    for label, names in colours.items():
        for name, text in zip(names, words[label].split(", "), strict=False):
            picture = Image.new("RGB", (8, 8), name)
            posts += [Sample(image=picture, label=label), Sample(text=text, image=picture, label=label)]
    return posts
