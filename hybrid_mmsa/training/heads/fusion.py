"""`train fusion`: trained towers → an encoder folder and an adapter folder that `Analyzer.from_pretrained` loads.

The fused head, its temperature and P(error) are fitted on out-of-fold predictions for the training posts; the other
temperatures on dev splits that choose nothing; the thresholds on a fixed half of dev. Test splits are not read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
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
from ...types import LABELS, TASKS, FloatArray, IntArray, Task, TaskArrays
from ..common.out_of_fold import OutOfFold
from ..common.provenance import made_now
from ..posts.rows import MVSA_SPLIT, OWN_POSTS, TextRow, fold_of, general_rows, post_records, text_key
from ..routing.posts import gold_labels, judged, train_router
from ..routing.router import RouterConfig
from ..towers.export import export_compact
from ..towers.image_tower import load_tower
from ..towers.text_tower import TextTower, mix_branch, start_folder, text_heads
from .strategies import Evidence, JoiningConfig, cross_fit, fit_strategy

__all__ = [
    "FusionConfig",
    "TowerRuns",
    "fit_adapter",
    "held_out_evidence",
    "linear_heads",
    "refit_router",
    "train_fusion",
]

CROSS_FITS = 5
TOWERS = "towers"
SIDES: Mapping[Task, str] = MappingProxyType({"text_sentiment": "text_label", "image_sentiment": "image_label"})


@dataclass(frozen=True, slots=True)
class FusionConfig:
    """How the head, calibration and router are fitted."""

    joining: JoiningConfig = field(default_factory=JoiningConfig)
    branch_share: float = 0.25
    """How much the text tower's branch counts in what the words say; the rest is the encoder's."""
    router: RouterConfig = field(default_factory=RouterConfig)


@dataclass(frozen=True, slots=True)
class TowerRuns:
    """The run folders of `train text` and `train image`."""

    text: Path
    image: Path


@dataclass(frozen=True, slots=True, eq=False)
class _TrainingPosts:
    """Training posts with both towers' logits, each from towers trained without the post's fold; and the dev posts.

    Attributes:
        posts: `n` posts that both towers have logits for.
        text, image: float32 `[n, classes]` per head.
        dev: Posts that nothing was trained on.
    """

    posts: list[Record]
    text: dict[str, FloatArray]
    image: dict[str, FloatArray]
    dev: list[Record]

    @classmethod
    def load(cls, data: Path, runs: TowerRuns, branch_share: float) -> _TrainingPosts:
        records = {record.sample.id or "": record for record in post_records(data)}
        text, image = OutOfFold.load(runs.text), OutOfFold.load(runs.image)
        pictured = set(image.ids)
        ids = [id_ for id_ in text.ids if id_ in pictured]
        logits = text.of(ids)
        return cls(
            posts=[records[id_] for id_ in ids],
            text={**logits, "sentiment": mix_branch(logits, branch_share)},
            image=image.of(ids),
            dev=[record for record in records.values() if record.split == "dev"],
        )

    @property
    def evidence(self) -> Evidence:
        labels = gold_labels(self.posts, "label")
        return Evidence(
            self.text["sentiment"], self.text["joint"], self.image["sentiment"], self.image["joint"], labels
        )

    @property
    def folds(self) -> IntArray:
        """Folds `[n]`; equal texts share one, so that none is judged by a head fitted to its twin."""
        keys = [text_key(post.sample.text or "") for post in self.posts]
        return np.array([fold_of(f"fusion/{key}", CROSS_FITS) for key in keys], dtype=np.int64)

    def task_logits(self, fused: Mapping[Task, FloatArray]) -> TaskArrays:
        """Held-out logits of all tasks, given those of the fused head."""
        return {
            **fused,
            "text_sentiment": self.text["sentiment"],
            "image_sentiment": self.image["sentiment"],
            "target_sentiment": np.full((len(self.posts), len(LABELS)), np.nan, np.float32),
            "sarcasm": self.text["sarcasm"],
            "emotion": self.text["emotion"],
        }


def train_fusion(
    data: Path, runs: TowerRuns, out: Path, *, towers: Path | None = None, config: FusionConfig | None = None
) -> Adapter:
    """Export the trained towers, fit everything on top of them, and save a folder `Analyzer.from_pretrained` loads.

    Args:
        data: Folder holding the corpora (see `rows.CORPUS_FOLDERS`).
        runs: The runs of the towers.
        out: The adapter folder to write; its name becomes the model's.
        towers: Where the int8 towers stand or go; `out / "towers"` by default. Towers that are there are kept: give
            newly trained ones an empty folder. The adapter finds them by their path relative to `out`.
        config: The recipe.
    """
    towers = towers or out / TOWERS
    if not (towers / "compact.json").exists():
        text = TextTower(start_folder()).load(runs.text / "final" / "tower.safetensors")
        image = load_tower(runs.image / "final" / "tower.safetensors")
        sizes = {"max_tokens": _recipe(runs.text)["max_tokens"], "side": _recipe(runs.image)["side"]}
        export_compact(text, image, towers, **sizes)
    place = Path(os.path.relpath(towers, out)).as_posix()
    name = "compact" if towers.resolve() == WEIGHTS.resolve() else f"compact:{place}"
    encoder = CompactEncoder(towers, threads=2, name=name)
    adapter = fit_adapter(data, runs, encoder, name=out.name, config=config)
    adapter.save(out)
    return adapter


def _recipe(runs: Path) -> dict[str, Any]:
    """The settings a tower was trained with."""
    recipe: dict[str, Any] = json.loads((runs / "final" / "record.json").read_text(encoding="utf-8"))["recipe"]
    return recipe


def fit_adapter(
    data: Path, runs: TowerRuns, encoder: Encoder, *, name: str, config: FusionConfig | None = None
) -> Adapter:
    """Fit everything on top of an exported encoder.

    Args:
        data: Folder holding the corpora.
        runs: The runs of the towers.
        encoder: The int8 encoder exported from them.
        name: The adapter's name.
        config: The recipe.
    """
    config = config or FusionConfig()
    training = _TrainingPosts.load(data, runs, config.branch_share)
    linear = linear_heads(runs.text / "final", runs.image / "final", config.branch_share)
    head = FusionHead({**linear, **fit_strategy(training.evidence, config.joining)}, config.joining.strategy)
    fused = cross_fit(training.evidence, training.folds, config.joining)
    _, dev = general_rows(data)
    calibration = _calibrate(training, fused, head, encoder, dev)
    draft = Adapter(
        name=name,
        encoder=encoder.name,
        encoder_hash=encoder.hash,
        head=head,
        calibration=calibration,
        router=Router(error_model=ErrorModel(), thresholds=Thresholds(1, 1, 1)),  # not fitted yet
    )
    posteriors = calibration.probabilities(training.task_logits(fused))
    learn = judged(draft, encoder, training.posts, posteriors)
    own = {(post.sample.id or "").startswith(f"{OWN_POSTS}:") for post in training.posts}
    made_with = {
        **made_now(),
        "posts": sorted(OWN_POSTS if is_own else MVSA_SPLIT for is_own in own),
        "texts": sorted(corpus for corpus, rows in dev.items() if rows),
        "n_train": len(training.posts),
        "recipe": asdict(config),
    }
    router = train_router(draft, encoder, learn, training.dev, dev, config.router)
    return replace(draft, router=router, made_with=made_with)


def held_out_evidence(data: Path, runs: TowerRuns, config: FusionConfig | None = None) -> tuple[Evidence, IntArray]:
    """Logits of towers for training posts of a fold they were trained without, and folds `[n]` to judge a head by."""
    training = _TrainingPosts.load(data, runs, (config or FusionConfig()).branch_share)
    return training.evidence, training.folds


def refit_router(
    data: Path, runs: TowerRuns, encoder: Encoder, adapter: Adapter, config: FusionConfig | None = None
) -> Adapter:
    """The same model with its router fitted anew; head and calibration stay as they are.

    Args:
        data: Folder holding the corpora.
        runs: The runs the model was made from.
        encoder: The adapter's encoder.
        adapter: The model.
        config: The recipe; its strategy is the model's own.
    """
    config = config or FusionConfig()
    joining = replace(config.joining, strategy=adapter.head.strategy)
    training = _TrainingPosts.load(data, runs, config.branch_share)
    fused = cross_fit(training.evidence, training.folds, joining)
    learn = judged(adapter, encoder, training.posts, adapter.calibration.probabilities(training.task_logits(fused)))
    _, dev = general_rows(data)
    return replace(adapter, router=train_router(adapter, encoder, learn, training.dev, dev, config.router))


def linear_heads(text: Path, image: Path, branch_share: float) -> dict[str, FloatArray]:
    """The linear heads of two towers, as a fusion head names them.

    Args:
        text: The text tower's folder, with its `tower.safetensors`.
        image: The image tower's.
        branch_share: How much the text tower's branch counts in what the words say.
    """
    arrays = text_heads(load_file(text / "tower.safetensors"), branch_share)
    weights = load_file(image / "tower.safetensors")
    for head in IMAGE_HEADS:
        for part in ("weight", "bias"):
            arrays[f"image.{head}.{part}"] = weights[f"heads.{head}.{part}"].astype(np.float32)
    return arrays


def _calibrate(
    training: _TrainingPosts,
    fused: Mapping[Task, FloatArray],
    head: FusionHead,
    encoder: Encoder,
    dev: dict[str, list[TextRow]],
) -> Calibration:
    """A temperature per task, each on posts its logits were not trained on."""
    joint = gold_labels(training.posts, "label")
    logits: dict[Task, list[NDArray[Any]]] = {task: [values] for task, values in fused.items()}
    gold: dict[Task, list[NDArray[Any]]] = {task: [joint] for task in fused}
    logits |= {
        "text_sentiment": [training.text["sentiment"]],
        "image_sentiment": [training.image["sentiment"]],
    }
    for task, side in SIDES.items():
        gold[task] = [gold_labels(training.posts, side)]
    tasks: tuple[tuple[Task, str, tuple[str, ...]], ...] = (
        ("text_sentiment", "sentiment", ("semeval2017",)),
        ("target_sentiment", "target", ("twitter2015", "twitter2017")),
        ("sarcasm", "sarcasm", ("mmsd2", "tweeteval_irony")),
        ("emotion", "emotion", ("tweeteval_emotion",)),
    )
    for task, label, corpora in tasks:
        if rows := [r for corpus in corpora for r in dev.get(corpus, ())]:
            # These rows are judged on tasks that read no picture.
            features = encoder.encode([read_sample(replace(row.sample, image=None)) for row in rows])
            logits.setdefault(task, []).append(head.logits(features)[task])
            gold.setdefault(task, []).append(np.array([r.labels[label] for r in rows]))
    fitted = {
        task: TemperatureScaling().fit(np.concatenate(v), np.concatenate(gold[task])) for task, v in logits.items()
    }
    # A task without labels keeps its logits as they are.
    return Calibration({task: fitted[task].temperature_ if task in fitted else 1.0 for task in TASKS})
