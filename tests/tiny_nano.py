"""A nano of small sizes, really trained by the product on drawn posts: corpora, start weights, recipe and folder."""

from dataclasses import dataclass, replace
from pathlib import Path

import tiny
from drawn_posts import draw_posts
from other_domain import write_posts

POSTS = 60
SETTINGS = (
    *("shape.width=64", "shape.layers=2", "shape.inner=96", "shape.heads=4", "shape.key_heads=2", "pieces.pieces=480"),
    *("words.batch_size=8", "words.length=32", "words.share=1.0", "words.loop.epochs=2"),
    *("words.loop.checkpoint_every=3", "words.loop.learning_rate=3e-3"),
    *("answers.batch_size=16", "answers.loop.checkpoint_every=3", "answers.loop.learning_rate=6e-3"),
    *("answers.loop.averaging=0.5", "answers.loop.epochs=3"),
    *("reasons.batch_size=8", "reasons.loop.checkpoint_every=3", "reasons.loop.learning_rate=3e-3"),
    *("reasons.loop.averaging=0.5", "reasons.loop.epochs=2"),
)
"""The recipe, as `--set` takes it."""


@dataclass(frozen=True)
class TinyNano:
    """What was trained, from what, and where its stages are."""

    data: Path
    start: Path
    runs: Path
    folder: Path

    @classmethod
    def in_folder(cls, folder):
        """Where `trained` puts each part."""
        return cls(folder / "data", folder / "start.safetensors", folder / "runs", folder / "nano")


def config():
    """The recipe of `SETTINGS`."""
    from hybrid_mmsa.cli.terminal.settings import with_settings
    from hybrid_mmsa.training.nano.train import NanoConfig

    return with_settings(NanoConfig(), SETTINGS)


def corpora(folder):
    """A data folder that holds one's own posts alone."""
    posts = [replace(post.sample, id=str(number)) for number, post in enumerate(draw_posts(POSTS, seed=5))]
    write_posts(folder, posts)
    return folder


def start(path):
    """Start weights of the picture side, random."""
    from safetensors.torch import save_file

    save_file(tiny.start_weights(), path)
    return path


def trained(folder):
    """Train one in `folder`, see `TinyNano.in_folder`."""
    from hybrid_mmsa.training.nano.train import train_nano

    made = TinyNano.in_folder(folder)
    corpora(made.data)
    start(made.start)
    train_nano(made.data, made.start, made.runs, made.folder, config())


def lessons_from(processor, posts):
    """A lesson for each sample and target, whose pictures are numbered in order and which nobody has an opinion on."""
    import numpy as np

    from hybrid_mmsa.reasoning import load_prompt
    from hybrid_mmsa.training.nano.lessons import Lessons, end_to_end, write_lessons

    written, _ = write_lessons(processor, load_prompt("nano"), posts, patches=25, longest=999)
    shown = np.array([sample.image is not None for sample, _ in posts])
    return Lessons(
        *end_to_end(written),
        np.where(shown, np.cumsum(shown) - 1, -1).astype(np.int64),
        np.ones(len(posts), np.float32),
        np.zeros(len(posts), np.int64),
        np.zeros((len(posts), 3, 3), np.float16),
    )
