"""What label-first scoring saves, and what 4 bits change, on a small VLM trained on drawn posts. It knows no corpus.

    python eval/bench/speed/reasoner.py [--model FOLDER] [--posts 120] [--rounds 3] [--json] [--save]

The same LLaVA judges the same held-out posts: label from one prefill; the whole answer under the schema after it; and
the whole answer written freely, which is what a label read from the text would cost. Turns alternate, so that a busy
machine slows all of them alike. Without `--model` the LLaVA is trained first, which takes about a minute.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.table import Table

from eval.bench.keeping import circumstances, tell
from eval.bench.small_vlm import small_vlm, vlm_program
from hybrid_mmsa.errors import ReasonerError
from hybrid_mmsa.reasoning import ReasonerConfig, load_prompt
from hybrid_mmsa.reasoning.backends.transformers import TransformersReasoner
from hybrid_mmsa.reasoning.prompt.answer import read_answer
from hybrid_mmsa.types import Label, Sample, Verdict

BATCHES = (1, 8)
PACKAGES = ("bitsandbytes", "llguidance", "torch", "transformers")


def main() -> None:
    """Measure, print, save where asked."""
    parser = vlm_program(__doc__, "reasoner")
    parser.add_argument("--posts", type=int, default=120, help="held-out posts")
    parser.add_argument("--rounds", type=int, default=3, help="turns each way of answering takes")
    options = parser.parse_args()
    with small_vlm(options.model) as (model, _):
        result = record(model, options)
    tell("reasoner", result, table(result), options)


def record(model: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The run as numbers, with what is needed to read them."""
    posts = [post for post in import_module("tiny_vlm").held_out(2 * options.posts) if post.word and post.thing]
    samples = [post.sample for post in posts[: options.posts]]
    return {
        **circumstances(PACKAGES, threads=1),
        "posts": len(samples),
        "rounds": options.rounds,
        "batches": {str(size): speeds(model, samples, size, options.rounds) for size in BATCHES},
        "four_bits": four_bits(model, samples),
    }


def speeds(model: Path, samples: Sequence[Sample], batch: int, rounds: int) -> dict[str, float]:
    """Milliseconds per post of each way, the ratios, and how often the labels are the same."""
    reasoner = opened(model, batch)
    ways: dict[str, Callable[[], Sequence[Label | None]]] = {
        "label": lambda: labels(reasoner.reason(samples)),
        "answer_under_schema": lambda: labels(reasoner.reason(samples, rationale=True)),
        "answer_written_freely": lambda: written_freely(reasoner, samples, batch),
    }
    turns: dict[str, list[float]] = {way: [] for way in ways}
    said: dict[str, Sequence[Label | None]] = {}
    for _ in range(rounds):
        for way, judge in ways.items():
            start = time.perf_counter()
            said[way] = judge()
            turns[way].append(1000 * (time.perf_counter() - start) / len(samples))
    ms = {way: statistics.median(times) for way, times in turns.items()}
    gold = [sample.label for sample in samples]
    return {
        **{f"{way}_ms": value for way, value in ms.items()},
        "times_faster_than_schema": ms["answer_under_schema"] / ms["label"],
        "times_faster_than_free": ms["answer_written_freely"] / ms["label"],
        "labels_agree": agreement(said["label"], said["answer_written_freely"]),
        "accuracy": agreement(said["label"], gold),
    }


def four_bits(model: Path, samples: Sequence[Sample]) -> dict[str, float]:
    """How far NF4 moves the answers of float32."""
    full, small = (opened(model, 8, bits).reason(samples) for bits in (None, "4bit"))
    moved = [
        np.abs(np.subtract(list(a.probabilities.values()), list(b.probabilities.values()))).mean()
        for a, b in zip(full, small, strict=True)
    ]
    return {"labels_agree": agreement(labels(full), labels(small)), "mean_abs_difference": float(np.mean(moved))}


def opened(model: Path, batch: int, quantise: Any = None) -> TransformersReasoner:
    """The small VLM on the CPU."""
    config = ReasonerConfig(
        backend="transformers", model=str(model), device="cpu", batch_size=batch, quantise=quantise, timeout=600
    )
    return TransformersReasoner(config)


def labels(verdicts: Sequence[Verdict]) -> list[Label | None]:
    """Their labels."""
    return [verdict.label for verdict in verdicts]


def written_freely(reasoner: TransformersReasoner, samples: Sequence[Sample], batch: int) -> list[Label | None]:
    """Labels read from answers that the model writes with no prefix and no schema, as a plain caller would."""
    prompt, model, processor = load_prompt("sentiment"), reasoner._vlm.model, reasoner._vlm.processor
    found: list[Label | None] = []
    for start in range(0, len(samples), batch):
        some = samples[start : start + batch]
        chats = [prompt.messages(sample) for sample in some]
        texts = processor.apply_chat_template(chats, tokenize=False, add_generation_prompt=True)
        inputs = processor(text=texts, images=[[s.image] for s in some], padding=True, return_tensors="pt")
        with torch.inference_mode():
            ids = model.generate(**inputs, max_new_tokens=160)[:, inputs["input_ids"].shape[1] :]
        for text, sample in zip(processor.batch_decode(ids, skip_special_tokens=True), some, strict=True):
            try:
                found.append(read_answer(text, prompt, sample).label)
            except ReasonerError:
                found.append(None)
    return found


def agreement(some: Sequence[Label | None], others: Sequence[Label | None]) -> float:
    """Share of equal labels."""
    return sum(one == other for one, other in zip(some, others, strict=True)) / len(some)


def table(result: dict[str, Any]) -> Table:
    """A row per figure, a column per batch size."""
    shown = Table(title=f"{result['posts']} posts, one thread, load {result['machine']['load']:.1f}")
    shown.add_column("")
    for size in result["batches"]:
        shown.add_column(f"batches of {size}", justify="right")
    for name in next(iter(result["batches"].values())):
        shown.add_row(name.replace("_", " "), *(f"{values[name]:.3g}" for values in result["batches"].values()))
    for name, value in result["four_bits"].items():
        shown.add_row(f"4-bit: {name.replace('_', ' ')}", f"{value:.3g}")
    return shown


if __name__ == "__main__":
    main()
