"""How far int8 moved the answers: the shipped towers against the trained ones in float32, over dev posts.

    python eval/bench/towers/int8_agreement.py --data DATA --text-runs RUNS/text --image-runs RUNS/image [--save]

Prints label agreement and mean absolute difference of probabilities per task.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from eval.bench.keeping import keep, today
from hybrid_mmsa import Analyzer
from hybrid_mmsa.inputs import read_sample
from hybrid_mmsa.training.heads.fusion import FusionConfig
from hybrid_mmsa.training.posts.mixture import dev_rows
from hybrid_mmsa.training.posts.rows import post_records
from hybrid_mmsa.training.towers.export import ExactEncoder
from hybrid_mmsa.training.towers.image import ImageConfig
from hybrid_mmsa.training.towers.image_tower import load_tower
from hybrid_mmsa.training.towers.text import STUDENT
from hybrid_mmsa.training.towers.text_tower import TextTower
from hybrid_mmsa.types import Features

BATCH = 64
ROWS = 200
"""Of each text corpus."""


def main() -> None:
    """Compare, print, and save if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("data", "text-runs", "image-runs"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--model", default="default")
    parser.add_argument("--save", action="store_true", help="write eval/bench/results/int8-agreement-DATE.json")
    options = parser.parse_args()
    analyzer = Analyzer.from_pretrained(options.model, threads=2)
    adapter = analyzer.adapters[analyzer.default]
    text = TextTower.load(options.text_runs / STUDENT)
    image = load_tower(options.image_runs / "final" / "tower.safetensors")
    sizes = {"max_tokens": FusionConfig().max_tokens, "side": ImageConfig().side}
    exact = ExactEncoder(text, options.text_runs / STUDENT / "tokenizer.json", image, **sizes)
    posts = [row.sample for rows in dev_rows(options.data).values() for row in rows[:ROWS]]
    posts += [r.sample for r in post_records(options.data) if r.split == "dev"]
    whole, shipped = [], []
    for start in range(0, len(posts), BATCH):
        read = [read_sample(sample) for sample in posts[start : start + BATCH]]
        whole.append(exact.encode(read))
        shipped.append(analyzer.encoder.encode(read))
    before = adapter.posteriors(Features.concatenate(whole))
    after = adapter.posteriors(Features.concatenate(shipped))
    table = Table("task", "posts", "label agreement", "mean |Δp|", title="int8 against float32, dev posts")
    rows = {}
    for task, p in before.items():
        known = ~np.isnan(p[:, 0])
        agree = float((p[known].argmax(1) == after[task][known].argmax(1)).mean())
        moved = float(np.abs(p[known] - after[task][known]).mean())
        rows[task] = {"posts": int(known.sum()), "label_agreement": agree, "mean_abs_difference": moved}
        table.add_row(task, str(int(known.sum())), f"{agree:.2%}", f"{moved:.4f}")
    Console().print(table)
    if options.save:
        facts = {"date": today(), "encoder_hash": analyzer.encoder.hash, "model_hash": adapter.hash, "tasks": rows}
        keep("int8-agreement", facts)


if __name__ == "__main__":
    main()
