"""`train align`: one space for words and pictures, on an encoder that is left as it is, and what it finds.

Recipes are chosen on parts of the training photos; the photos held out choose nothing. Knows the photos by their
words; knows nothing of how an encoder is made, or of how maps are fitted.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from ...data import PHOTOS, Photo, load_photos
from ...encoders import Encoder, extract_features
from ...fusion import Space
from ...inputs import DRAFT_PIXELS, read_image
from ...types import Features, FloatArray, IntArray, Sample
from ..common.provenance import made_now
from ..posts.rows import post_records
from .contrastive import ContrastConfig, Pairs, fit_maps
from .photos import Twins, apart, find_twins, held_out, ids_hash
from .retrieval import FIRST, ranks, summary

__all__ = ["AlignConfig", "count_photos", "fit_space", "train_align"]


@dataclass(frozen=True, slots=True)
class AlignConfig:
    """How a space is fitted and judged.

    Attributes:
        contrast: The recipe; what stands in `shrinkages`, `widths` and `epochs` is chosen.
        shrinkages, widths, epochs: Values of `ContrastConfig` to choose from.
        views: Of each picture: as it is, mirrored, and cut at random.
        held_out: Captioned photos to judge by.
        draws: Parts of the training photos, each as large as the held-out part, that the choice is made on.
        of_a_name: Photos that have a class name alone are learned from as well, so many of each name at most: many
            with one name say little, and crowd out what captions say.
        posts: Learn also from the training posts of MVSA-Single and one's own.
        seed: Of views, order and dropout.
    """

    contrast: ContrastConfig = field(default_factory=ContrastConfig)
    shrinkages: tuple[float, ...] = (1.0, 3.0)
    widths: tuple[int, ...] = (64, 128)
    epochs: tuple[int, ...] = (0, 10, 20, 30)
    views: int = 4
    held_out: int = 200
    draws: int = 3
    of_a_name: int = 4
    posts: bool = False
    seed: int = 0

    @property
    def candidates(self) -> list[ContrastConfig]:
        """Every recipe there is to choose from."""
        sets = product(self.shrinkages, self.widths, self.epochs)
        return [replace(self.contrast, shrinkage=s, width=w, epochs=e) for s, w, e in sets]


def train_align(
    data: Path,
    encoder: Encoder,
    *,
    config: AlignConfig | None = None,
    kept: Path | None = None,
    advance: Callable[[], None] = lambda: None,
) -> Space:
    """Fit a space on the captioned photos of a data folder and measure it on those held out.

    Args:
        data: Holds `photos/` (see `data.photos`); with `AlignConfig.posts` also posts, of which only those for
            training are read.
        encoder: Its features are mapped.
        config: The recipe.
        kept: Where features are kept between runs.
        advance: Called after every picture and sentence.

    Raises:
        InputError: Too few captioned photos.
    """
    config = config or AlignConfig()
    photos = _photos(data, config)
    judged, twins = held_out(photos, config.held_out), find_twins(photos)
    learned = apart(photos, judged, twins)

    def extracted(samples: Iterator[Sample]) -> Features:
        return extract_features(encoder, samples, kept, advance=advance)

    pairs = _pairs(learned, extracted, config)
    chosen, table = _choose(pairs, learned, twins, config)
    arrays = fit_maps(pairs, [chosen], config.seed)[0]
    words = extracted(Sample(text=photo.captions[0]) for photo in judged)
    pictures = extracted(Sample(image=photo.image) for photo in judged)
    facts = {
        **made_now(),
        "encoder": encoder.name,
        "encoder_hash": encoder.hash,
        "photos": len(learned),
        "captions": sum(len(p.captions) for p in learned),
        "left_out_as_twins": len(photos) - len(judged) - len(learned),
        "held_out": {"photos": len(judged), "ids_sha256": ids_hash(judged)},
        "recipe": asdict(config) | {"contrast": asdict(chosen)},
        "chosen_on": {"draws": config.draws, "mean_recall": table},
    }
    return fit_space(arrays, words, pictures, facts)


def fit_space(arrays: dict[str, FloatArray], words: Features, pictures: Features, facts: dict[str, Any]) -> Space:
    """The space of some maps as it will be stored, with what it finds among held-out pairs.

    Args:
        arrays: See `Space`.
        words: Features of a sentence of each held-out pair.
        pictures: Features of the picture of each, in the same order.
        facts: What else to write down.
    """
    stored = {name: a.astype(np.float16).astype(np.float32) for name, a in arrays.items()}
    unknown = {"chance": 1.0, "words_to_picture": 0.0, "picture_to_words": 0.0}
    sides = Space(stored, {"found": unknown})
    recall = summary(sides.sides(words)[0], sides.sides(pictures)[1])
    first = f"r@{FIRST[-1]}"
    shares = {"chance": recall["chance"][first]}
    shares |= {way: recall[way][first][0] for way in ("words_to_picture", "picture_to_words")}
    return Space(stored, facts | {"found": shares, "recall": recall})


def count_photos(data: Path, config: AlignConfig) -> int:
    """Views and sentences there are to encode at the most."""
    return sum(config.views + len(p.captions) for p in _photos(data, config)) + config.held_out


def _photos(data: Path, config: AlignConfig) -> list[Photo]:
    photos, named = [], Counter[str]()
    for photo in load_photos(data / PHOTOS):
        named[photo.captions[0]] += photo.named
        if not photo.named or named[photo.captions[0]] <= config.of_a_name:
            photos.append(photo)
    if config.posts:
        posts = [r.sample for r in post_records(data) if r.split == "train"]
        pairs = [(s.id, s.image, s.text) for s in posts if s.text and s.image is not None]
        # Their words are no description: like a class name, they are nothing to judge by.
        photos += [Photo(f"posts/{i}", Path(str(image)), (text,), named=True) for i, image, text in pairs]
    return photos


def _pairs(photos: Sequence[Photo], extracted: Callable[[Iterator[Sample]], Features], config: AlignConfig) -> Pairs:
    words = extracted(Sample(text=caption) for photo in photos for caption in photo.captions)
    pictures = extracted(view for photo in photos for view in _views(photo, config.views, config.seed))
    owner = [number for number, photo in enumerate(photos) for _ in photo.captions]
    groups: dict[str, int] = {}
    shared = [photo.captions[0] if photo.named else photo.id for photo in photos]
    return Pairs(
        pictures.image_features.reshape(len(photos), config.views, -1),
        words.text_features,
        np.array(owner, dtype=np.int64),
        np.array([groups.setdefault(key, len(groups)) for key in shared], dtype=np.int64),
    )


def _views(photo: Photo, n: int, seed: int) -> Iterator[Sample]:
    """A picture as it is, mirrored, and cut to 60-100 % of each axis; the same views at every call."""
    picture = read_image(photo.image, draft=DRAFT_PIXELS)
    digest = hashlib.sha256(f"{seed}/{photo.id}".encode()).digest()
    chance = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    for number in range(n):
        view = picture if number == 0 else ImageOps.mirror(picture) if number == 1 else _cut(picture, chance)
        yield Sample(image=view)


def _cut(picture: Image.Image, chance: np.random.Generator) -> Image.Image:
    size = np.array(picture.size)
    kept = np.maximum(size * chance.uniform(0.6, 1, 2), 1)
    left, top = (size - kept) * chance.uniform(0, 1, 2)
    part = picture.crop((int(left), int(top), int(left + kept[0]), int(top + kept[1])))
    return ImageOps.mirror(part) if chance.random() < 0.5 else part


def _choose(
    pairs: Pairs, photos: Sequence[Photo], twins: Twins, config: AlignConfig
) -> tuple[ContrastConfig, list[dict[str, Any]]]:
    """The recipe with the best mean recall over `FIRST`, both ways and all draws; and the table of all."""
    candidates = config.candidates
    if len(candidates) == 1:
        return candidates[0], []
    row_of = {photo.id: row for row, photo in enumerate(photos)}
    drawn: list[list[Photo]] = []
    rest = list(photos)
    for _ in range(config.draws):
        drawn.append(held_out(rest, config.held_out))
        taken = {photo.id for photo in drawn[-1]}
        rest = [photo for photo in rest if photo.id not in taken]
    scores = np.zeros((config.draws, len(candidates)))
    for draw, part in enumerate(drawn):
        judged = pairs.take(_rows(part, row_of))
        learned = pairs.take(_rows(apart(photos, part, twins), row_of))
        scores[draw] = [_score(arrays, judged) for arrays in fit_maps(learned, candidates, config.seed)]
    means = scores.mean(0)
    table = [
        {"shrinkage": c.shrinkage, "width": c.width, "epochs": c.epochs, "score": round(float(mean), 4)}
        for c, mean in zip(candidates, means, strict=True)
    ]
    return candidates[int(means.argmax())], table


def _rows(photos: Sequence[Photo], row_of: dict[str, int]) -> IntArray:
    return np.array([row_of[photo.id] for photo in photos], dtype=np.int64)


def _score(arrays: dict[str, FloatArray], judged: Pairs) -> float:
    """Mean recall over `FIRST` and both ways, each picture with its first sentence."""
    first = np.unique(judged.owner, return_index=True)[1]
    sides = []
    for side, x in (("text", judged.words[first]), ("image", judged.pictures[:, 0])):
        vectors = x @ arrays[f"{side}.weight"].T + arrays[f"{side}.bias"]
        sides.append(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    places = [ranks(sides[0], sides[1]), ranks(sides[1], sides[0])]
    return float(np.mean([(place < k).mean() for place in places for k in FIRST]))
