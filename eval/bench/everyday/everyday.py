"""How often is a model right on everyday posts that nobody would dispute? Benchmarks of tweets do not show this.

    python eval/bench/everyday/everyday.py [--model MODEL] [--json] [--save]

The cases beside this file were written for this project. They are never trained on and choose nothing: they judge.
`crossed.jsonl` puts plain words beside each sample picture; `sincere.jsonl` holds posts that are not sarcastic.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

import hybrid_mmsa
from eval.bench.keeping import program, tell, today
from hybrid_mmsa import Analysis, Analyzer, Sample
from hybrid_mmsa.metrics import wilson

CASES = Path(__file__).resolve().parent
SAMPLES = Path(hybrid_mmsa.__file__).parent / "samples"
SARCASTIC = 0.5

Row = dict[str, Any]


def main() -> None:
    """Measure, print, save if asked."""
    parser = program(__doc__, "everyday")
    parser.add_argument("--model", default="default", help="a bundled model's name, or its folder")
    options = parser.parse_args()
    analyzer = Analyzer.from_pretrained(options.model)
    rows = measure(analyzer)
    model = analyzer.analyze("hello", explain="none").provenance.model_dump()
    tell("everyday", {"date": today(), "model": model, "rows": rows}, table(rows), options)


def measure(analyzer: Analyzer) -> list[Row]:
    """A row per group of cases: how many posts, how many are right, the share and its 95 % interval."""
    posts = {name: read(name) for name in ("everyday", "easy_and_ironic", "two_targets", "crossed", "sincere")}
    pictures = sorted(SAMPLES.glob("*.jpg"))
    crossed = [{**row, "image": picture.name} for row in posts["crossed"] for picture in pictures]
    groups = {
        "everyday sentences": right(analyzer, posts["everyday"]),
        **{
            f"{kind} posts": right(analyzer, [row for row in posts["easy_and_ironic"] if row["kind"] == kind])
            for kind in ("easy", "ironic")
        },
        "sentiment towards one of two targets": right(analyzer, posts["two_targets"]),
        **{
            f"plain {label} words beside any picture": right(analyzer, [r for r in crossed if r["label"] == label])
            for label in ("negative", "neutral", "positive")
        },
        "sincere posts not called sarcastic": [
            (answer.sarcasm or 0) <= SARCASTIC for answer in answers(analyzer, posts["sincere"])
        ],
    }
    return [
        {"cases": name, "posts": len(marks), "right": sum(marks), **asdict(wilson(sum(marks), len(marks)))}
        for name, marks in groups.items()
    ]


def read(name: str) -> list[Row]:
    """The cases of one file."""
    return [json.loads(line) for line in (CASES / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def answers(analyzer: Analyzer, rows: Sequence[Row]) -> list[Analysis]:
    """The model's answers; pictures are sample pictures."""
    samples = [
        Sample(text=row["text"], image=SAMPLES / row["image"] if row.get("image") else None, target=row.get("target"))
        for row in rows
    ]
    return analyzer.analyze_batch(samples, explain="none")


def right(analyzer: Analyzer, rows: Sequence[Row]) -> list[bool]:
    """Whether each row's label is the model's."""
    return [answer.sentiment.label == row["label"] for answer, row in zip(answers(analyzer, rows), rows, strict=True)]


def table(rows: Sequence[Row]) -> Table:
    """A line per group."""
    shown = Table("cases", "posts", "right", "share", "95 % interval", title="Everyday posts")
    for row in rows:
        interval = f"{row['low']:.1%} to {row['high']:.1%}"
        shown.add_row(row["cases"], str(row["posts"]), str(row["right"]), f"{row['value']:.1%}", interval)
    return shown


if __name__ == "__main__":
    main()
