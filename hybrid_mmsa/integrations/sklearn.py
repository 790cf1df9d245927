"""An estimator of scikit-learn: the fast tier fitted to one's own posts. It holds no fitting of its own.

A post is a row of a data frame with the columns `text` and `image`, or whatever `Analyzer.stream` takes. The heads,
their calibration and the router are those of `hybrid-mmsa adapter train --fast`; the towers stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..analyzer import Analyzer
from ..data import PostsInMemory
from ..errors import InputError
from ..extras import needs
from ..inputs import Row, sample_of
from ..training.heads.adapting import fit_fast_tier
from ..training.posts.labelled_file import crossed_parts, read_labelled_file
from ..types import LABELS
from .frames import frame_rows

if TYPE_CHECKING:
    from ..types import FloatArray

with needs("sklearn", "the estimator"):
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.utils.validation import check_is_fitted

__all__ = ["SentimentClassifier"]


class SentimentClassifier(ClassifierMixin, BaseEstimator):
    """Sentiment of posts, fitted to labelled ones on frozen features.

    Args:
        model: The model whose towers are read and whose heads are started from: a bundled name, a folder, or an
            open `Analyzer`, which several fits can share. An analyzer with a cache encodes each post once in all.
        match_shares: Say each label as often as it occurs among the posts; see `FrozenConfig`.
        caution: How sure it must be that less of a pull to the start is better; see `FrozenConfig`.
        seed: Draws the folds that are held out.

    Attributes:
        classes_: The labels, in the order of `predict_proba`'s columns.
        adapter_: What was fitted; `adapter_.save(folder)` keeps it.
        analyzer_: Answers in full with it.
        n_posts_: Posts that it was fitted to.
    """

    def __init__(
        self, model: str | Analyzer = "default", *, match_shares: bool = False, caution: float = 0.0, seed: int = 0
    ) -> None:
        self.model = model
        self.match_shares = match_shares
        self.caution = caution
        self.seed = seed

    def fit(self, X: Any, y: Iterable[str]) -> SentimentClassifier:  # noqa: N803
        """Fit heads, calibration and router.

        Args:
            X: Posts: a data frame, or an iterable of what `Analyzer.stream` takes.
            y: Of each post `negative`, `neutral` or `positive`; at least eight posts of each label that occurs.

        Raises:
            InputError: Posts that cannot be used, unknown labels, or too few posts; all are counted.
            MissingExtraError: The extra `tune` is not installed.
        """
        labels, rows = np.asarray(y).tolist(), _rows(X)
        if wrong := sorted({str(label) for label in labels if label not in LABELS}):
            raise InputError(f"found the labels {', '.join(wrong)}; wanted {', '.join(LABELS)}", field="y")
        if len(labels) != len(rows):
            raise InputError(f"found {len(labels)} labels for {len(rows)} posts", field="y")
        samples = [replace(sample_of(row), label=label) for row, label in zip(rows, labels, strict=True)]
        posts = read_labelled_file(PostsInMemory(samples), least=8)
        start = self.model if isinstance(self.model, Analyzer) else Analyzer.from_pretrained(self.model)
        self.adapter_ = fit_fast_tier(
            posts,
            crossed_parts(posts, self.seed),
            start.encoder,
            name="sklearn",
            start=start.adapters[start.default],
            changes={"match_shares": self.match_shares, "caution": self.caution},
        )
        self.analyzer_ = Analyzer(start.encoder, [self.adapter_], limits=start.limits)
        self.classes_ = np.array(LABELS)
        self.n_posts_ = len(samples)
        return self

    def predict_proba(self, X: Any) -> FloatArray:  # noqa: N803
        """Calibrated probabilities, float32 `[n, 3]`, in the order of `classes_`.

        Raises:
            NotFittedError: It was not fitted (scikit-learn's error).
            InputError: A post cannot be read; its `index` names it.
        """
        check_is_fitted(self)
        return self.analyzer_.posteriors(_rows(X))["sentiment"]

    def predict(self, X: Any) -> NDArray[np.str_]:  # noqa: N803
        """The likeliest label of each post; errors as in `predict_proba`."""
        shares = self.predict_proba(X)
        chosen: NDArray[np.str_] = self.classes_[shares.argmax(1)]
        return chosen

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn is told: posts are no matrix of numbers."""
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.string = False, True
        tags.no_validation = True
        return tags


def _rows(posts: Any) -> list[Row]:
    return list(frame_rows(posts) if hasattr(posts, "columns") else posts)
