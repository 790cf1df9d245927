"""`train vlm`: a language model's folder, a picture tower, posts and photos → the folder of a model that sees.

Stages, each in the run's folder and each skipped when it is there: `joined` (the two with a random projector) →
`pictures` (what the tower sees, once for all) → `projector` (the training, which a killed run goes on with).
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from ...adapters import MANIFEST
from ...artefacts import PROJECTOR
from ...data import PHOTOS, Photo, load_photos
from ...errors import InputError
from ...reasoning import ReasonerConfig, load_prompt
from ...reasoning.backends.transformers.adapters import Adapters
from ...reasoning.backends.transformers.loading import Vlm, open_vlm
from ...reasoning.models.llava import Tower, join, open_tower, read_projector, write_projector
from ...reasoning.models.own import own_config, write_config
from ...reasoning.models.store import weight_hashes
from ...reasoning.prompt.question import Prompt
from ...types import LoraRef, Sample
from ..common.loop import LoopConfig, claim, train
from ..common.provenance import made_now
from ..lora.recipe import TuningRecipe
from ..lora.start import bundled_lora, find_lora
from ..lora.trainer import quietly
from ..lora.tune import Counting
from ..lora.turns import Turn, plan_course
from ..posts.labelled_file import LabelledFile, part_posts
from ..space.photos import apart, find_twins, held_out
from .lessons import Captions, Lesson, Posts, labelled_pictures
from .projector import Seeing, measured
from .tokens import read_tokens

__all__ = ["VlmConfig", "VlmSources", "train_vlm", "used_with"]


@dataclass(frozen=True, slots=True)
class VlmConfig:
    """How a projector is trained.

    Attributes:
        loop: Rate and checkpoints; `epochs` is not read, the number of steps decides.
        steps: Updates.
        batch_size: Rows of a step.
        captions: Share of the steps that teach captions, where there are photos.
        balance: 0: labels come as often as they are found; 1: equally often.
        held_out: About how many posts, and photos, judge and are not learnt from.
        prompt: What is asked with: a bundled prompt's name, or a file; empty: the one the language model was made for.
    """

    loop: LoopConfig = field(
        default=LoopConfig(epochs=1, learning_rate=1e-3, weight_decay=0.0, warmup=0.05, checkpoint_every=25)
    )
    steps: int = 400
    batch_size: int = 32
    captions: float = 0.25
    balance: float = 1.0
    held_out: int = 400
    prompt: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be trained with."""
        if not 0 <= self.captions < 1:  # the projector learns from labels as well
            raise InputError(f"found {self.captions}; wanted a share from 0 to less than 1", field="captions")


@dataclass(frozen=True, slots=True, eq=False)
class VlmSources:
    """What a model is made of and learns from.

    Attributes:
        language: A language model's folder.
        tower: A picture tower, see `open_tower`.
        posts: Labelled posts, some of which have pictures.
        data: Holds `photos/`, captioned; `None` without.
        lora: A LoRA of the language model that answers while the projector learns: a folder, or a bundled adapter's
            name, which the model's folder then names.
    """

    language: Path
    tower: Path
    posts: LabelledFile
    data: Path | None = None
    lora: str | None = None


def train_vlm(
    sources: VlmSources,
    out: Path,
    runs: Path,
    config: VlmConfig | None = None,
    *,
    counting: Counting = lambda *_: nullcontext(lambda: None),
) -> dict[str, Any]:
    """Make the model, and measure it on what was held out.

    Args:
        sources: What it is made of and learns from.
        out: The model's folder.
        runs: Folder for the stages; a killed run goes on where it stopped.
        config: The recipe.
        counting: Shows how far the reading of pictures has come.

    Returns:
        The record, which lies in `runs` as `record.json`: figures, loss curve, what it was made of.

    Raises:
        InputError: No post has a picture, or a run of another recipe lies in the folder.
        ArtefactError: A model that cannot be opened, or a LoRA that does not fit.
    """
    config = config or VlmConfig()
    matter = _gathered(sources, config)
    with quietly():
        tower = open_tower(sources.tower)
        opened = _joined(sources, tower, runs / "joined", config)
        vlm = open_vlm(opened)
        _with_lora(vlm, sources.lora)
    if vlm.model.device.type == "cpu":
        vlm.model.set_attn_implementation("eager")  # twice as fast there and back as a fused kernel, for short rows
    prompt = load_prompt(opened.prompt)
    if prompt.shows_pictures:
        raise InputError(f"{opened.prompt} shows pictures, which a model's folder does not carry", field="prompt")
    with counting("pictures", len(matter.pictures), 0) as advance:
        tokens = read_tokens(tower, matter.pictures, runs / "pictures", advance)
    facts = {
        **made_now(),
        "recipe": asdict(config),
        "posts_sha256": sources.posts.sha256,
        "rows": len(matter.train.posts),
        "photos": len(matter.train.photos),
        "prompt": prompt.id,
        "tower": tower.hash,
        "lora": sources.lora and Path(sources.lora).name,
        "lora_weights": sources.lora and weight_hashes(find_lora(sources.lora)),
    }
    seeing = Seeing(vlm, tokens)
    _learn(seeing, matter.train.lessons(vlm, prompt), config, runs / "projector", facts)
    posts, captions = matter.held.lessons(vlm, prompt)
    record = json.loads((runs / "projector" / "record.json").read_text(encoding="utf-8"))
    record["held_out"] = measured(seeing, posts, _told(captions, config), config.batch_size)
    write_projector(seeing.weights(), tower, runs / PROJECTOR)
    _save(sources, tower, runs / PROJECTOR, opened, out)
    (runs / "record.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return dict(record)


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Posts with pictures and photos, each with its picture's number."""

    posts: list[Sample]
    photos: list[Photo]
    numbers: dict[int, int]

    def lessons(self, vlm: Vlm, prompt: Prompt) -> tuple[Posts, Captions]:
        """What they teach."""
        posts = Posts(vlm, prompt, self.posts, [self.numbers[id(post.image)] for post in self.posts])
        return posts, Captions(vlm, self.photos, [self.numbers[id(photo.image)] for photo in self.photos])


@dataclass(frozen=True, slots=True, eq=False)
class _Matter:
    """What is learnt from and what judges, and all pictures of both."""

    train: _Part
    held: _Part
    pictures: list[Any]


def _gathered(sources: VlmSources, config: VlmConfig) -> _Matter:
    """Posts and photos in two parts; twins stay together."""
    samples = sources.posts.samples
    parts = part_posts(sources.posts, calibration=False, most=config.held_out, seed=config.loop.seed)
    posts = [labelled_pictures([samples[row] for row in rows]) for rows in (parts.train, parts.test)]
    if not all(posts):
        raise InputError("found no post with a picture and a label, or too few to hold some out", field="posts")
    photos: list[list[Photo]] = [[], []]
    if sources.data is not None:
        captioned = [photo for photo in load_photos(sources.data / PHOTOS) if not photo.named]
        judged = held_out(captioned, min(config.held_out, len(captioned) // 3))
        photos = [apart(captioned, judged, find_twins(captioned)), judged]
    images: list[Any] = [post.image for part in posts for post in part]
    images += [photo.image for part in photos for photo in part]
    places: dict[str, int] = {}
    numbers = {id(image): places.setdefault(_name(image), len(places)) for image in images}
    first = {numbers[id(image)]: image for image in reversed(images)}
    train, held = (_Part(*each, numbers) for each in zip(posts, photos, strict=True))
    return _Matter(train, held, [first[number] for number in range(len(places))])


def _name(image: Any) -> str:
    """What tells a picture apart: its path, or that it is this very object."""
    return str(image) if isinstance(image, str | Path) else f"in memory {id(image)}"


def _joined(sources: VlmSources, tower: Tower, folder: Path, config: VlmConfig) -> ReasonerConfig:
    """Language model and tower as one model, and how it is opened to be trained."""
    own = own_config(sources.language) or ReasonerConfig(backend="transformers", model=str(sources.language))
    prompt = config.prompt or str(own.prompt)
    claim(folder, {"language model": weight_hashes(sources.language), "tower": tower.hash, "prompt": prompt})
    if not (folder / "config.json").is_file():
        draft = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(draft, ignore_errors=True)
        join(sources.language, tower).save(draft)
        for file in sorted(draft.iterdir(), key=lambda file: file.name == "config.json"):  # which says it is whole
            file.rename(folder / file.name)
        draft.rmdir()
    return own.model_copy(update={"model": str(folder), "prompt": prompt, "lora": None, "dtype": "float32"})


def _with_lora(vlm: Vlm, lora: str | None) -> None:
    if lora is not None:
        Adapters.of(vlm).merge(LoraRef(name=Path(lora).name, path=find_lora(lora)))


def _learn(
    seeing: Seeing, lessons: tuple[Posts, Captions], config: VlmConfig, folder: Path, facts: dict[str, Any]
) -> None:
    """Train the projector, or read it where it was trained."""
    named = ("recipe", "posts_sha256", "prompt", "tower", "lora", "lora_weights", "photos")
    claim(folder, {name: facts[name] for name in named})
    weights = folder / PROJECTOR
    if weights.is_file():
        seeing.projector.load_state_dict(load_file(weights))
        return
    posts, captions = lessons
    seeing.begin(config.loop.seed)
    told = int(config.steps * config.captions) if captions.photos else 0
    course = _course(posts, config, config.steps - told)
    chance = random.Random(config.loop.seed)
    rounds = _rounds(len(captions.photos), config.batch_size, chance)
    steps: list[Any] = [next(rounds) for _ in range(told)] + course
    order = sorted(range(len(steps)), key=lambda n: n / told if n < told else (n - told) / len(course))

    def loss(_: nn.Module, step: Any) -> torch.Tensor:
        lesson = posts.lesson(step) if isinstance(step[0], Turn) else captions.lesson(step)
        return seeing.loss(lesson)

    train(seeing.projector, [[steps[n] for n in order]], loss, config.loop, folder, record=facts)
    save_file(seeing.projector.state_dict(), weights)


def _course(posts: Posts, config: VlmConfig, steps: int) -> list[tuple[Turn, ...]]:
    size = config.batch_size
    recipe = TuningRecipe(
        epochs=steps * size / len(posts.samples),
        batch_size=size,
        micro_batch=size,
        reasons=0.0,
        balance=config.balance,
        seed=config.loop.seed,
    )
    return list(plan_course(posts.samples, recipe).batches)


def _rounds(count: int, size: int, chance: random.Random) -> Iterator[list[tuple[int, int]]]:
    """Photos' numbers in shuffled rounds without end, some at a time; with each a number that chooses its caption."""
    waiting: list[int] = []
    while True:
        while len(waiting) < size:
            waiting += chance.sample(range(count), count)
        yield [(row, chance.getrandbits(31)) for row in waiting[:size]]
        del waiting[:size]


def _told(captions: Captions, config: VlmConfig) -> Iterator[Lesson]:
    """The first caption of every photo, some at a time."""
    count = len(captions.photos)
    for start in range(0, count, config.batch_size):
        yield captions.lesson([(row, 0) for row in range(start, min(start + config.batch_size, count))])


def _save(sources: VlmSources, tower: Tower, projector: Path, opened: ReasonerConfig, out: Path) -> None:
    """The model's folder; it is opened as the language model was, and asked, with a bundled LoRA, as it was trained."""
    with quietly():
        llava = join(sources.language, tower)
        read_projector(llava, tower, projector)
        llava.save(out)
    shutil.copyfile(projector, out / PROJECTOR)
    own = own_config(sources.language) or ReasonerConfig(backend="transformers", model=".")
    lora = own.lora if sources.lora is None else bundled_lora(sources.lora)
    write_config(out, own.model_copy(update={"model": ".", "id": out.name, "prompt": opened.prompt, "lora": lora}))


def used_with(sources: VlmSources, out: Path) -> str:
    """The options that ask a trained model with the LoRA that it was trained beside: its folder names no path.

    Args:
        sources: What it was made of.
        out: Its folder.
    """
    if sources.lora is None or bundled_lora(sources.lora) is not None:
        return f"--reasoner {out}"
    lora = find_lora(sources.lora)
    if (lora.parent / MANIFEST).is_file():
        return f"--reasoner {out} --adapter {lora.parent}"
    return f"--reasoner {out}, and --adapter with an adapter that holds the LoRA in {lora}"
