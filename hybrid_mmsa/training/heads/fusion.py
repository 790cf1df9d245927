"""`train fusion`: trained towers → an encoder folder and an adapter folder that `Analyzer.from_pretrained` loads.

The text tower saw none of the posts, so its heads speak of them as they are; the image tower's logits are out of fold.
What words make of a whole post is a head on the text features, cross-fitted. The fused head is fitted on posts, and on
words of text corpora put beside the pictures of posts (`joined`): there the words' label stands, so that a picture that
merely looks nice does not turn plain words around. Temperatures and router are fitted on a mixture of both, of words
alone and of pictures alone. Test splits are not read.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
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
from ...fusion import FusionHead, PresentSides, answer_from_sides
from ...fusion.head import IMAGE_HEADS
from ...routing import ErrorModel, Novelty, Router, Thresholds, threshold_at_precision
from ...types import LABELS, TASKS, Features, FloatArray, IntArray, Task, TaskArrays
from ..common.out_of_fold import OutOfFold
from ..common.provenance import made_now
from ..posts.mixture import dev_rows
from ..posts.rows import MVSA_SPLIT, OWN_POSTS, TextRow, fold_of, post_records, text_key
from ..routing.posts import encode_posts, gold_labels, half
from ..routing.router import Judged, RouterConfig, fit_router
from ..towers.export import export_compact
from ..towers.image_tower import load_tower
from ..towers.text import STUDENT
from ..towers.text_tower import HEADS, TextTower
from .logistic import Choice, LinearHead, choose_head
from .strategies import Evidence, JoiningConfig, cross_fit, fit_strategy

__all__ = [
    "FusionConfig",
    "TowerRuns",
    "held_out_evidence",
    "image_heads",
    "judging_posts",
    "tower_heads",
    "train_fusion",
    "words_head",
]

CROSS_FITS = 5
PARTS = 3
"""Words of dev rows fall into three parts: to learn from, to choose by, to judge by."""
TOWERS = "towers"
TEXT_TASKS: Mapping[Task, str] = MappingProxyType(
    {"text_sentiment": "sentiment", "target_sentiment": "target", "sarcasm": "sarcasm", "emotion": "emotion"}
)
"""Tasks that words alone are judged on, and the label they are held to."""


@dataclass(frozen=True, slots=True)
class FusionConfig:
    """How heads, calibration and router are fitted."""

    joining: JoiningConfig = field(default_factory=JoiningConfig)
    penalties: tuple[float, ...] = (0.1, 0.3, 1, 3, 10, 30, 100)
    """What the pull of the words' guess of a whole post to what they say by themselves is chosen from."""
    texts: int = 1000
    """Dev rows of each text corpus that calibrate what words say, at most."""
    words: int = 500
    """How many of them are put beside pictures, and judged alone; 0 fits to posts alone."""
    max_tokens: int = 128
    """Longest window the exported text tower reads."""
    router: RouterConfig = field(default_factory=RouterConfig)


@dataclass(frozen=True, slots=True)
class TowerRuns:
    """The run folders of `train text` and `train image`."""

    text: Path
    image: Path


def train_fusion(
    data: Path, runs: TowerRuns, out: Path, *, towers: Path | None = None, config: FusionConfig | None = None
) -> Adapter:
    """Export the trained towers, fit everything on top of them, and save a folder `Analyzer.from_pretrained` loads.

    Args:
        data: Folder holding the corpora (see `rows.CORPUS_FOLDERS`).
        runs: What the towers were made in.
        out: The adapter folder to write; its name becomes the model's.
        towers: Where the int8 towers stand or go; `out / "towers"` by default. Towers that are there are kept: give
            newly trained ones an empty folder. The adapter finds them by their path relative to `out`.
        config: The recipe.
    """
    config = config or FusionConfig()
    encoder = _exported(runs, out, towers or out / TOWERS, config)
    adapter = _fitted(data, runs, encoder, config, out.name)
    adapter.save(out)
    return adapter


def _exported(runs: TowerRuns, out: Path, towers: Path, config: FusionConfig) -> CompactEncoder:
    """The towers in int8, written unless they are there, as a model in the folder `out` names them."""
    if not (towers / "compact.json").exists():
        text, image = TextTower.load(runs.text / STUDENT), load_tower(runs.image / "final" / "tower.safetensors")
        sizes = {"max_tokens": config.max_tokens, "side": _recipe(runs.image)["side"]}
        export_compact(text, runs.text / STUDENT / "tokenizer.json", image, towers, **sizes)
    place = Path(os.path.relpath(towers, out)).as_posix()
    name = "compact" if towers.resolve() == WEIGHTS.resolve() else f"compact:{place}"
    return CompactEncoder(towers, threads=2, name=name)


def _fitted(data: Path, runs: TowerRuns, encoder: Encoder, config: FusionConfig, name: str) -> Adapter:
    """Everything that stands on top of an exported encoder."""
    posts = _Posts.read(data, runs, encoder, config)
    texts = _Texts.read(data, encoder, config.texts)
    words = texts.words(config.words)
    evidence = Evidence.concatenate([posts.evidence, words.beside(posts, posts.linear, 0)])
    keys = [*posts.keys, *words.part(0).keys]
    head = FusionHead({**posts.linear, **fit_strategy(evidence, config.joining)}, config.joining.strategy)
    # Equal texts share a fold, so that none is judged by a head fitted to its twin.
    folds = np.array([fold_of(f"fusion/{key}", CROSS_FITS) for key in keys], dtype=np.int64)
    held_out = cross_fit(evidence, folds, config.joining)
    calibration = _calibrate(posts, held_out, evidence, head, texts)
    draft = _draft(name, encoder, head, calibration)
    router = _fit_router(draft, posts, texts, words, held_out, encoder, config)
    made_with = {
        **made_now(),
        "posts": sorted({OWN_POSTS if _is_own(record) else MVSA_SPLIT for record in posts.records}),
        "texts": sorted(set(texts.sources)),
        "n_train": len(posts.records),
        "n_joined": len(words.part(0)),
        "recipe": asdict(config),
    }
    return replace(draft, router=router, made_with=made_with)


def held_out_evidence(
    data: Path, runs: TowerRuns, out: Path, *, towers: Path | None = None, config: FusionConfig | None = None
) -> tuple[Evidence, IntArray]:
    """What towers say of training posts they had not seen, and the folds `[n]` to judge a fused head by.

    Args:
        data: Folder holding the corpora.
        runs: What the towers were made in.
        out: Folder of the model that would be fitted; nothing but its towers is written.
        towers: As in `train_fusion`.
        config: The recipe.
    """
    config = config or FusionConfig()
    encoder = _exported(runs, out, towers or out / TOWERS, config)
    posts = _Posts.read(data, runs, encoder, config)
    folds = np.array([fold_of(f"fusion/{key}", CROSS_FITS) for key in posts.keys], dtype=np.int64)
    return posts.evidence, folds


def tower_heads(runs: TowerRuns) -> dict[str, FloatArray]:
    """The linear heads of both towers, as a fusion head names them; all but `text.joint`."""
    return _heads_of("text", runs.text / STUDENT / "tower.safetensors", HEADS) | image_heads(runs.image)


def image_heads(runs: Path) -> dict[str, FloatArray]:
    """The linear heads of the image tower that `train image` made in `runs`, as a fusion head names them."""
    return _heads_of("image", runs / "final" / "tower.safetensors", IMAGE_HEADS)


def _heads_of(side: str, weights: Path, tasks: Iterable[str]) -> dict[str, FloatArray]:
    arrays = load_file(weights)
    return {
        f"{side}.{task}.{part}": arrays[f"heads.{task}.{part}"].astype(np.float32)
        for task in tasks
        for part in ("weight", "bias")
    }


def _is_own(record: Record) -> bool:
    return (record.sample.id or "").startswith(f"{OWN_POSTS}:")


def _recipe(runs: Path) -> dict[str, Any]:
    """The settings the image tower was trained with."""
    recipe: dict[str, Any] = json.loads((runs / "final" / "record.json").read_text(encoding="utf-8"))["recipe"]
    return recipe


@dataclass(frozen=True, slots=True, eq=False)
class _Posts:
    """Training posts with both sides, and what towers and heads that had not seen them say.

    Attributes:
        records: The posts; `held` are those of the dev split.
        features: The encoder's, of `records`; its image tower has seen their pictures.
        linear: All linear heads.
        text, image: Logits `[n, classes]` by head.
    """

    records: Sequence[Record]
    held: Sequence[Record]
    features: Features
    linear: Mapping[str, FloatArray]
    text: Mapping[str, FloatArray]
    image: Mapping[str, FloatArray]

    @classmethod
    def read(cls, data: Path, runs: TowerRuns, encoder: Encoder, config: FusionConfig) -> _Posts:
        records, picture, heads = post_records(data), OutOfFold.load(runs.image), tower_heads(runs)
        known = set(picture.ids)
        posts = [r for r in records if r.split == "train" and r.sample.text and r.sample.label and r.sample.id in known]
        features = encode_posts(encoder, [post.sample for post in posts])
        text = {task: LinearHead.of(heads, f"text.{task}").logits(features.text_features) for task in HEADS}
        joint = words_head(posts, features.text_features, "label", heads, config)
        text["joint"] = joint.held_out
        linear = {**heads, **joint.head.named("text.joint")}
        held = [r for r in records if r.split == "dev"]
        return cls(posts, held, features, linear, text, picture.of([post.sample.id or "" for post in posts]))

    @property
    def keys(self) -> list[str]:
        return [text_key(post.sample.text or "") for post in self.records]

    @property
    def evidence(self) -> Evidence:
        sides = (self.text["sentiment"], self.text["joint"], self.image["sentiment"], self.image["joint"])
        return Evidence(*sides, gold_labels(self.records, "label"))


def words_head(
    posts: Sequence[Record],
    features: FloatArray,
    label: str,
    heads: Mapping[str, FloatArray],
    config: FusionConfig,
) -> Choice:
    """A head on the words of posts, cross-fitted, pulled to what the tower's own head says of them.

    Args:
        posts: Posts that the text tower did not see.
        features: Of their words, `[n, width]`.
        label: Which gold label it learns, `label` or `text_label`.
        heads: The tower's.
        config: The recipe.
    """
    folds = np.array([fold_of(f"joint/{text_key(post.sample.text or '')}", CROSS_FITS) for post in posts])
    start = LinearHead.of(heads, "text.sentiment")
    return choose_head(features, gold_labels(posts, label), folds, len(LABELS), config.penalties, start)


@dataclass(frozen=True, slots=True, eq=False)
class _Texts:
    """Labelled texts of dev parts, which chose nothing, each encoded once."""

    rows: Sequence[TextRow]
    sources: Sequence[str]
    features: Features

    @classmethod
    def read(cls, data: Path, encoder: Encoder, most: int) -> _Texts:
        dev = [(source, row) for source, rows in dev_rows(data).items() for row in rows[:most]]
        rows, sources = [row for _, row in dev], [source for source, _ in dev]
        # These rows are judged on tasks that read no picture.
        return cls(rows, sources, encode_posts(encoder, [replace(row.sample, image=None) for row in rows]))

    @property
    def named(self) -> Features:
        """Of the texts that name a target: they are read with it, so they lie where no other text does."""
        return self.features.take(np.flatnonzero(self.features.has_target))

    def labelled(self, label: str, keys: Callable[[str], bool]) -> tuple[IntArray, IntArray]:
        """Numbers and classes of the rows with a hard label for a task whose text is chosen, each `[n]`."""
        rows = [i for i, r in enumerate(self.rows) if isinstance(r.labels.get(label), int) and keys(r.text)]
        return np.array(rows, np.int64), np.array([self.rows[i].labels[label] for i in rows], np.int64)

    def words(self, most: int) -> _Words:
        """So many of each source's rows of sentiment; a label that readers share counts as its likeliest class."""
        taken, rows = Counter[str](), []
        for number, (row, source) in enumerate(zip(self.rows, self.sources, strict=True)):
            if "sentiment" in row.labels and taken[source] < most:
                taken[source] += 1
                rows.append(number)
        labels = [self.rows[i].labels["sentiment"] for i in rows]
        gold = np.array([label if isinstance(label, int) else int(np.argmax(label)) for label in labels], np.int64)
        return _Words(self.features.take(rows), gold, [self.rows[i].text for i in rows])


@dataclass(frozen=True, slots=True, eq=False)
class _Words:
    """Labelled words without a picture, in three parts."""

    features: Features
    gold: IntArray
    keys: Sequence[str]

    def __len__(self) -> int:
        return len(self.gold)

    def part(self, number: int) -> _Words:
        rows = [i for i, key in enumerate(self.keys) if fold_of(f"words/{key}", PARTS) == number]
        return _Words(self.features.take(rows), self.gold[rows], [self.keys[i] for i in rows])

    def pictures(self, count: int) -> IntArray:
        """Whose picture each text is put beside, one of so many posts."""
        return np.array([fold_of(f"beside/{key}", count) for key in self.keys], dtype=np.int64)

    def beside(self, posts: _Posts, linear: Mapping[str, FloatArray], number: int) -> Evidence:
        """One part of them beside pictures of posts; the words' label stands for both."""
        part = self.part(number)
        pictures = part.pictures(len(posts.records))
        features = part.features.text_features
        return Evidence(
            LinearHead.of(linear, "text.sentiment").logits(features),
            LinearHead.of(linear, "text.joint").logits(features),
            posts.image["sentiment"][pictures],
            posts.image["joint"][pictures],
            part.gold,
            joined=np.ones(len(part), dtype=bool),
        )


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


def _calibrate(posts: _Posts, held_out: TaskArrays, evidence: Evidence, head: FusionHead, texts: _Texts) -> Calibration:
    """A temperature per task, each on posts and texts its logits were not trained on."""
    logits: dict[Task, NDArray[Any]] = dict(held_out)
    gold: dict[Task, NDArray[Any]] = dict.fromkeys(held_out, evidence.labels)
    own = ~evidence.is_joined  # a picture put beside other words says nothing of their label
    logits["image_alone"], gold["image_alone"] = held_out["image_alone"][own], evidence.labels[own]
    logits["image_sentiment"], gold["image_sentiment"] = (
        posts.image["sentiment"],
        gold_labels(posts.records, "image_label"),
    )
    said = head.logits(texts.features)
    for task, label in TEXT_TASKS.items():
        rows, labels = texts.labelled(label, lambda text: fold_of(f"words/{text}", PARTS) == 0)
        if len(rows):
            logits[task], gold[task] = said[task][rows], labels
    fitted = {task: TemperatureScaling().fit(values, gold[task]) for task, values in logits.items()}
    # A task without labels keeps its logits as they are.
    return Calibration({task: fitted[task].temperature_ if task in fitted else 1.0 for task in TASKS})


def _fit_router(
    draft: Adapter,
    posts: _Posts,
    texts: _Texts,
    words: _Words,
    held_out: TaskArrays,
    encoder: Encoder,
    config: FusionConfig,
) -> Router:
    """The router of a model whose heads are calibrated, on posts, joined posts, words alone and pictures alone."""
    learn = _training(draft, posts, words.part(0), held_out)
    choose, judge = _held_out_halves(draft, encoder, posts.held, words)
    sarcastic, is_sarcastic = texts.labelled("sarcasm", half)
    facts = {
        "data": f"P(error): {len(learn)} posts and texts, out of fold; chosen on {len(choose)} others; thresholds, "
        f"sets and sample: {len(judge)} more; sarcasm: {len(sarcastic)} dev texts",
        "encoder_hash": encoder.hash,
        "budget": config.router.budget,
    }
    return fit_router(
        learn,
        choose,
        judge,
        sarcasm=_sarcasm_threshold(draft, texts.features.take(sarcastic), is_sarcastic, config.router),
        novelty=Novelty().fit(Features.concatenate([learn.features, texts.named])),
        facts=facts,
        config=config.router,
    )


def _training(draft: Adapter, posts: _Posts, words: _Words, held_out: TaskArrays) -> Judged:
    """Training posts, joined posts, words alone and pictures alone, as heads that had not seen them answer."""
    pictures = words.pictures(len(posts.records))
    said = draft.head.logits(words.features)
    unknown = np.full((len(posts.records) + len(words), len(LABELS)), np.nan, np.float32)
    logits: TaskArrays = {
        **held_out,
        "text_sentiment": np.concatenate([posts.text["sentiment"], said["text_sentiment"]]),
        "image_sentiment": posts.image["sentiment"][[*range(len(posts.records)), *pictures]],
        "target_sentiment": unknown,
        "sarcasm": np.concatenate([posts.text["sarcasm"], said["sarcasm"]]),
        "emotion": np.concatenate([posts.text["emotion"], said["emotion"]]),
    }
    features = Features.concatenate([posts.features, _beside(words.features, posts.features.take(pictures))])
    gold = np.concatenate([gold_labels(posts.records, "label"), words.gold])
    both = Judged(draft.calibration.probabilities(logits), features, gold, [*posts.keys, *words.keys])
    first = {task: values[: len(posts.records)] for task, values in both.probabilities.items()}
    looked_at = {task: values if "image" in task else np.full_like(values, np.nan) for task, values in first.items()}
    alone = posts.features.without("text")
    answers = answer_from_sides(looked_at, PresentSides.of(alone, answers_targets=False))
    seen = Judged(answers, alone, gold_labels(posts.records, "image_label"), posts.keys)
    return Judged.concatenate([both, _alone(draft, words), seen])


def judging_posts(data: Path, model: Adapter, encoder: Encoder, config: FusionConfig | None = None) -> Judged:
    """The held-out posts of `data` that a router's thresholds are fitted to, as a finished model answers them.

    Args:
        data: Folder holding the corpora.
        model: What answers.
        encoder: Its encoder.
        config: The recipe it was fitted with.
    """
    config = config or FusionConfig()
    words = _Texts.read(data, encoder, config.texts).words(config.words)
    held = [record for record in post_records(data) if record.split == "dev"]
    return _held_out_halves(model, encoder, held, words)[1]


def _held_out_halves(draft: Adapter, encoder: Encoder, held: Sequence[Record], words: _Words) -> tuple[Judged, Judged]:
    """Held-out posts to choose by, and to judge by."""
    held = [post for post in held if post.sample.text and post.sample.label and post.sample.image is not None]
    features = encode_posts(encoder, [post.sample for post in held])
    halves = np.array([half(post.sample.id or "") for post in held], dtype=bool)
    choose, judge = (
        _held_out(draft, [held[i] for i in rows], features.take(rows), words.part(part))
        for rows, part in ((np.flatnonzero(~halves), 1), (np.flatnonzero(halves), 2))
    )
    return choose, judge


def _held_out(draft: Adapter, posts: Sequence[Record], features: Features, words: _Words) -> Judged:
    """Dev posts, words beside their pictures, words alone and pictures alone, as the model answers them."""
    keys = [text_key(post.sample.text or "") for post in posts]
    joined = _beside(words.features, features.take(words.pictures(len(posts)))) if posts else words.features
    alone = features.without("text")
    return Judged.concatenate(
        [
            Judged(draft.posteriors(features), features, gold_labels(posts, "label"), keys),
            Judged(draft.posteriors(joined), joined, words.gold, words.keys, joined=np.ones(len(words), dtype=bool)),
            _alone(draft, words),
            Judged(draft.posteriors(alone), alone, gold_labels(posts, "image_label"), keys),
        ]
    )


def _alone(draft: Adapter, words: _Words) -> Judged:
    return Judged(draft.posteriors(words.features), words.features, words.gold, words.keys)


def _beside(words: Features, pictures: Features) -> Features:
    """Features of posts with the words of some and the pictures of others, row by row."""
    return replace(words, image_features=pictures.image_features, has_image=pictures.has_image)


def _sarcasm_threshold(draft: Adapter, features: Features, labels: IntArray, config: RouterConfig) -> float:
    if not len(labels):
        return float("inf")
    mocking = draft.posteriors(features)["sarcasm"][:, 1]
    return threshold_at_precision(mocking, labels.astype(bool), config.sarcasm_precision)
