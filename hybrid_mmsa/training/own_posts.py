"""Fits the router, or the pooling with a reasoner, anew on one's own labelled posts. Needs no extra packages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..adapters import Adapter
from ..data import Record, read_posts
from ..encoders import Encoder
from ..errors import InputError
from ..types import Sample, Verdict
from .router_posts import half, judged
from .routing import LEAST_POSTS, RouterConfig, fit_router
from .verdicts import fit_verdicts

__all__ = ["pool_on_posts", "read_labelled", "refit_on_posts"]


def read_labelled(path: Path) -> list[Record]:
    """The posts of a file that have a label; those without an id are named by their line.

    Raises:
        InputError: A row cannot be used, or none has a label.
    """
    posts = []
    for line, row in read_posts(path):
        if not isinstance(row, Sample):
            raise InputError(f"{path.name}, line {line}: {row.error}", field=row.field)
        if row.label is not None:
            posts.append(Record(replace(row, id=row.id or str(line))))
    if not posts:
        raise InputError(f"no row of {path.name} has a label", field="label")
    return posts


def refit_on_posts(
    adapter: Adapter, encoder: Encoder, posts: Sequence[Record], config: RouterConfig | None = None
) -> Adapter:
    """The same model with a router fitted to these posts: one half of them for P(error), the other for thresholds.

    The threshold of sarcasm and the summary of the training features stay as they were.

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
        if len(part) < LEAST_POSTS or not 0 < part.wrong.sum() < len(part):
            raise InputError(
                f"a router needs {2 * LEAST_POSTS} labelled posts or more, of which the model has some right and some "
                f"wrong; found {len(posts)}"
            )
    learn, judge = parts
    facts = {
        "data": f"P(error): {len(learn)} own posts, cross-fitted; thresholds, sets and sample: {len(judge)} others",
        "encoder_hash": encoder.hash,
        "budget": config.budget,
    }
    router = fit_router(
        learn,
        learn,
        judge,
        sarcasm=adapter.router.thresholds.sarcasm,
        novelty=adapter.router.novelty,
        facts=facts,
        config=config,
    )
    return replace(adapter, router=router)


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
    found = [verdicts[post.sample.id or ""] for post in known]
    return replace(adapter, pooling=fit_verdicts(rows, p_error, found, facts))
