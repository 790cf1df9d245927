"""A trained nano → the folder that a reasoner is opened from: weights, processor, card, and a hash of every file."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ...reasoning.models.own import CONFIGURATION
from ...reasoning.models.store import Pulled, file_hashes, write_manifest
from ..common.provenance import made_now

__all__ = ["write_folder"]

REASONER = """\
# How this model is opened: the question it was trained with, in the precision it is quickest in on a CPU.
backend = "transformers"
model = "."
id = "{name}"
prompt = "{prompt}"
dtype = "float32"
context = 2048
max_rationale_tokens = 160
"""
WEIGHTS = (".safetensors", "tokenizer.json")
"""Endings of the files that a revision is of."""
STAGES = ("words", "answers", "reasons")
PACKAGES = ("tokenizers", "torch", "transformers")


def write_folder(model: Any, processor: Any, out: Path, runs: Path, facts: Mapping[str, Any]) -> None:
    """Write the folder as a whole, in place of what stood there.

    Args:
        model: The trained model; it is rounded to float16.
        processor: Its processor.
        out: The folder.
        runs: Where the stages' records stand.
        facts: What it was made of; `name` and `prompt` among them.
    """
    partial = out.with_name(f"{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.half().save_pretrained(partial)
    processor.save_pretrained(partial)
    told = {**made_now(), "packages": {name: version(name) for name in PACKAGES}, **facts}
    told["stages"] = {stage: _record(runs / stage) for stage in STAGES}
    (partial / "made_with.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    (partial / CONFIGURATION).write_text(REASONER.format(**facts), encoding="utf-8")
    (partial / "card.md").write_text(_card(told), encoding="utf-8")
    hashes = file_hashes(partial)
    # The model itself: a card worded anew makes no other one, and LoRA adapters go by it.
    what = {name: hashes[name] for name in sorted(hashes) if name.endswith(WEIGHTS)}
    revision = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:40]
    write_manifest(partial, Pulled(name=facts["name"], repository="", revision=revision, files=hashes))
    shutil.rmtree(out, ignore_errors=True)
    partial.replace(out)


def _record(folder: Path) -> dict[str, Any]:
    """What a stage wrote down of itself, without its recipe, which stands beside it."""
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    dev = json.loads((folder / "dev.json").read_text(encoding="utf-8"))
    kept = ("rows", "texts", "tokens", "steps", "seconds", "resumed_at", "loss_curve")
    return {**{name: record[name] for name in kept if name in record}, "dev": dev}


def _card(facts: Mapping[str, Any]) -> str:
    """The card, Markdown."""
    rows, (words, answers, reasons) = facts["rows"], (facts["stages"][stage] for stage in STAGES)
    corpora = [f"| {name} | {count:,} |" for name, count in rows.items()]
    left_out = sum(rows.values()) - facts["lessons"]
    lines = [
        f"A very small vision-language model that judges posts, {facts['parameters'] / 1e6:.1f} million parameters.",
        "",
        f"# Model card: {facts['name']}",
        "",
        "## What it is",
        "",
        "A LLaVA: ImageNet's MobileNetV2, frozen, sees 25 patches of a picture; a small Llama, whose pieces begin at",
        "MiniLM's embeddings and all else at chance, reads them with the words and writes the verdict's JSON. It knows",
        f"little of the world but its training posts. Prompt: `{facts['prompt_id']}`. English only.",
        "",
        "## Data",
        "",
        f"{facts['texts']:,} texts to learn writing from, {words['tokens']:,} tokens. {facts['lessons']:,} posts and",
        f"photos with answers, {facts['pictures']:,} pictures among them; {left_out:,} more were too long or have a",
        "picture that is damaged. `joined` are words of one post beside the picture of another, labelled by MVSA's",
        "rule, or of known sarcasm alone.",
        *_opinions(facts),
        "",
        "| corpus | rows |",
        "|---|---|",
        *corpora,
        "",
        "## Training",
        "",
        f"`words`: {words['steps']:,} steps; loss on held-out texts {words['dev']['loss_before']:.2f} before and",
        f"{words['dev']['loss']:.2f} after. `answers`: {answers['steps']:,} steps, `reasons`: {reasons['steps']:,}.",
        "Tokens that are right on held-out posts where all before them is given, in %:",
        "",
        "| corpus | label | words say | picture says | sarcastic | labels in the rationale |",
        "|---|---|---|---|---|---|",
        *_right(reasons["dev"]["after"]),
        "",
        "## Limits",
        "",
        "- Rationales and cues are learnt from sentences that a program composed of what the corpora's labels say.",
        "- Cues are quoted from the words as the fast tier rewrites them: hashtags in words, emoji by their names.",
        "- Sarcasm is hardly known: it is learnt of words, alone or beside a picture that is not theirs.",
        "- The corpora are for research, and so are these weights.",
        "",
    ]
    return "\n".join(lines)


def _opinions(facts: Mapping[str, Any]) -> list[str]:
    """Whose opinions were learnt beside what people said, and how much they count."""
    if not facts["fast"]:
        return []
    share, fast = 100 * facts["config"]["answers"]["opinions"], facts["fast"]
    told = f"what the fast tier `{fast['name']}` ({fast['hash'][:12]}) says of the post"
    return [f"{share:.0f} % of what is learnt of a label is {told}."]


def _right(scores: Mapping[str, Mapping[str, float]]) -> list[str]:
    kinds = ("label", "text_says", "picture_says", "sarcastic", "claim")
    lines = []
    for corpus, found in scores.items():
        shares = [f"{100 * found[f'{kind}/right']:.1f}" if f"{kind}/right" in found else "–" for kind in kinds]
        lines.append(f"| {corpus} | {' | '.join(shares)} |")
    return lines
