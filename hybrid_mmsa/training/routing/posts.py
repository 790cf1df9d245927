"""Fits the router, or the pooling with a reasoner, to posts: those of a training, or one's own labelled ones.

Knows how the fast tier answers posts; knows no towers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np

from ...adapters import Adapter
from ...data import PostsFile, Record
from ...encoders import Encoder
from ...errors import InputError
from ...inputs import NumberedRow, needing, read_row, read_sample
from ...types import LABELS, Features, IntArray, RowError, Sample, Verdict
from ..posts.rows import fold_of, text_key
from .router import LEAST_POSTS, Judged, RouterConfig, fit_router
from .verdicts import fit_verdicts

__all__ = [
    "encode_posts",
    "encode_rows",
    "gold_labels",
    "half",
    "judged",
    "pool_on_posts",
    "read_labelled",
    "refit_on_posts",
]

BATCH = 64
LEAST_ERRORS = 10
"""Different wrong posts, and right ones, that each half needs: with fewer, a fold could hold them all."""


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
    return _encoded(encoder, samples)[0]


def _encoded(encoder: Encoder, samples: Sequence[Sample]) -> tuple[Features, list[Sample]]:
    """Features of posts, and the posts as they were read, but for their pictures, which are let go of."""
    parts: list[Features] = []
    light: list[Sample] = []
    for start in range(0, max(len(samples), 1), BATCH):
        posts = []
        for index, sample in enumerate(samples[start : start + BATCH], start):
            try:
                posts.append(read_sample(sample))
            except InputError as error:
                raise error.at(index) if sample.id is None else InputError(f"post {sample.id}: {error}") from error
        parts.append(encoder.encode(posts))
        light += [replace(read, image=samples[row].image) for row, read in enumerate(posts, start)]
    return Features.concatenate(parts), light


def judged(adapter: Adapter, encoder: Encoder, posts: Sequence[Record]) -> Judged:
    """Posts with the fast tier's answers.

    Raises:
        InputError: As in `encode_posts`.
    """
    features, read = _encoded(encoder, [p.sample for p in posts])
    keys = [text_key(p.sample.text or "") or p.sample.id or str(i) for i, p in enumerate(posts)]
    return Judged(adapter.posteriors(features), features, gold_labels(posts, "label"), keys, posts=read)


def read_labelled(file: PostsFile) -> list[Record]:
    """The posts of a file that have a label; those without an id are named by their line.

    Raises:
        InputError: A row cannot be used, or none has a label.
    """
    posts = []
    for line, row in file:
        row = needing("label", line, row)
        if not isinstance(row, Sample):
            raise InputError(f"{file.source.name}, line {line}: {row.error}", field=row.field)
        if row.label is not None:
            posts.append(Record(replace(row, id=row.id or str(line))))
    if not posts:
        raise InputError(f"no row of {file.source.name} has a label", field="label")
    return posts


def encode_rows(encoder: Encoder, numbered: Iterable[NumberedRow]) -> tuple[Features, list[RowError]]:
    """Features of posts, a few pictures in memory at a time, and the rows that cannot be used."""
    rows, parts, failed = iter(numbered), [], []
    while chunk := [read_row(line, row) for line, row in islice(rows, BATCH)]:
        failed += [row for row in chunk if isinstance(row, RowError)]
        parts.append(encoder.encode([row for row in chunk if isinstance(row, Sample)]))
    return Features.concatenate(parts or [encoder.encode([])]), failed


def refit_on_posts(
    adapter: Adapter, encoder: Encoder, posts: Sequence[Record], config: RouterConfig | None = None
) -> Adapter:
    """The same model with a router fitted to these posts: one half of them for P(error), the other for thresholds.

    The threshold of sarcasm and the summary of the training features stay as they were, the latter if it is of this
    encoder. A pooling goes: where asking helps was measured by the P(error) that is replaced.

    Args:
        adapter: The model.
        encoder: Its encoder.
        posts: Labelled posts the model was not trained on.
        config: The recipe.

    Raises:
        InputError: There are too few of them.
    """
    config = config or RouterConfig()
    rows = judged(adapter, encoder, posts)
    calibrates = np.array([half(key) for key in rows.keys])
    parts = [rows.take(np.flatnonzero(chosen)) for chosen in (~calibrates, calibrates)]
    for part in parts:
        kinds = [{key for key, wrong in zip(part.keys, part.wrong, strict=True) if wrong == kind} for kind in (0, 1)]
        if len(part) < LEAST_POSTS or min(map(len, kinds)) < LEAST_ERRORS:
            raise InputError(
                f"a router needs {2 * LEAST_POSTS} labelled posts or more, half of them to fit and half to judge; each "
                f"half needs {LEAST_POSTS}, with {LEAST_ERRORS} different ones that the model has right and as many "
                f"that it has wrong; found {len(posts)} posts, and a half of {len(part)} with {int(part.wrong.sum())} "
                "wrong"
            )
    learn, judge = parts
    facts = {
        "data": f"P(error): {len(learn)} own posts, cross-fitted; thresholds, sets and sample: {len(judge)} others",
        "encoder_hash": encoder.hash,
        "budget": config.budget,
    }
    router = fit_router(
        learn,
        None,
        judge,
        sarcasm=adapter.router.thresholds.sarcasm,
        novelty=adapter.router.novelty if adapter.router_fits() else None,
        facts=facts,
        config=config,
    )
    return replace(adapter, router=router, pooling=None)


def pool_on_posts(
    adapter: Adapter, encoder: Encoder, posts: Sequence[Record], verdicts: Mapping[str, Verdict]
) -> Adapter:
    """The same model with a pooling fitted to a reasoner's verdicts on labelled posts; posts without one are left out.

    Args:
        adapter: The model.
        encoder: Its encoder.
        posts: Labelled posts that neither the model nor the reasoner was trained on.
        verdicts: Verdict by post id.

    Raises:
        InputError: Too few posts have a verdict, or the verdicts are not of one model.
    """
    known = [post for post in posts if post.sample.id in verdicts]
    if not known:
        raise InputError("none of the posts has a verdict: the ids do not meet", field="--verdicts")
    rows = judged(adapter, encoder, known)
    p_error = adapter.router.scores(rows.probabilities, rows.features)["low_confidence"]
    facts = {"encoder_hash": encoder.hash, "router": "P(error) of the model's own router"}
    return replace(
        adapter, pooling=fit_verdicts(rows, p_error, [verdicts[post.sample.id or ""] for post in known], facts)
    )
