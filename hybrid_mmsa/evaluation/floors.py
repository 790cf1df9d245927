"""The floors a model must clear: the majority class, TF-IDF with logistic regression, and VADER's word list.

Each is computed in the same run, on the same posts, as the model it stands beside. It knows no analyzer.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..extras import needs
from ..inputs import normalise, reword
from ..types import Sample

__all__ = [
    "FLOORS",
    "floor_probabilities",
    "majority",
    "needs_eval_extra",
    "out_of_fold_probabilities",
    "tfidf",
    "vader",
]

Floats = NDArray[np.float64]
MAJORITY, TFIDF, VADER = "majority class", "TF-IDF + LR", "VADER"
FLOORS: dict[str, bool] = {MAJORITY: True, TFIDF: True, VADER: False}
"""Name of each floor, and whether it gives probabilities (VADER only names a label)."""
STRENGTH = 3.0
"""Inverse regularisation of the logistic regression: of 1, 3 and 10 the best on the dev parts."""
FOLDS = 5
VADER_CUT = 0.05
"""Compound scores beyond ± this are not neutral: the cut its authors recommend."""


def needs_eval_extra() -> None:
    """Raise `MissingExtraError` unless scikit-learn and vaderSentiment are installed."""
    with needs("eval", "computing floors"):
        for package in ("sklearn", "vaderSentiment"):
            import_module(package)


def floor_probabilities(
    train: Sequence[Sample], train_gold: Sequence[int], test: Sequence[Sample], classes: int
) -> dict[str, Floats]:
    """Probabilities of each floor for the test posts, float64 `[n, classes]`.

    Args:
        train: Posts to fit on; raw samples.
        train_gold: Their labels as indices.
        test: Posts to answer.
        classes: Number of labels; VADER is left out unless there are three.
    """
    needs_eval_extra()
    gold = np.asarray(train_gold, dtype=np.int64)
    by_floor = {
        MAJORITY: majority(gold, len(test), classes),
        TFIDF: tfidf([words(s) for s in train], gold, [words(s) for s in test], classes),
    }
    if classes == 3:
        by_floor[VADER] = vader([s.text or "" for s in test])
    return by_floor


def out_of_fold_probabilities(samples: Sequence[Sample], gold: Sequence[int], classes: int) -> dict[str, Floats]:
    """Probabilities of each floor for posts that have no train part, float64 `[n, classes]`.

    The posts are dealt into `FOLDS` folds by a hash of their words, and each fold is answered by floors fitted on the
    others, so that none saw the words it judges. The majority class is that of the posts themselves: out of fold it
    would be the rarer label wherever labels are as frequent as each other.

    Args:
        samples: The posts; of two different texts at least.
        gold: Their labels as indices.
        classes: Number of labels.

    Raises:
        InputError: All posts have the same words.
    """
    texts = [words(sample) for sample in samples]
    ordered = sorted(set(texts), key=lambda text: sha256(text.encode()).digest())
    if len(ordered) < 2:
        raise InputError("floors need a train part, or posts of different words")
    fold_of = {text: place % FOLDS for place, text in enumerate(ordered)}
    folds = np.array([fold_of[text] for text in texts])
    by_floor: dict[str, Floats] = {}
    for fold in range(min(FOLDS, len(ordered))):
        inside, outside = np.flatnonzero(folds == fold).tolist(), np.flatnonzero(folds != fold).tolist()
        part = floor_probabilities(
            [samples[i] for i in outside], [gold[i] for i in outside], [samples[i] for i in inside], classes
        )
        for name, probabilities in part.items():
            by_floor.setdefault(name, np.zeros((len(samples), classes)))[inside] = probabilities
    return by_floor | {MAJORITY: majority(np.asarray(gold, dtype=np.int64), len(samples), classes)}


def words(sample: Sample) -> str:
    """A post's cleaned words, its target after them."""
    return " ".join(reword(normalise(part)) for part in (sample.text, sample.target) if part)


def majority(train_gold: NDArray[np.int64], n: int, classes: int) -> Floats:
    """The class shares of the training posts, for every post."""
    shares = np.bincount(train_gold, minlength=classes) / len(train_gold)
    return np.tile(shares, (n, 1))


def tfidf(train: Sequence[str], train_gold: NDArray[np.int64], test: Sequence[str], classes: int) -> Floats:
    """Logistic regression over TF-IDF of words and word pairs that occur at least twice."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    words_and_pairs = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    model = LogisticRegression(C=STRENGTH, max_iter=1000)
    model.fit(words_and_pairs.fit_transform(train), train_gold)
    probabilities = np.zeros((len(test), classes))
    probabilities[:, model.classes_] = model.predict_proba(words_and_pairs.transform(test))
    return probabilities


def vader(texts: Sequence[str]) -> Floats:
    """The label VADER's compound score points to, as one-hot rows (Hutto and Gilbert, ICWSM 2014)."""
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    judge: Any = SentimentIntensityAnalyzer()
    scores = np.array([judge.polarity_scores(text)["compound"] for text in texts])
    labels = 1 + (scores >= VADER_CUT).astype(np.int64) - (scores <= -VADER_CUT).astype(np.int64)
    return np.asarray(np.eye(3)[labels])
