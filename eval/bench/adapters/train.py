"""What tuning a LoRA adapter brings on a small VLM, where words and pictures feel otherwise. It knows no corpus.

    python eval/bench/adapters/train.py [--model FOLDER] [--unseen 300] [--json] [--save]

Adapters are trained by the program users run, from files of 64 and 200 posts, with LoRA and with QLoRA, and judged on
posts that are in no file. Then the cascade: posts of which one half is told by words of the language at large and the
other by pictures of the new domain, so that the fast tier and the tuned VLM each know a half. Without `--model` the VLM
is trained first.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from eval.bench.keeping import circumstances, tell
from eval.bench.small_vlm import small_vlm, vlm_program
from hybrid_mmsa import Analyzer, metrics
from hybrid_mmsa.cli import run
from hybrid_mmsa.types import LABELS, Mode, Sample

PACKAGES = ("accelerate", "bitsandbytes", "peft", "torch", "transformers", "trl")
SETTINGS = {
    "learning_rate": "5e-3",
    "epochs": "14",
    "batch_size": "16",
    "micro_batch": "16",
    "evaluate_every": "22",
    "dropout": "0.05",
    "checkpointing": "false",
}
"""For a model of a million parameters; models of a thousand times that want a tenth of this rate."""
HALVES = ("epochs=4", "evaluate_every=15")
"""For the cascade's posts: half of the words there cannot be learnt, only learnt by heart."""


def main() -> None:
    """Measure, print, save where asked."""
    parser = vlm_program(__doc__, "adapter-train")
    parser.add_argument("--unseen", type=int, default=300, help="posts to judge on")
    options = parser.parse_args()
    with small_vlm(options.model) as (model, folder):
        result = record(model, folder, options.unseen)
    tell("adapter-train", result, table(result), options)


def record(model: Path, folder: Path, unseen: int) -> dict[str, Any]:
    """The run as numbers, with what is needed to read them."""
    domain = import_module("other_domain")
    apart = domain.other_posts(unseen, seed=1001)
    files = {n: domain.write_posts(folder / str(n), domain.other_posts(n, seed=n)) for n in (64, 200)}
    base = Analyzer.from_pretrained(reasoner=model)
    return {
        **circumstances(PACKAGES, threads=1),
        "settings": SETTINGS,
        "unseen": unseen,
        "base": share(said(base, apart), apart),
        "adapters": {
            "64 posts, LoRA": trained(model, files[64], folder / "few", apart),
            "200 posts, LoRA": trained(model, files[200], folder / "lora", apart),
            "200 posts, QLoRA": trained(model, files[200], folder / "qlora", apart, "quantise=4bit"),
        },
        "cascade": cascade(model, folder, domain, unseen),
    }


def trained(model: Path, posts: Path, out: Path, apart: Sequence[Sample], *settings: str) -> dict[str, Any]:
    """An adapter from a file: how long it took, how good it is on posts apart, what its folder says."""
    seconds = tune(model, posts, out, *settings)
    quantised = "quantise=4bit" in settings
    made = json.loads((out / "adapter.json").read_text(encoding="utf-8"))["made_with"]
    return {
        "seconds": seconds,
        "steps": made["curve"]["steps"],
        "parts": made["parts"],
        "accuracy": share(said(opened(model, out, quantised), apart), apart),
        "ready": made["ready"],
        "not_ready": made["not_ready"],
    }


def cascade(model: Path, folder: Path, domain: Any, unseen: int) -> dict[str, Any]:
    """Fast tier, tuned VLM and cascade on posts of which each knows a half."""
    out = folder / "halved"
    posts = domain.write_posts(folder / "halves", domain.halved_posts(300, seed=3))
    seconds = tune(model, posts, out, *HALVES)
    apart = domain.halved_posts(unseen, seed=1003)
    gold = np.array([LABELS.index(sample.label) for sample in apart])
    analyzer = opened(model, out, False)
    modes: tuple[Mode, ...] = ("fast", "auto", "deep")
    answers = {mode: analyzer.analyze_batch(apart, mode=mode, explain="none") for mode in modes}
    labels = {str(m): np.array([LABELS.index(a.sentiment.label) for a in found]) for m, found in answers.items()}
    labels["vlm"] = np.array([LABELS.index(a.verdict.label) for a in answers["deep"] if a.verdict])
    made = json.loads((out / "adapter.json").read_text(encoding="utf-8"))["made_with"]
    pairs = [(one, other) for one in ("auto", "deep") for other in ("fast", "vlm")]
    return {
        "seconds": seconds,
        "accuracy": {
            name: asdict(metrics.wilson(int((found == gold).sum()), len(gold))) for name, found in labels.items()
        },
        "asked": float(np.mean([a.route.decision == "defer" for a in answers["auto"]])),
        "gains": {
            f"{one} - {other}": asdict(
                metrics.paired_difference(metrics.accuracy, gold, labels[one], labels[other], len(LABELS))
            )
            for one, other in pairs
        },
        "ready": made["ready"],
        "not_ready": made["not_ready"],
    }


def tune(model: Path, posts: Path, out: Path, *settings: str) -> dict[str, float]:
    """Train as users do; seconds from the command to the folder, by the clock and of the processor."""
    words = ["adapter", "train", str(posts), "--base", str(model), "-o", str(out)]
    start = time.perf_counter(), time.process_time()
    for setting in (*(f"{name}={value}" for name, value in SETTINGS.items()), *settings):
        words += ["--set", setting]
    if run(words):
        raise SystemExit(f"{' '.join(words)} failed")
    return {"clock": time.perf_counter() - start[0], "processor": time.process_time() - start[1]}


def opened(model: Path, out: Path, quantised: bool) -> Analyzer:
    """The adapter with its base, in the precision it was trained in."""
    from hybrid_mmsa.reasoning import ReasonerConfig

    config = ReasonerConfig(backend="transformers", model=str(model), quantise="4bit" if quantised else None)
    return Analyzer.from_pretrained(out, reasoner=config)


def said(analyzer: Analyzer, posts: Sequence[Sample]) -> list[str]:
    """The labels of the verdicts themselves."""
    answers = analyzer.analyze_batch(posts, mode="deep", explain="none")
    return [answer.verdict.label for answer in answers if answer.verdict]


def share(labels: Sequence[str], posts: Sequence[Sample]) -> dict[str, float]:
    """Accuracy with its 95 % interval."""
    right = sum(label == post.label for label, post in zip(labels, posts, strict=True))
    return asdict(metrics.wilson(right, len(posts)))


def table(result: dict[str, Any]) -> Table:
    """A row per system."""
    shown = Table(title=f"{result['unseen']} posts apart, one thread, load {result['machine']['load']:.1f}")
    for heading in ("", "accuracy", "95 %", "s of one core", "ready"):
        shown.add_column(heading)

    def row(name: str, found: dict[str, float], seconds: float | None = None, ready: bool | None = None) -> None:
        told = "" if ready is None else "yes" if ready else "no"
        interval = f"{found['low']:.3f} to {found['high']:.3f}"
        shown.add_row(name, f"{found['value']:.3f}", interval, "" if seconds is None else f"{seconds:.0f}", told)

    row("base", result["base"])
    for name, found in result["adapters"].items():
        row(name, found["accuracy"], found["seconds"]["processor"], found["ready"])
    for name, found in result["cascade"]["accuracy"].items():
        row(f"halves: {name}", found)
    for name, found in result["cascade"]["gains"].items():
        row(f"halves: {name}", found)
    return shown


if __name__ == "__main__":
    main()
