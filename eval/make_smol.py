"""Writes `adapters/smol`: the LoRA of an adapter that was trained, in half precision, with its card. Trains nothing.

    hybrid-mmsa adapter train words.jsonl --recipe smol -o WORDS   # see make_smol_posts.py
    python eval/make_smol.py WORDS
    python eval/make_smol_eyes.py --help     # what it sees by, trained with this LoRA
    hybrid-mmsa adapter train seen.jsonl --image-root DATA --recipe smol-seen -o SEEN
    python eval/make_smol.py SEEN
    hybrid-mmsa adapter train balanced.jsonl --image-root DATA --recipe smol-seen ... -o BALANCED
    python eval/make_smol.py BALANCED --share 0.5    # the mean of it and of what it went on from
    hybrid-mmsa adapter train ironic.jsonl --image-root DATA --recipe smol-seen ... -o IRONIC
    python eval/make_smol.py IRONIC --share 0.6
    python eval/make_pooling.py --data DATA   # how its verdicts count then

What `adapter train` measured on its test posts stays in the card. The fast tier and the pooling stay behind: the LoRA
answers beside any model, and whether asking it helps is fitted elsewhere (`hybrid-mmsa route fit`). A projector that
lies there already stays, and so does what is known of it and, where the LoRA went on from the one there, of that.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from eval.make_smol_eyes import told as sees
from hybrid_mmsa.adapters import CARD, LORA, MANIFEST, PROMPT, describe_adapter
from hybrid_mmsa.artefacts import LORA_CONFIG, LORA_WEIGHTS

ROOT = Path(__file__).resolve().parents[1]
TERMS = (
    "research, and those of each collection: sentences, targets, irony and posts with pictures from the corpora of the "
    "text tower and the picture tower (WEIGHTS_LICENSE.md), and texts made by rule"
)

USE = """
## What it is for

It is the LoRA of the preset `smol`, tuned in stages that each went on from the one before:
{stages}.
The first had posts of words alone, later ones posts with pictures beside them, with the projector in place
(`projector.safetensors`, `eval/make_smol_eyes.py`); from the third on they had many sentences about two targets as
well, and irony beside texts that are meant as they stand. The figures above are of {measured}.
Some of these posts were learnt from in an earlier stage, so they flatter.
The picture tower was tuned on the very pictures of these posts, so four posts in ten were shown another's
(`eval/make_smol_posts.py`), in the figures above too. How verdicts count is fitted for the bundled model, for each
kind of post (`adapters/default/pooling.json`, `eval/make_pooling.py`); the cascade above is pooled by weights fitted to
posts like those it was tuned on. It writes nothing: its reasons are found by hiding words.
"""
STAGE = "{steps} steps on {train:,} posts (the weights of step {best} kept)"
OWN = "the last stage's posts"
BEFORE = """\
the last stage's posts and of the weights it ended
with, before they were averaged; what is shipped is measured in [reasoners](../../docs/reasoners.md#a-small-one)"""
MEAN = ", averaged with the weights it went on from ({share:.0%} of the mean are its own)"
KEPT = ("posts_sha256", "parts", "recipe", "curve", "figures", "share")
"""What stays known of a stage that was gone on from."""


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("trained", type=Path, help="the folder that `adapter train` wrote")
    parser.add_argument("-o", "--out", type=Path, default=ROOT / "adapters" / "smol")
    parser.add_argument("--share", type=float, default=1.0, help="of these weights; the rest of those there")
    options = parser.parse_args()
    write(options.trained, options.out, options.share)


def write(trained: Path, out: Path, share: float = 1.0) -> None:
    """One folder out of the other.

    Args:
        trained: An adapter with a LoRA.
        out: What to write; a LoRA that stands there is replaced.
        share: Of its weights in those that are written, where it went on from the LoRA that stands there. Factors are
            averaged, not their products: those of one stage and the next lie close together ("model soups",
            arXiv:2203.05482, along one way).
    """
    facts = {**facts_of(trained), "share": share}
    known = facts_of(out) if (out / MANIFEST).is_file() else {}
    earlier = earlier_stages(facts, known, out.name)
    weights = load_file(trained / LORA / LORA_WEIGHTS)
    averaged = share < 1.0
    if averaged:
        if len(earlier) <= len(known.get("earlier", [])):
            raise SystemExit(f"{out} does not hold what {trained} went on from, which it is to be averaged with")
        before = load_file(out / LORA / LORA_WEIGHTS)
        weights = {name: before[name].float().lerp(value.float(), share) for name, value in weights.items()}
    shutil.rmtree(out / LORA, ignore_errors=True)
    (out / LORA).mkdir(parents=True)
    shutil.copyfile(trained / LORA / LORA_CONFIG, out / LORA / LORA_CONFIG)
    save_file({name: value.half() for name, value in weights.items()}, out / LORA / LORA_WEIGHTS)
    shutil.copyfile(trained / PROMPT, out / PROMPT)
    card = (trained / CARD).read_text(encoding="utf-8")
    card = card.replace("Terms of the posts: not stated", f"Terms of the posts: {TERMS}")
    for old, new in (
        (f'name: "{trained.name}"', f'name: "{out.name}"'),
        (f"# {trained.name}\n", f"# {out.name}\n"),
    ):
        card = card.replace(old, new, 1)
    told = USE.format(stages=";\n".join(map(stage_line, (*earlier, facts))), measured=BEFORE if averaged else OWN)
    if "projector" in known:
        told += sees(known["projector"])
    (out / CARD).write_text(card.replace("\n## Learning curve", f"{told}\n## Learning curve"), encoding="utf-8")
    kept = {name: known[name] for name in ("projector",) if name in known}
    describe_adapter(out, name=out.name, made_with={**facts, **kept, **({"earlier": earlier} if earlier else {})})


def stage_line(stage: Mapping[str, Any]) -> str:
    """A stage, for the card; one that tells no share was not averaged."""
    line = STAGE.format(**stage["curve"], **stage["parts"])
    return line if stage.get("share", 1.0) == 1.0 else line + MEAN.format(**stage)


def earlier_stages(facts: dict[str, Any], known: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """What is known of the stages that a LoRA went on from.

    Args:
        facts: Of the LoRA.
        known: Of the one that stands in the folder; none if empty.
        name: The folder's name.
    """
    if not known or facts["recipe"]["start"] != name:
        return []
    before: list[dict[str, Any]] = known.get("earlier", [])
    written_again = known["posts_sha256"] == facts["posts_sha256"]
    return before if written_again else [*before, {each: known[each] for each in KEPT if each in known}]


def facts_of(adapter: Path) -> dict[str, Any]:
    """What an adapter says of how it was made."""
    facts: dict[str, Any] = json.loads((adapter / MANIFEST).read_text(encoding="utf-8"))["made_with"]
    return facts


if __name__ == "__main__":
    main()
