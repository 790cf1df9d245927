"""Do exported adapters answer as the adapter they were made from? On a small VLM and drawn posts. It knows no corpus.

    python eval/bench/adapters/export.py [--model FOLDER] [--posts 300] [--json] [--save]

A LoRA learns to call glad posts sad and sad posts glad, and is written in every form of `adapter export`. Each is asked
about the same held-out posts as PEFT with the adapter: the share of equal labels, and how far probabilities moved.
llama.cpp reads pictures by another program than transformers; posts of words alone stand by themselves for that reason.
Without `--model` the LLaVA is trained first, which takes about a minute.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from eval.bench.keeping import tell, today
from eval.bench.small_vlm import small_vlm, vlm_program
from hybrid_mmsa import __version__
from hybrid_mmsa.adapters import Adapter, describe_adapter
from hybrid_mmsa.metrics import wilson
from hybrid_mmsa.reasoning import ReasonerConfig, open_reasoner
from hybrid_mmsa.training.lora.export import Export, export_lora
from hybrid_mmsa.types import Sample, Verdict, posteriors

PACKAGES = ("gguf", "llama-cpp-python", "peft", "torch", "transformers")
TRAINED_ON, SEED = 300, 21


def main() -> None:
    """Train, export, ask, print, save where asked."""
    parser = vlm_program(__doc__, "adapter-export")
    parser.add_argument("--posts", type=int, default=300, help="held-out posts")
    options = parser.parse_args()
    with small_vlm(options.model) as (model, folder):
        result = record(model, folder, options.posts)
    tell("adapter-export", result, table(result), options)


def record(model: Path, folder: Path, count: int) -> dict[str, Any]:
    """The run as numbers, with what is needed to read them."""
    tiny_lora, drawn = import_module("tiny_lora"), import_module("drawn_posts")
    adapter = folder / "turned"
    tiny_lora.train_lora(model, adapter / "lora", [tiny_lora.turned(p) for p in drawn.draw_posts(TRAINED_ON, SEED)])
    describe_adapter(adapter, name="turned", made_with={"posts": TRAINED_ON})
    samples = [tiny_lora.turned(post).sample for post in import_module("tiny_vlm").held_out(count)]
    in_peft = asked(ReasonerConfig(backend="transformers", model=str(model), device="cpu"), samples, adapter)
    plain = asked(ReasonerConfig(backend="transformers", model=str(model), device="cpu"), samples)
    forms = {}
    for form in ("peft", "merged", "gguf"):
        out = folder / form
        export_lora(Export(adapter, str(model), out, form, with_base=form == "gguf", threads=1))
        forms[form] = compared(answers(form, out, model, samples), in_peft, samples)
    return {
        "date": today(),
        "versions": {"hybrid-mmsa": __version__, **{name: metadata.version(name) for name in PACKAGES}},
        "python": platform.python_version(),
        "posts": len(samples),
        "trained_on": TRAINED_ON,
        "accuracy": {"base": right(plain, samples), "adapter": right(in_peft, samples)},
        "forms": forms,
    }


def answers(form: str, out: Path, model: Path, samples: Sequence[Sample]) -> list[Verdict]:
    """What an exported form says, opened as its user opens it."""
    if form == "merged":
        return asked(ReasonerConfig.from_file(out / "reasoner.toml"), samples)
    if form == "gguf":
        return asked(ReasonerConfig.from_file(out / "llama.cpp" / "reasoner.toml"), samples, out)
    again = out.with_name("again")  # a plain LoRA folder, put where an adapter's folder has it
    again.mkdir()
    out.rename(again / "lora")
    describe_adapter(again, name="again", made_with={})
    return asked(ReasonerConfig(backend="transformers", model=str(model), device="cpu"), samples, again)


def asked(config: ReasonerConfig, samples: Sequence[Sample], adapter: Path | None = None) -> list[Verdict]:
    """A model's verdicts, with an adapter or without."""
    reasoner = open_reasoner(config.model_copy(update={"device": "cpu", "timeout": 600, "threads": 1}))
    return reasoner.reason(samples, None if adapter is None else Adapter.load(adapter).lora)


def right(verdicts: Sequence[Verdict], samples: Sequence[Sample]) -> float:
    """Share of right labels."""
    return sum(verdict.label == sample.label for verdict, sample in zip(verdicts, samples, strict=True)) / len(samples)


def compared(found: Sequence[Verdict], wanted: Sequence[Verdict], samples: Sequence[Sample]) -> dict[str, Any]:
    """Equal labels and moved probabilities, over all posts and over those without a picture."""
    same = np.array([a.label == b.label for a, b in zip(found, wanted, strict=True)])
    moved = np.abs(posteriors(found) - posteriors(wanted)).max(axis=1)
    words = np.array([sample.image is None for sample in samples])
    share = wilson(int(same.sum()), len(same))
    return {
        "labels_agree": share.value,
        "interval": [share.low, share.high],
        "labels_agree_words_alone": float(same[words].mean()),
        "mean_difference": float(moved.mean()),
        "largest_difference": float(moved.max()),
        "largest_difference_words_alone": float(moved[words].max()),
        "accuracy": right(found, samples),
    }


def table(result: dict[str, Any]) -> Table:
    """A row per form."""
    accuracy = result["accuracy"]
    title = f"{result['posts']} held-out posts; right: base {accuracy['base']:.1%}, adapter {accuracy['adapter']:.1%}"
    shown = Table("form", "labels as the adapter's", "words alone", "largest move", "words alone", title=title)
    for form, values in result["forms"].items():
        low, high = values["interval"]
        agree = f"{values['labels_agree']:.1%} ({low:.1%} to {high:.1%})"
        largest = (f"{values[k]:.4f}" for k in ("largest_difference", "largest_difference_words_alone"))
        shown.add_row(form, agree, f"{values['labels_agree_words_alone']:.1%}", *largest)
    return shown


if __name__ == "__main__":
    main()
