"""Which posts the router of a trained model is fitted on, and how their fast answers are had. Knows no towers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ...adapters import Adapter
from ...data import Record
from ...encoders import Encoder
from ...errors import InputError
from ...inputs import read_sample
from ...routing import Novelty, Router, threshold_at_precision
from ...types import LABELS, Features, IntArray, Sample, TaskArrays
from ..posts.rows import TextRow, fold_of, text_key
from .router import Judged, RouterConfig, fit_router

__all__ = ["encode_posts", "gold_labels", "half", "judged", "train_router"]

BATCH = 64
SARCASM = ("mmsd2", "tweeteval_irony")


def half(key: str) -> bool:
    """Whether a held-out post belongs to the fixed half that thresholds are fitted on and that chooses nothing else."""
    return fold_of(f"half/{key}", 2) == 0


def gold_labels(posts: Sequence[Record], name: str) -> IntArray:
    """Class indices `[n]` of a gold label: `label`, `text_label` or `image_label`."""
    return np.array([LABELS.index(getattr(p.sample, name)) for p in posts], dtype=np.int64)


def encode_posts(encoder: Encoder, samples: Sequence[Sample]) -> Features:
    """Features of posts that were not read yet, a few pictures in memory at a time.

    Raises:
        InputError: One cannot be used; it is named by its id, or by its position.
    """
    parts = [
        encoder.encode([_read(s, j) for j, s in enumerate(samples[i : i + BATCH], i)])
        for i in range(0, max(len(samples), 1), BATCH)
    ]
    return Features.concatenate(parts)


def _read(sample: Sample, index: int) -> Sample:
    try:
        return read_sample(sample)
    except InputError as error:
        raise error.at(index) if sample.id is None else InputError(f"post {sample.id}: {error}") from error


def judged(adapter: Adapter, encoder: Encoder, posts: Sequence[Record], posteriors: TaskArrays | None = None) -> Judged:
    """Posts with the fast tier's answers; `posteriors` stand for the adapter's where its towers had seen the posts."""
    features = encode_posts(encoder, [p.sample for p in posts])
    keys = [text_key(p.sample.text or "") or p.sample.id or str(i) for i, p in enumerate(posts)]
    return Judged(posteriors or adapter.posteriors(features), features, gold_labels(posts, "label"), keys)


def train_router(
    draft: Adapter,
    encoder: Encoder,
    trained: tuple[Sequence[Record], TaskArrays],
    held_out: Sequence[Record],
    dev: dict[str, list[TextRow]],
    config: RouterConfig,
) -> Router:
    """The router of a model whose head and calibration are fitted.

    Args:
        draft: The model; its router is not used.
        encoder: Its encoder.
        trained: The training posts, and their posteriors by towers and heads that had not seen them.
        held_out: Dev posts: one half chooses between P(error) models, the other is for thresholds alone.
        dev: Dev rows of the text corpora, for the threshold of sarcasm.
        config: The recipe.
    """
    learn = judged(draft, encoder, *trained)
    judge = [p for p in held_out if half(p.sample.id or "")]
    choose = [p for p in held_out if not half(p.sample.id or "")]
    sarcastic = [row for corpus in SARCASM for row in dev.get(corpus, ()) if half(row.text)]
    facts = {
        "data": f"P(error): {len(learn)} training posts, out of fold; chosen on {len(choose)} dev posts; thresholds, "
        f"sets and sample: the other {len(judge)}; sarcasm: {len(sarcastic)} dev texts",
        "encoder_hash": encoder.hash,
        "budget": config.budget,
    }
    return fit_router(
        learn,
        judged(draft, encoder, choose),
        judged(draft, encoder, judge),
        sarcasm=_sarcasm_threshold(draft, encoder, sarcastic, config),
        novelty=Novelty().fit(learn.features),
        facts=facts,
        config=config,
    )


def _sarcasm_threshold(draft: Adapter, encoder: Encoder, rows: Sequence[TextRow], config: RouterConfig) -> float:
    if not rows:
        return float("inf")
    features = encode_posts(encoder, [replace(row.sample, image=None) for row in rows])
    mocking = draft.posteriors(features)["sarcasm"][:, 1]
    is_sarcastic = np.array([row.labels["sarcasm"] for row in rows], dtype=bool)
    return threshold_at_precision(mocking, is_sarcastic, config.sarcasm_precision)
