"""Accuracy and cost of a cascade against the share of posts it defers, for planning. Asks no model, reads no file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import metrics
from ..explain.document import document
from .charts import cascade_chart, slug
from .result import PointSeries

__all__ = ["RATES", "STRATEGIES", "CascadeRow", "cascade_page", "simulate"]

RATES = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0)
STRATEGIES = ("fast alone", "random", "confidence", "P(error)", "oracle")
COLOURS = ("#777777", "#b07aa1", "#f28e2b", "#1f77b4", "#2ca02c")
DASHES = ("1 5", "6 4", "9 3 2 3", "none", "2 3")
STYLE = "body{max-width:46rem}svg{max-width:36rem;margin:0;font-size:11px}td,th{text-align:right}"

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CascadeRow:
    """What a deferral rate gives: the accuracy of each strategy, and the mean cost of a post, in the caller's unit."""

    rate: float
    accuracy: Mapping[str, float]
    cost: float


def simulate(
    fast_right: NDArray[np.bool_],
    slow_right: NDArray[Any],
    scores: Mapping[str, Floats],
    *,
    rates: Sequence[float] = RATES,
    fast_cost: float = 0.0,
    slow_cost: float = 1.0,
) -> list[CascadeRow]:
    """Accuracy if the posts with the highest scores were deferred, for each rate.

    Args:
        fast_right: Whether the fast label is right, bool `[n]`.
        slow_right: Whether the answer after asking would be right, `[n]` in [0, 1]; a stated accuracy is that number
            for every post.
        scores: What each strategy defers by, `[n]`. "random" and "oracle" are added: chance, and the knowledge where
            asking mends something.
        rates: Deferral rates in [0, 1].
        fast_cost: What the fast tier costs a post.
        slow_cost: What asking costs a post, on top.
    """
    fast, slow = fast_right.astype(np.float64), np.asarray(slow_right, np.float64)
    orders = {name: np.argsort(-values, kind="stable") for name, values in scores.items()}
    orders["oracle"] = np.argsort(fast - slow, kind="stable")
    rows = []
    for rate in rates:
        accuracy = {"fast alone": float(fast.mean()), "random": float((1 - rate) * fast.mean() + rate * slow.mean())}
        for name, order in orders.items():
            cut = round(rate * len(fast))
            accuracy[name] = float((slow[order[:cut]].sum() + fast[order[cut:]].sum()) / len(fast))
        cost = metrics.cost(np.array([rate]), fast_cost, slow_cost)
        rows.append(CascadeRow(rate, {name: accuracy[name] for name in STRATEGIES if name in accuracy}, cost))
    return rows


def cascade_page(rows: Sequence[CascadeRow], title: str, unit: str) -> str:
    """A page that opens offline: error rate against deferral rate, and the figures beneath.

    Args:
        rows: What `simulate` found.
        title: What was simulated.
        unit: Unit of the cost.
    """
    names = list(rows[0].accuracy)
    rates = tuple(row.rate for row in rows)
    curves = {name: PointSeries(x=rates, y=tuple(1 - row.accuracy[name] for row in rows)) for name in names}
    lines = "".join(
        f".{slug(name)}{{stroke:{colour};stroke-dasharray:{dash};fill:none;stroke-width:2}}"
        for name, colour, dash in zip(STRATEGIES, COLOURS, DASHES, strict=True)
    )
    head = "".join(f"<th>{escape(cell)}</th>" for cell in ("deferred", *names, f"cost a post ({unit})"))
    body = "".join(
        "<tr>"
        + "".join(
            f"<td>{cell}</td>"
            for cell in (f"{row.rate:.0%}", *(f"{100 * row.accuracy[n]:.1f}" for n in names), f"{row.cost:.4g}")
        )
        + "</tr>"
        for row in rows
    )
    shown = (
        f"<h1>{escape(title)}</h1><p>Error rate of the final answers when the posts a strategy trusts least are "
        f"deferred.</p>{cascade_chart(curves)}<h2>Accuracy, %</h2><table><tr>{head}</tr>{body}</table>"
    )
    return document(title, shown, style=STYLE + lines)
