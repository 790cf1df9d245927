"""Make the LoRA of the bundled adapter for memes: nano tuned to Memotion 7k, beside the adapter's fast heads.

    python eval/make_memes_lora.py --data Memotion7k [--posts 3000] [-o adapters/memes]

Run it behind `make_memes.py`, which makes the heads. It tunes as `adapter train --recipe nano-memes` does, on posts of
the training part of the split `memotion_grouped`; posts of its dev part say when to stop and fit the pooling; its test
part is answered once by nano alone, by nano with the LoRA, by the fast tier and by both together. A killed run goes on
where it stopped.
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

from hybrid_mmsa.adapters import Adapter
from hybrid_mmsa.data import Record, load_corpus, load_manifest
from hybrid_mmsa.training.lora.plan import LEAST_TUNED, plan_tuning
from hybrid_mmsa.training.lora.recipe import load_recipe
from hybrid_mmsa.training.lora.tune import Outcome, tune
from hybrid_mmsa.training.posts.labelled_file import LabelledFile, Parts, read_labelled_file
from hybrid_mmsa.training.posts.rows import fold_of

ROOT = Path(__file__).parents[1]
SPLIT, RECIPE = "memotion_grouped", "nano-memes"
PARTS = {"train": "train", "dev": "calibration", "test": "test"}
SECTION = "## The LoRA for nano"


def main() -> None:
    """Choose posts, tune, measure, save."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="Memotion 7k's folder")
    parser.add_argument("--posts", type=int, default=3000, help="so many of the training part, the first by a hash")
    parser.add_argument("-o", "--out", type=Path, default=ROOT / "adapters" / "memes")
    parser.add_argument("--run", type=Path, default=ROOT / "build" / "memes-lora", help="for checkpoints and drafts")
    options = parser.parse_args()
    console = Console(highlight=False)
    file = write_posts(options.data, options.posts, options.run)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("posts read", total=None)
        posts = read_labelled_file(file, least=LEAST_TUNED, advance=lambda: bar.update(task, advance=1))
    draft = options.run / options.out.name
    shutil.rmtree(draft, ignore_errors=True)
    plan = plan_tuning(
        posts,
        draft,
        load_recipe(RECIPE),
        run=options.run / "steps",
        fast=str(options.out.resolve()),
        parts=parts_of(posts),
    )
    console.print("\n".join(plan.lines()), soft_wrap=True)
    outcome = tune(plan)
    if outcome is None:
        return
    save(Adapter.load(options.out), Adapter.load(draft), outcome, options.out)
    console.print("\n".join(outcome.lines()), soft_wrap=True)
    console.print(f"wrote {options.out}")


def write_posts(data: Path, most: int, folder: Path) -> Path:
    """The chosen posts as a file: so many of the training part, half as many at the most of dev, all of test."""
    records = [r for r in load_manifest(SPLIT).apply(load_corpus("memotion", data)) if r.sample.label is not None]
    rows: list[dict[str, Any]] = []
    for part, limit in (("train", most), ("dev", most // 2), ("test", len(records))):
        ours = sorted((r for r in records if r.split == part), key=_order)
        rows += [_row(record, part) for record in ours[:limit]]
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "posts.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def _order(record: Record) -> int:
    return fold_of(f"memes-lora/{record.sample.id}", 1 << 32)


def _row(record: Record, part: str) -> dict[str, Any]:
    sample = record.sample
    row = {"id": f"{part}/{sample.id}", "text": sample.text, "label": sample.label, "sarcastic": sample.sarcastic}
    image = None if sample.image is None else str(Path(str(sample.image)).resolve())
    return {name: value for name, value in (row | {"image": image}).items() if value is not None}


def parts_of(posts: LabelledFile) -> Parts:
    """The split's parts. A near-duplicate of a test post, or of one to calibrate on, is not trained on."""
    part = np.array([PARTS[str(sample.id).partition("/")[0]] for sample in posts.samples])
    keys = np.array(posts.keys)
    test = part == "test"
    held = (part == "calibration") & ~np.isin(keys, keys[test])
    train = (part == "train") & ~np.isin(keys, keys[test | held])
    return Parts(
        train=np.flatnonzero(train).astype(np.int64),
        calibration=np.flatnonzero(held).astype(np.int64),
        test=np.flatnonzero(test).astype(np.int64),
        folds=np.full(len(part), -1, np.int64),
    )


def save(heads: Adapter, tuned: Adapter, outcome: Outcome, out: Path) -> None:
    """Both halves in one folder; the card tells of both."""
    mine = dict(tuned.made_with)
    ready = {name: mine.pop(name) for name in ("ready", "not_ready")}
    before = {name: value for name, value in heads.made_with.items() if name not in (*ready, "lora")}
    opening, _, _ = heads.card.partition(SECTION)
    fitted = replace(tuned, name=heads.name, made_with={**before, **ready, "lora": mine})
    shutil.rmtree(out / "lora", ignore_errors=True)
    replace(fitted, card=f"{opening.rstrip()}\n\n{section(tuned, outcome)}").save(out)


def section(tuned: Adapter, outcome: Outcome) -> str:
    """What the card tells of the LoRA."""
    made, curve = tuned.made_with, outcome.curve
    rank, parts = made["recipe"]["rank"], made["parts"]
    verdict = (
        "It is ready: it beats nano, and both together beat the fast tier, by more than chance."
        if outcome.readiness.ready
        else f"**It is not ready**, and answers carry a warning: {'; '.join(outcome.readiness.causes)}."
    )
    return f"""{SECTION}

`--model memes --reasoner nano` asks nano with a LoRA of rank {rank} in its language model, made by
`eval/make_memes_lora.py` from {parts["train"]} posts of Memotion's training part; {parts["calibration"]} of its dev
part said when to stop and fitted the pooling. nano was itself trained on that training part, among other corpora.
{verdict} {curve.steps} steps were taken, and the weights of step {curve.best} are kept. The test
part, which chose nothing:

{chr(10).join(outcome.figures.lines())}

The LoRA is for nano alone: another reasoner is asked without it, and the answer says so.
"""


if __name__ == "__main__":
    main()
