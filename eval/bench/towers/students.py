"""Text towers of fewer layers, taught by the shipped one: its weights are read back from its file.

    python eval/bench/towers/students.py --data DATA -o RUNS --layers 0,2,5 --layers 0,1,3,5 [--rows 20000]
    python eval/bench/towers/frontier.py --tower "three layers=RUNS/0-2-5" --tower "four layers=RUNS/0-1-3-5"

Students learn from the texts of `train text`, of which the first `--rows` are taken, as the shipped tower learnt from
its own teacher; see `training.towers.text`. They get no dropout: a short run has no time to learn by heart. Texts of
`--held-out` files are not trained on. A killed run goes on.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from rich.console import Console

from hybrid_mmsa.adapters import Adapter, resolve_adapter
from hybrid_mmsa.data import read_posts
from hybrid_mmsa.encoders.compact import WEIGHTS
from hybrid_mmsa.encoders.wordpieces import WordPieces
from hybrid_mmsa.training.common.loop import LoopConfig
from hybrid_mmsa.training.posts.mixture import load_mixture
from hybrid_mmsa.training.towers.import_text import import_text
from hybrid_mmsa.training.towers.text import TOKENIZER, StudentConfig, train_student
from hybrid_mmsa.training.towers.text_tower import TextTower
from hybrid_mmsa.types import Sample

MAX_TOKENS = 80
"""Longest window in training, as for the shipped tower."""


def shipped_tower() -> TextTower:
    """The bundled text tower in torch, with the bundled model's heads."""
    arrays = Adapter.load(resolve_adapter("default")).head.arrays
    heads = {name.removeprefix("text."): value for name, value in arrays.items() if name.startswith("text.")}
    return import_text(WEIGHTS / "text.onnx", heads)


def begun(teacher: TextTower, folder: Path) -> Path:
    """A folder as transformers saves models, that students begin with."""
    if not (folder / TOKENIZER).exists():
        config = teacher.encoder.config
        config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
        teacher.encoder.save_pretrained(folder)
        shutil.copyfile(WEIGHTS / TOKENIZER, folder / TOKENIZER)
    return folder


def main() -> None:
    """Train a student for each choice of layers."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds the corpora")
    parser.add_argument("-o", "--out", type=Path, required=True, help="a folder for every student")
    parser.add_argument("--layers", action="append", required=True, metavar="N,N", help="layers kept; may be repeated")
    parser.add_argument("--rows", type=int, default=20_000, help="texts to learn from, before rewritten ones")
    parser.add_argument("--batch", type=int, default=48, help="texts a step")
    parser.add_argument("--held-out", type=Path, action="append", default=[], help="posts not to be trained on")
    options = parser.parse_args()
    held_out = [
        row.text for path in options.held_out for _, row in read_posts(path) if isinstance(row, Sample) and row.text
    ]
    rows = load_mixture(options.data, held_out=held_out).train[: options.rows]
    teacher = shipped_tower()
    start = begun(teacher, options.out / "start")
    pieces = WordPieces(start / TOKENIZER, MAX_TOKENS)
    loop = LoopConfig(epochs=1, learning_rate=1e-4, warmup=0.05, checkpoint_every=50, seed=7)
    for layers in options.layers:
        kept = tuple(int(number) for number in layers.split(","))
        config = StudentConfig(loop=loop, layers=kept, batch_size=options.batch)
        train_student(rows, teacher, start, pieces, config, options.out / layers.replace(",", "-"))
        Console(stderr=True).print(f"layers {layers}: learnt")


if __name__ == "__main__":
    main()
