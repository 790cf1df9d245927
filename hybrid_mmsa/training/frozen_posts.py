"""`train fusion --encoder`: the posts of a data folder, frozen features of any encoder, and a model on top of them.

Knows the corpora by their rows; knows nothing of how an encoder is made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from ..adapters import Adapter, resolve_adapter
from ..data import Record
from ..encoders import Encoder, extract_features, moved_name, open_encoder
from ..errors import InputError
from ..types import IntArray
from .frozen import FrozenConfig, Labelled, fit_frozen, labels_of, out_of_fold
from .provenance import made_now
from .rows import OWN_POSTS, fold_of, post_records, text_key
from .strategies import Evidence

__all__ = ["count_posts", "frozen_evidence", "train_frozen"]

FOLDS = 5


def train_frozen(
    data: Path,
    encoder: str,
    out: Path,
    *,
    config: FrozenConfig | None = None,
    threads: int = 2,
    advance: Callable[[], None] = lambda: None,
) -> Adapter:
    """Fit a model on top of an encoder that is left as it is, and save the folder `Analyzer.from_pretrained` loads.

    Features stand in `<out>.features` and are found again by the next run.

    Args:
        data: Folder holding the posts (see `rows.post_records`); their dev part is for the router.
        encoder: The encoder's name; paths in it are relative to the working directory.
        out: The folder to write; its name becomes the model's.
        config: The recipe.
        threads: Threads per operator of the compact encoder.
        advance: Called after every post.

    Raises:
        InputError: The bundled encoder, and posts it was trained on: nothing could be held out.
    """
    records = post_records(data)
    opened, start = _opened(encoder, records, threads)
    parts = {name: [r for r in records if r.split == name] for name in ("train", "dev")}
    train, dev = (_labelled(opened, parts[name], _kept(out), advance) for name in ("train", "dev"))
    adapter = fit_frozen(train, dev, opened, name=out.name, config=config, start=start)
    made_with = {
        **made_now(),
        "n_train": len(parts["train"]),
        "start": None if start is None else {"name": start.name, "hash": start.hash},
        "recipe": asdict(config or FrozenConfig()),
    }
    adapter = replace(adapter, encoder=moved_name(encoder, Path.cwd(), out), made_with=made_with)
    adapter.save(out)
    return adapter


def frozen_evidence(
    data: Path,
    encoder: str,
    out: Path,
    *,
    config: FrozenConfig | None = None,
    advance: Callable[[], None] = lambda: None,
) -> tuple[Evidence, IntArray]:
    """What linear heads on an encoder say of training posts they were not fitted to, and the folds `[n]`.

    Args:
        data: As in `train_frozen`.
        encoder: As in `train_frozen`.
        out: Features stand in `<out>.features`.
        config: The recipe of the heads.
        advance: Called after every post.
    """
    records = post_records(data)
    opened, start = _opened(encoder, records, threads=2)
    train = _labelled(opened, [r for r in records if r.split == "train"], _kept(out), advance)
    seen = out_of_fold(train, config or FrozenConfig(), start)
    return seen.evidence, train.folds[seen.both]


def count_posts(data: Path) -> int:
    """Posts to train on and to calibrate by."""
    return sum(r.split in ("train", "dev") for r in post_records(data))


def _opened(name: str, records: Sequence[Record], threads: int) -> tuple[Encoder, Adapter | None]:
    """The encoder, and the bundled adapter to start from where it is the bundled one."""
    encoder, default = open_encoder(name, Path.cwd(), threads=threads), Adapter.load(resolve_adapter("default"))
    if encoder.hash != default.encoder_hash:
        return encoder, None
    if not all((r.sample.id or "").startswith(f"{OWN_POSTS}:") for r in records):
        raise InputError(
            "the bundled encoder was trained on these posts, so none could be held out; train its towers anew "
            "(--text-runs, --image-runs), or give posts of your own",
            field="--encoder",
        )
    return encoder, default


def _kept(out: Path) -> Path:
    return out.with_name(f"{out.name}.features")


def _labelled(encoder: Encoder, records: Sequence[Record], folder: Path, advance: Callable[[], None]) -> Labelled:
    samples = [r.sample for r in records]
    keys = [text_key(s.text or "") or str(s.id) for s in samples]
    folds = np.array([fold_of(f"fusion/{key}", FOLDS) for key in keys], dtype=np.int64)
    return Labelled(extract_features(encoder, samples, folder, advance=advance), labels_of(samples), folds, keys)
