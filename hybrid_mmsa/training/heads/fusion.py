"""`train fusion`: trained towers → an encoder folder and an adapter folder that `Analyzer.from_pretrained` loads.

The fused head, its temperature and P(error) are fitted on out-of-fold predictions for the training posts; the other
temperatures on dev splits that choose nothing; the thresholds on a fixed half of dev. Test splits are not read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from ...adapters import Adapter
from ...calibration import Calibration, TemperatureScaling
from ...data import Record
from ...encoders import CompactEncoder, Encoder
from ...encoders.compact import WEIGHTS
from ...fusion import FusionHead
from ...fusion.head import IMAGE_HEADS
from ...inputs import read_sample
from ...routing import ErrorModel, Router, Thresholds
from ...types import LABELS, TASKS, Features, FloatArray, IntArray, Task, TaskArrays
from ..common.out_of_fold import OutOfFold
from ..common.provenance import made_now
from ..posts.rows import MVSA_SPLIT, OWN_POSTS, TextRow, fold_of, general_rows, post_records, text_key
from ..routing.posts import gold_labels, train_router
from ..routing.router import RouterConfig
from ..towers.export import export_compact
from ..towers.image_tower import load_tower
from ..towers.text_tower import TextTower, said_by_words, start_folder, text_heads
from .strategies import Evidence, JoiningConfig, cross_fit, fit_strategy

__all__ = ["FusionConfig", "fit_adapter", "held_out_evidence", "linear_heads", "refit_router", "train_fusion"]

CROSS_FITS = 5
TOWERS = "towers"
SIDES: Mapping[Task, str] = MappingProxyType({"text_sentiment": "text_label", "image_sentiment": "image_label"})


@dataclass(frozen=True, slots=True)
class FusionConfig:
    """How the head, calibration and router are fitted."""

    joining: JoiningConfig = field(default_factory=JoiningConfig)
    said: float = 0.25
    """How much the text tower's branch counts in what the words say; the rest is the encoder's."""
    router: RouterConfig = field(default_factory=RouterConfig)


def train_fusion(
    data: Path,
    text_runs: Path,
    image_runs: Path,
    out: Path,
    *,
    towers: Path | None = None,
    config: FusionConfig | None = None,
) -> Adapter:
    """Export the trained towers, fit everything on top of them, and save a folder `Analyzer.from_pretrained` loads.

    Args:
        data: Folder holding the corpora (see `rows.CORPUS_FOLDERS`).
        text_runs: The run folder of `train text`.
        image_runs: The run folder of `train image`.
        out: The adapter folder to write; its name becomes the model's.
        towers: Where the int8 towers stand or go; `out / "towers"` by default. Towers that are there are kept: give
            newly trained ones an empty folder. The adapter finds them by their path relative to `out`.
        config: The recipe.
    """
    towers = towers or out / TOWERS
    if not (towers / "compact.json").exists():
        text = TextTower(start_folder()).load(text_runs / "final" / "tower.safetensors")
        image = load_tower(image_runs / "final" / "tower.safetensors")
        sizes = {"max_tokens": _recipe(text_runs)["max_tokens"], "side": _recipe(image_runs)["side"]}
        export_compact(text, image, towers, **sizes)
    place = Path(os.path.relpath(towers, out)).as_posix()
    name = "compact" if towers.resolve() == WEIGHTS.resolve() else f"compact:{place}"
    encoder = CompactEncoder(towers, threads=2, name=name)
    adapter = fit_adapter(data, (text_runs, image_runs), encoder, name=out.name, config=config)
    adapter.save(out)
    return adapter


def _is_own(record: Record) -> bool:
    return (record.sample.id or "").startswith(f"{OWN_POSTS}:")


def _recipe(runs: Path) -> dict[str, Any]:
    """The settings a tower was trained with."""
    recipe: dict[str, Any] = json.loads((runs / "final" / "record.json").read_text(encoding="utf-8"))["recipe"]
    return recipe


@dataclass(frozen=True, slots=True, eq=False)
class _BothSides:
    """What both towers said about MVSA training posts they had not seen."""

    ids: list[str]
    text: dict[str, FloatArray]
    image: dict[str, FloatArray]

    @classmethod
    def load(cls, text: Path, image: Path, said: float) -> _BothSides:
        words, picture = OutOfFold.load(text), OutOfFold.load(image)
        seen = set(picture.ids)
        ids = [id_ for id_ in words.ids if id_ in seen]
        logits = words.of(ids)
        return cls(ids, {**logits, "sentiment": said_by_words(logits, said)}, picture.of(ids))

    def evidence(self, labels: IntArray) -> Evidence:
        return Evidence(
            self.text["sentiment"], self.text["joint"], self.image["sentiment"], self.image["joint"], labels
        )


def fit_adapter(
    data: Path, towers: tuple[Path, Path], encoder: Encoder, *, name: str, config: FusionConfig | None = None
) -> Adapter:
    """Fit everything on top of an exported encoder.

    Args:
        data: Folder holding the corpora.
        towers: The run folders of `train text` and `train image`.
        encoder: The int8 encoder exported from them.
        name: The adapter's name.
        config: The recipe.
    """
    config = config or FusionConfig()
    text_runs, image_runs = towers
    records = {r.sample.id or "": r for r in post_records(data)}
    seen = _BothSides.load(text_runs, image_runs, config.said)
    posts = [records[i] for i in seen.ids]
    evidence = seen.evidence(gold_labels(posts, "label"))
    linear = linear_heads(text_runs / "final", image_runs / "final", config.said)
    head = FusionHead({**linear, **fit_strategy(evidence, config.joining)}, config.joining.strategy)
    # Equal texts share a fold, so that none is judged by a head fitted to its twin.
    held_out = cross_fit(evidence, _folds(posts), config.joining)
    _, dev = general_rows(data)
    calibration = _calibrate(seen, posts, held_out, head, encoder, dev)
    posteriors = calibration.probabilities(_task_logits(seen, held_out))
    draft = _draft(name, encoder, head, calibration)
    held = [r for r in records.values() if r.split == "dev"]
    router = train_router(draft, encoder, (posts, posteriors), held, dev, config.router)
    made_with = {
        **made_now(),
        "posts": sorted({OWN_POSTS if _is_own(r) else MVSA_SPLIT for r in posts}),
        "texts": sorted(corpus for corpus, rows in dev.items() if rows),
        "n_train": len(posts),
        "recipe": asdict(config),
    }
    return Adapter(
        name=name,
        encoder=encoder.name,
        encoder_hash=encoder.hash,
        head=head,
        calibration=calibration,
        router=router,
        made_with=made_with,
    )


def held_out_evidence(
    data: Path, towers: tuple[Path, Path], config: FusionConfig | None = None
) -> tuple[Evidence, IntArray]:
    """What trained towers say of training posts they had not seen, and the folds `[n]` to judge a fused head by."""
    records = {r.sample.id or "": r for r in post_records(data)}
    seen = _BothSides.load(*towers, (config or FusionConfig()).said)
    posts = [records[i] for i in seen.ids]
    return seen.evidence(gold_labels(posts, "label")), _folds(posts)


def refit_router(
    data: Path, towers: tuple[Path, Path], encoder: Encoder, adapter: Adapter, config: FusionConfig | None = None
) -> Adapter:
    """The same model with its router fitted anew; head and calibration stay as they are.

    Args:
        data: Folder holding the corpora.
        towers: The run folders the model was made from.
        encoder: The adapter's encoder.
        adapter: The model.
        config: The recipe; its strategy is the model's own.
    """
    config = config or FusionConfig()
    joining = replace(config.joining, strategy=adapter.head.strategy)
    records = {r.sample.id or "": r for r in post_records(data)}
    seen = _BothSides.load(*towers, config.said)
    posts = [records[i] for i in seen.ids]
    held_out = cross_fit(seen.evidence(gold_labels(posts, "label")), _folds(posts), joining)
    posteriors = adapter.calibration.probabilities(_task_logits(seen, held_out))
    _, dev = general_rows(data)
    held = [r for r in records.values() if r.split == "dev"]
    return replace(adapter, router=train_router(adapter, encoder, (posts, posteriors), held, dev, config.router))


def _draft(name: str, encoder: Encoder, head: FusionHead, calibration: Calibration) -> Adapter:
    """A model that answers and routes nothing yet."""
    return Adapter(
        name=name,
        encoder=encoder.name,
        encoder_hash=encoder.hash,
        head=head,
        calibration=calibration,
        router=Router(error_model=ErrorModel(), thresholds=Thresholds(1, 1, 1)),
    )


def linear_heads(text: Path, image: Path, said: float) -> dict[str, FloatArray]:
    """The linear heads of two towers, as a fusion head names them.

    Args:
        text: The text tower's folder, with its `tower.safetensors`.
        image: The image tower's.
        said: How much the text tower's branch counts in what the words say.
    """
    arrays = text_heads(load_file(text / "tower.safetensors"), said)
    weights = load_file(image / "tower.safetensors")
    for head in IMAGE_HEADS:
        for part in ("weight", "bias"):
            arrays[f"image.{head}.{part}"] = weights[f"heads.{head}.{part}"].astype(np.float32)
    return arrays


def _folds(posts: Sequence[Record]) -> IntArray:
    return np.array([fold_of(f"fusion/{text_key(p.sample.text or '')}", CROSS_FITS) for p in posts], dtype=np.int64)


def _task_logits(seen: _BothSides, held_out: dict[Task, FloatArray]) -> TaskArrays:
    nobody = np.full((len(seen.ids), len(LABELS)), np.nan, np.float32)
    return {
        **held_out,
        "text_sentiment": seen.text["sentiment"],
        "image_sentiment": seen.image["sentiment"],
        "target_sentiment": nobody,
        "sarcasm": seen.text["sarcasm"],
        "emotion": seen.text["emotion"],
    }


def _calibrate(
    seen: _BothSides,
    posts: Sequence[Record],
    held_out: dict[Task, FloatArray],
    head: FusionHead,
    encoder: Encoder,
    dev: dict[str, list[TextRow]],
) -> Calibration:
    """A temperature per task, each on posts its logits were not trained on."""
    joint = gold_labels(posts, "label")
    logits: dict[Task, list[NDArray[Any]]] = {task: [values] for task, values in held_out.items()}
    gold: dict[Task, list[NDArray[Any]]] = {task: [joint] for task in held_out}
    logits |= {"text_sentiment": [seen.text["sentiment"]], "image_sentiment": [seen.image["sentiment"]]}
    for task, side in SIDES.items():
        gold[task] = [gold_labels(posts, side)]
    tasks: tuple[tuple[Task, str, tuple[str, ...]], ...] = (
        ("text_sentiment", "sentiment", ("semeval2017",)),
        ("target_sentiment", "target", ("twitter2015", "twitter2017")),
        ("sarcasm", "sarcasm", ("mmsd2", "tweeteval_irony")),
        ("emotion", "emotion", ("tweeteval_emotion",)),
    )
    for task, label, corpora in tasks:
        if rows := [r for corpus in corpora for r in dev.get(corpus, ())]:
            logits.setdefault(task, []).append(head.logits(_read(encoder, rows))[task])
            gold.setdefault(task, []).append(np.array([r.labels[label] for r in rows]))
    fitted = {
        task: TemperatureScaling().fit(np.concatenate(v), np.concatenate(gold[task])) for task, v in logits.items()
    }
    # A task without labels keeps its logits as they are.
    return Calibration({task: fitted[task].temperature_ if task in fitted else 1.0 for task in TASKS})


def _read(encoder: Encoder, rows: Sequence[TextRow]) -> Features:
    """Features of the words; these rows are judged on tasks that read no picture."""
    return encoder.encode([read_sample(replace(r.sample, image=None)) for r in rows])
