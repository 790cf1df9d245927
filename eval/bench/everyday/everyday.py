"""How often is a model right on everyday posts that nobody would dispute? Benchmarks of tweets do not show this.

    python eval/bench/everyday/everyday.py [--model MODEL] [--json] [--save]

The posts are those of `eval/everyday`, which were written for this project and train nothing. Plain words are also put
beside every sample picture, which must not turn them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from eval.bench.keeping import program, tell, today
from hybrid_mmsa import Analysis, Analyzer
from hybrid_mmsa.bundled import bundled_path
from hybrid_mmsa.data import LoadReport, Record
from hybrid_mmsa.data.everyday import EVERYDAY, load_crossed, load_everyday
from hybrid_mmsa.metrics import wilson

SARCASTIC = 0.5
APART = ("crossed", "ironic_picture", "irony_marked", "irony_unmarked", "two_targets")
"""Kinds that have lines of their own."""

Row = dict[str, Any]


def main() -> None:
    """Measure, print, save if asked."""
    parser = program(__doc__, "everyday")
    parser.add_argument("--model", default="default", help="a bundled model's name, or its folder")
    options = parser.parse_args()
    analyzer = Analyzer.from_pretrained(options.model)
    rows = list(measure(analyzer, everyday_posts(), crossed_posts()))
    model = analyzer.analyze("hello", explain="none").provenance.model_dump()
    tell("everyday", {"date": today(), "model": model, "rows": rows}, table(rows), options)


def everyday_posts() -> list[Record]:
    """The posts as they were written."""
    return list(load_everyday(bundled_path(*EVERYDAY), LoadReport()))


def crossed_posts() -> list[Record]:
    """Plain words, each beside every sample picture."""
    return list(load_crossed(bundled_path(*EVERYDAY), LoadReport()))


def measure(analyzer: Analyzer, everyday: Sequence[Record], crossed: Sequence[Record]) -> Iterator[Row]:
    """A row per group of posts: how many, how many right, the share and its 95 % interval."""

    def row(name: str, posts: Sequence[Record], right: Callable[[Analysis, Record], bool] = label_is_right) -> Row:
        answers = analyzer.analyze_batch([post.sample for post in posts], explain="none")
        count = sum(right(answer, post) for answer, post in zip(answers, posts, strict=True))
        return {"cases": name, "posts": len(posts), "right": count, **asdict(wilson(count, len(posts)))}

    yield row("everyday posts", [post for post in everyday if post.group not in APART])
    yield row("ironic posts", [post for post in everyday if post.sample.sarcastic])
    yield row("sentiment towards one of two targets", [post for post in everyday if post.sample.target])
    for label in ("negative", "neutral", "positive"):
        posts = [post for post in crossed if post.sample.label == label]
        yield row(f"plain {label} words beside any picture", posts)
    sincere = [post for post in everyday if post.sample.sarcastic is False]
    yield row("sincere posts not called sarcastic", sincere, is_not_called_sarcastic)


def label_is_right(answer: Analysis, post: Record) -> bool:
    """Whether the label is the post's."""
    return answer.sentiment.label == post.sample.label


def is_not_called_sarcastic(answer: Analysis, post: Record) -> bool:
    """Whether P(sarcastic) stays at or below a half."""
    return (answer.sarcasm or 0.0) <= SARCASTIC


def table(rows: Sequence[Row]) -> Table:
    """A line per group."""
    shown = Table("posts", "number", "right", "share", "95 % interval", title="Everyday posts")
    for row in rows:
        interval = f"{row['low']:.1%} to {row['high']:.1%}"
        shown.add_row(row["cases"], str(row["posts"]), str(row["right"]), f"{row['value']:.1%}", interval)
    return shown


if __name__ == "__main__":
    main()
