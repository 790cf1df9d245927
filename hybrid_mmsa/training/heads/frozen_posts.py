"""`train fusion --encoder`: the posts of a data folder, frozen features of any encoder, and a model on top of them.

Knows the corpora by their rows; knows nothing of how an encoder is made.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...adapters import Adapter, resolve_adapter
from ...data import Record
from ...encoders import Encoder, extract_features, moved_name, open_encoder
from ...errors import InputError
from ...types import IntArray, Verdict
from ..common.provenance import made_now
from ..posts.labelled import Labelled, labels_of, taught_by
from ..posts.rows import OWN_POSTS, fold_of, post_records, text_key
from .frozen import FrozenConfig, cross_fit_heads, fit_frozen
from .strategies import Evidence

__all__ = ["count_posts", "frozen_evidence", "kept_features", "labelled_posts", "train_frozen"]

FOLDS = 5


def train_frozen(
    data: Path,
    encoder: str,
    out: Path,
    *,
    config: FrozenConfig | None = None,
    verdicts: Mapping[str, Verdict] | None = None,
    threads: int = 2,
    advance: Callable[[], None] = lambda: None,
) -> Adapter:
    """Fit a model on top of an encoder that is left as it is, and save the folder `Analyzer.from_pretrained` loads.

    With a reasoner's verdicts the fast tier is taught the reasoner's verdicts on the training posts, labelled or not
    (`FrozenConfig.teaching`); gold labels calibrate it where there are enough. What was used stands in `made_with`.

    Features stand in `<out>.features` and are found again by the next run.

    Args:
        data: Folder holding the posts (see `rows.post_records`); their dev part is for the router.
        encoder: The encoder's name; paths in it are relative to the working directory.
        out: The folder to write; its name becomes the model's.
        config: The recipe.
        verdicts: A reasoner's verdicts by post id.
        threads: Threads per operator of the compact encoder.
        advance: Called after every post.

    Raises:
        InputError: The bundled encoder, and posts it was trained on: nothing could be held out. Or no verdict is on one
            of the training posts, or the verdicts are of more than one model.
    """
    records = post_records(data, verdicts or {})
    used = None if verdicts is None else _used(records, verdicts)
    opened, start = _opened(encoder, records, threads)
    parts = {name: [r for r in records if r.split == name] for name in ("train", "dev")}
    train, dev = (
        labelled_posts(opened, parts[name], kept_features(out), advance, verdicts) for name in ("train", "dev")
    )
    adapter = fit_frozen(train, dev, opened, name=out.name, config=config, start=start)
    made_with = {
        **made_now(),
        "n_train": len(parts["train"]),
        "start": None if start is None else {"name": start.name, "hash": start.hash},
        "taught": used,
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
    """Logits of linear heads on an encoder for training posts they were not fitted to, and the folds `[n]`.

    Args:
        data: As in `train_frozen`.
        encoder: As in `train_frozen`.
        out: Features stand in `<out>.features`.
        config: The recipe of the heads.
        advance: Called after every post.
    """
    records = post_records(data)
    opened, start = _opened(encoder, records, threads=2)
    train = labelled_posts(opened, [r for r in records if r.split == "train"], kept_features(out), advance)
    heads = cross_fit_heads(train, config or FrozenConfig(), start)
    return heads.evidence, train.folds[heads.both]


def count_posts(data: Path, taught: Container[str] = frozenset()) -> int:
    """Posts to train on and to calibrate by; `taught` as in `rows.post_records`."""
    return sum(r.split in ("train", "dev") for r in post_records(data, taught))


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


def kept_features(out: Path) -> Path:
    """Where the features of a model's posts stand between runs."""
    return out.with_name(f"{out.name}.features")


def _used(records: Sequence[Record], verdicts: Mapping[str, Verdict]) -> dict[str, Any]:
    """Whose verdicts teach, and how many posts: what `made_with` says of it."""
    makers = {(v.reasoner, v.adapter, v.prompt) for v in verdicts.values()}
    if len(makers) > 1:
        named = "; ".join(f"{r}, adapter {a}, prompt {p}" for r, a, p in sorted(makers, key=str))
        raise InputError(f"the verdicts are of more than one model, adapter or prompt: {named}", field="--distil")
    met = [r for r in records if r.split == "train" and _id(r) in verdicts]
    if not met:
        raise InputError(
            f"none of the {len(verdicts)} verdicts is on a training post: the ids do not meet", field="--distil"
        )
    reasoner, adapter, prompt = next(iter(makers))
    labelled = sum(r.sample.label is not None for r in met)
    return {
        "reasoner": reasoner,
        "adapter": adapter,
        "prompt": prompt,
        "verdicts": len(verdicts),
        "posts": len(met),
        "labelled_too": labelled,
        "by_verdict_alone": len(met) - labelled,
    }


def _id(record: Record) -> str:
    return (record.sample.id or "").removeprefix(f"{OWN_POSTS}:")


def labelled_posts(
    encoder: Encoder,
    records: Sequence[Record],
    folder: Path,
    advance: Callable[[], None],
    verdicts: Mapping[str, Verdict] | None = None,
) -> Labelled:
    """The posts of some records with their features, gold labels, folds and, where there are some, verdicts."""
    samples = [r.sample for r in records]
    keys = [text_key(s.text or "") or str(s.id) for s in samples]
    folds = np.array([fold_of(f"fusion/{key}", FOLDS) for key in keys], dtype=np.int64)
    features = extract_features(encoder, samples, folder, advance=advance)
    taught = {} if verdicts is None else taught_by([verdicts.get(_id(r)) for r in records])
    return Labelled(features, labels_of(samples), folds, keys, taught)
