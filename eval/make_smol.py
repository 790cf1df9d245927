"""Writes `adapters/smol`: the LoRA of an adapter that was trained, in half precision, with its card. Trains nothing.

    hybrid-mmsa adapter train posts.jsonl --recipe smol --teacher cues.jsonl -o FOLDER   # see make_smol_posts.py
    python eval/make_smol.py FOLDER
    python eval/make_smol_eyes.py --help     # what it sees by, trained with this LoRA
    python eval/make_pooling.py --data DATA   # how its verdicts count then

What `adapter train` measured on its test posts stays in the card. The fast tier and the pooling stay behind: the LoRA
answers beside any model, and whether asking it helps is fitted elsewhere (`hybrid-mmsa route fit`).
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file

from hybrid_mmsa.adapters import CARD, LORA, MANIFEST, PROMPT, describe_adapter
from hybrid_mmsa.reasoning.backends.transformers.adapters import CONFIG, WEIGHTS

ROOT = Path(__file__).resolve().parents[1]
TERMS = (
    "research, and those of each collection: sentences, targets and irony from the corpora of the text tower "
    "(WEIGHTS_LICENSE.md), and texts made by rule"
)

USE = """
## What it is for

It is the LoRA of the preset `smol`, tuned on words alone. The projector beside it (`projector.safetensors`,
`eval/make_smol_eyes.py`) lets the model see by the bundled picture tower; it was trained with this LoRA, which it left
as it is. How verdicts count is fitted for the bundled model (`adapters/default/pooling.json`, `eval/make_pooling.py`):
on posts without a picture they are pooled with the fast answer, on others they are attached and change no label. The
cascade above is pooled by weights fitted to posts like those it was tuned on. It writes nothing: its reasons are found
by hiding words.
"""


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("trained", type=Path, help="the folder that `adapter train` wrote")
    parser.add_argument("-o", "--out", type=Path, default=ROOT / "adapters" / "smol")
    options = parser.parse_args()
    write(options.trained, options.out)


def write(trained: Path, out: Path) -> None:
    """One folder out of the other.

    Args:
        trained: An adapter with a LoRA.
        out: What to write; what stands there is replaced.
    """
    shutil.rmtree(out, ignore_errors=True)
    (out / LORA).mkdir(parents=True)
    shutil.copyfile(trained / LORA / CONFIG, out / LORA / CONFIG)
    weights = load_file(trained / LORA / WEIGHTS)
    save_file({name: value.half() for name, value in weights.items()}, out / LORA / WEIGHTS)
    shutil.copyfile(trained / PROMPT, out / PROMPT)
    card = (trained / CARD).read_text(encoding="utf-8")
    card = card.replace("Terms of the posts: not stated", f"Terms of the posts: {TERMS}")
    for before, after in (
        (f'name: "{trained.name}"', f'name: "{out.name}"'),
        (f"# {trained.name}\n", f"# {out.name}\n"),
    ):
        card = card.replace(before, after, 1)
    (out / CARD).write_text(card.replace("\n## Learning curve", f"{USE}\n## Learning curve"), encoding="utf-8")
    facts = json.loads((trained / MANIFEST).read_text(encoding="utf-8"))["made_with"]
    describe_adapter(out, name=out.name, made_with=facts)


if __name__ == "__main__":
    main()
