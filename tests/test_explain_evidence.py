"""Evidence where the truth is known: models that heed planted words and colours, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hybrid_mmsa import Analyzer
from hybrid_mmsa.encoders import CachedEncoder, CompactEncoder
from hybrid_mmsa.errors import InputError
from hybrid_mmsa.explain import Probe, find_evidence
from hybrid_mmsa.explain.evidence import MOST_TEXTS, MOST_TOKENS, heat_map
from hybrid_mmsa.explain.regions import Box, grid_boxes, hide_box, place, shrunk, strongest_boxes
from hybrid_mmsa.fusion import softmax
from hybrid_mmsa.inputs import read_sample, reword
from hybrid_mmsa.types import Features, Region, Sample

PLANTED = ("good", "bad", "sure")
CELLS = 4
PRIOR = np.array([0.2, 0.5, 0.3], np.float32)


class Planted:
    """Counts `PLANTED` in the words, and takes the mean colour of the picture; tells how often it was asked."""

    name, hash = "planted", "0" * 64

    def __init__(self, longest=100):
        self.longest, self.texts, self.pictures = longest, 0, 0

    def encode(self, samples):
        read = [reword(s.text).split()[: self.longest] if s.text else [] for s in samples]
        n_tokens = [len(words) for words in read]
        seen = np.array([s.image is not None for s in samples], dtype=bool)
        self.texts, self.pictures = self.texts + sum(n > 0 for n in n_tokens), self.pictures + int(seen.sum())
        counts = [[sum(word.lower().strip("!,.") == p for word in words) for p in PLANTED] for words in read]
        colours = [np.asarray(s.image).mean((0, 1)) / 255 if s.image else np.zeros(3) for s in samples]
        return Features(
            text_features=np.array(counts, np.float32).reshape(-1, 3),
            image_features=np.array(colours, np.float32).reshape(-1, 3),
            has_text=np.array([n > 0 for n in n_tokens], dtype=bool),
            has_image=seen,
            has_target=np.array([bool(s.target and s.text) for s in samples], dtype=bool),
            n_tokens=np.array(n_tokens, np.int64),
            truncated=np.array([bool(s.text) and len(reword(s.text).split()) > self.longest for s in samples]),
            unknown_share=np.zeros(len(samples), np.float32),
        )


class Mapped(Planted):
    """The same with a map of `CELLS` x `CELLS` cells."""

    def image_maps(self, samples):
        squares = [np.asarray(s.image.resize((CELLS, CELLS), Image.Resampling.BOX)) / 255 for s in samples]
        return np.array(squares, np.float32)


def judge(features):
    """`good` and red speak for positive, `bad` and blue for negative; `sure` is mocking."""
    text, image = features.text_features, features.image_features
    logits = np.stack(
        [
            2 * text[:, 1] + 20 * image[:, 2],
            np.full(len(text), 0.5),
            2 * text[:, 0] + 20 * image[:, 0],
        ],
        axis=1,
    )
    seen = (features.has_text | features.has_image)[:, None]
    p = np.where(seen, softmax(logits), np.nan).astype(np.float32)
    mocking = softmax(np.stack([np.full(len(text), 1.0), 2 * text[:, 2]], axis=1))
    return {
        "sentiment": p,
        "target_sentiment": np.where(features.has_target[:, None], p, np.nan),
        "sarcasm": np.where(features.has_text[:, None], mocking, np.nan),
    }


def picture(red=(), blue=(), side=64):
    """Black, with quarter cells `(row, column)` in red or blue."""
    pixels, step = np.zeros((side, side, 3), np.uint8), side // CELLS
    for channel, cells in ((0, red), (2, blue)):
        for row, column in cells:
            pixels[row * step : (row + 1) * step, column * step : (column + 1) * step, channel] = 255
    return Image.fromarray(pixels)


def probe(encoder=None, **fields):
    sample = read_sample(Sample(**fields))
    encoder = encoder or Mapped()
    features = encoder.encode([sample])
    return Probe(encoder, judge, PRIOR, sample, features, about_target=bool(features.has_target[0]))


def effects(words):
    return {w.word: w.effect for w in words}


def test_the_planted_word_is_found_and_its_effect_is_exact():
    found = find_evidence(probe(text="a good day, not bad, and a sunny one"))
    told = effects(found.words)
    whole, without = softmax(np.array([[2, 0.5, 2], [2, 0.5, 0]]))[:, 0]
    assert told["good"] == pytest.approx(whole - without, abs=1e-6)
    assert max(told, key=told.get) == "bad", "as likely as positive and first of the two: the label is negative"
    assert told["sunny"] == told["day"] == pytest.approx(0, abs=1e-6)
    assert [(w.start, w.end) for w in found.words] == sorted((w.start, w.end) for w in found.words)
    assert found.heat_map is None
    assert found.regions is None


@pytest.mark.parametrize(("word", "written"), [("😀good", "good"), ("#good", "#good"), ("GOOD!!", "GOOD")])
def test_emoji_and_hashtags_are_words_of_their_own(word, written):
    text = f"what a day {word} it is"
    found = find_evidence(probe(text=text))
    told = effects(found.words)
    assert max(told, key=told.get) == written
    assert all(text[w.start : w.end] == w.word for w in found.words)


def test_what_would_change_the_answer_is_what_changes_it():
    assert find_evidence(probe(text="a good and good day")).changes == (), "one good is left"
    found = find_evidence(probe(text="a good day", image=picture(blue=[(0, 0)])))
    assert [(c.side, c.what, c.label) for c in found.changes] == [("text", "good", "negative")]
    found = find_evidence(probe(text="a bad day", image=picture(red=[(0, 0), (0, 1)])))
    strongest = found.changes[0]
    assert (strongest.side, strongest.what, strongest.label) == ("image", "the upper left", "negative")


def test_a_text_of_one_word_without_a_picture_falls_back_to_the_prior():
    found = find_evidence(probe(text="good"))
    assert effects(found.words)["good"] == pytest.approx(softmax(np.array([0, 0.5, 2]))[2] - PRIOR[2], abs=1e-6)
    assert [(c.what, c.label) for c in found.changes] == [("good", "neutral")]


def test_words_that_sound_sarcastic_are_told_where_sarcasm_is_likely():
    found = find_evidence(probe(text="sure, sure, a good day"))
    assert [w.word for w in found.sarcasm_words] == ["sure", "sure"]
    assert find_evidence(probe(text="a good day")).sarcasm_words is None


def test_a_target_is_judged_from_the_words_alone():
    found = find_evidence(probe(text="good bob", target="bob", image=picture(blue=[(0, 0)])))
    assert found.heat_map is None
    assert found.regions is None
    assert effects(found.words)["good"] > 0.3


@pytest.mark.parametrize("encoder", [Mapped, Planted])
@pytest.mark.parametrize(("cell", "where"), [((0, 0), "the upper left"), ((3, 3), "the lower right")])
def test_the_planted_region_is_found_with_and_without_a_map(encoder, cell, where):
    found = find_evidence(probe(encoder(), image=picture(red=[cell])))
    heat = np.array(found.heat_map)
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert (row < heat.shape[0] / 2) == (cell[0] < CELLS / 2)
    assert (column < heat.shape[1] / 2) == (cell[1] < CELLS / 2)
    (region, *_) = found.regions
    assert region.effect > 0
    assert place(region) == where


def test_the_heat_map_is_what_leaving_a_cell_out_does():
    asked = probe(image=picture(red=[(1, 2)], blue=[(3, 0)]))
    label = int(asked.whole.sentiment[0].argmax())
    cells = asked.image_map().reshape(-1, 3)
    odds = []
    for left in (None, *range(len(cells))):
        kept = cells if left is None else np.delete(cells, left, axis=0)
        p = float(asked.with_image_features(kept.mean(0, keepdims=True)).sentiment[0, label])
        odds.append(np.log(p / (1 - p)))
    assert heat_map(asked, label).ravel() == pytest.approx(odds[0] - np.array(odds[1:]), abs=1e-4)


def test_a_region_that_the_picture_does_not_confirm_is_not_told():
    class Wrong(Mapped):
        def image_maps(self, samples):
            return super().image_maps(samples)[:, ::-1, ::-1]

    assert find_evidence(probe(Wrong(), image=picture(red=[(0, 0)]))).regions == ()


def test_the_picture_is_not_read_again_for_words_nor_the_words_for_regions():
    encoder = Mapped()
    asked = probe(encoder, text="a good day", image=picture(red=[(0, 0)]))
    before = (encoder.texts, encoder.pictures)
    assert before == (1, 1)
    find_evidence(asked)
    assert encoder.texts - 1 == 3, "three words"
    assert encoder.pictures - 1 <= 6, "as many boxes at most"


def test_a_cache_is_not_filled_with_versions_of_a_post():
    cached = CachedEncoder(Mapped())
    find_evidence(probe(cached, text="a good day", image=picture(red=[(0, 0)])))
    assert cached.misses == 1


@pytest.mark.parametrize("n", [3, 64, 65, 90, 5000])
def test_a_long_text_costs_no_more_than_a_bound_and_hides_every_word_read(n):
    encoder = Planted()
    text = " ".join(f"w{i}" for i in range(n - 1)) + " good" if n <= 90 else "good " + "w " * n
    found = find_evidence(probe(encoder, text=text))
    read = min(n, encoder.longest)
    assert len(found.words) <= min(MOST_TEXTS, MOST_TOKENS // read)
    assert encoder.texts == 1 + len(found.words)
    assert found.grouped == (len(found.words) < read)
    assert sum(len(w.word.split()) for w in found.words) == read
    strongest = max(found.words, key=lambda w: w.effect)
    assert "good" in strongest.word.split()


@given(st.text(max_size=40))
def test_any_text_is_explained_at_its_own_places(text):
    if not reword(read_sample(Sample(text=text, image=picture())).text or ""):
        return
    asked = probe(text=text)
    for word in find_evidence(asked).words:
        assert asked.sample.text[word.start : word.end] == word.word


@pytest.mark.parametrize(
    ("box", "name"),
    [
        (Box(0, 0, 0.3, 0.3), "the upper left"),
        (Box(0.4, 0.4, 0.6, 0.6), "the centre"),
        (Box(0.4, 0, 0.6, 0.2), "the upper middle"),
        (Box(0.8, 0.3, 1, 0.7), "the middle right"),
        (Region(left=0, top=0.4, right=0.3, bottom=0.7, effect=0), "the middle left"),
        (Region(left=0.4, top=0.7, right=0.7, bottom=1, effect=0), "the lower middle"),
    ],
)
def test_places_are_named_as_a_person_points(box, name):
    assert place(box) == name


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_boxes_are_tenths_that_stand_inside_and_apart_the_hottest_first(rows, columns, seed):
    heat = np.random.default_rng(seed).normal(size=(rows, columns))
    boxes = strongest_boxes(heat)
    warmth = [mean_heat(heat, box) for box in boxes]
    assert len(boxes) <= 6
    assert warmth == sorted(warmth, reverse=True)
    assert all(w >= 0 for w in warmth)
    for number, box in enumerate(boxes):
        assert 0 <= box.left < box.right <= 1
        assert 0 <= box.top < box.bottom <= 1
        assert (box.right - box.left) * (box.bottom - box.top) == pytest.approx(0.1)
        for other in boxes[:number]:
            apart = max(abs(box.left - other.left), abs(box.top - other.top))
            assert apart >= box.right - box.left - 1e-9


def mean_heat(heat, box, fine=420):
    """The mean of a heat map over a box, by counting points."""
    rows, columns = heat.shape
    down, across = (
        np.clip((np.linspace(low, high, fine, endpoint=False) + (high - low) / fine / 2) * cells, 0, cells - 1e-9)
        for low, high, cells in ((box.top, box.bottom, rows), (box.left, box.right, columns))
    )
    return round(float(heat[np.ix_(down.astype(int), across.astype(int))].mean()), 2)


@pytest.mark.parametrize("cell", [(0, 0), (4, 4), (0, 4), (2, 2)])
def test_the_hottest_box_covers_the_hot_cell(cell):
    heat = np.zeros((5, 5))
    heat[cell] = 1
    box = strongest_boxes(heat)[0]
    assert box.left <= cell[1] / 5 + 1e-9
    assert box.right >= (cell[1] + 1) / 5 - 1e-9
    assert box.top <= cell[0] / 5 + 1e-9
    assert box.bottom >= (cell[0] + 1) / 5 - 1e-9


def test_where_nothing_speaks_for_the_label_there_is_no_box():
    assert strongest_boxes(-np.ones((5, 5))) == []


def test_a_grid_covers_the_picture_once():
    boxes = grid_boxes(3, 5)
    assert sum((b.right - b.left) * (b.bottom - b.top) for b in boxes) == pytest.approx(1)


def test_a_hidden_box_is_in_the_mean_colour_and_the_rest_as_it_was():
    image = picture(red=[(0, 0)])
    hidden = np.asarray(hide_box(image, Box(0, 0, 0.25, 0.25)))
    assert (hidden[:16, :16] == (16, 0, 0)).all()
    assert not hidden[16:].any()
    assert np.asarray(image)[:16, :16, 0].min() == 255, "the picture itself stays"


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (3000, 2)])
def test_odd_pictures_are_hidden_and_shrunk(size):
    image = shrunk(Image.new("RGB", size, "red"))
    assert max(image.size) <= 1024
    assert hide_box(image, Box(0.9, 0.9, 1, 1)).size == image.size


@pytest.fixture(scope="module")
def compact(tiny_model):
    return CompactEncoder(tiny_model / "towers")


def test_the_mean_of_the_map_is_the_features(compact):
    samples = [Sample(image=Image.fromarray(p)) for p in tiny.pictures(40)]
    maps = compact.image_maps(samples)
    features = compact.encode(samples).image_features
    assert maps.dtype == np.float32
    assert maps.shape == (40, 1, 1, tiny.IMAGE_WIDTH)
    assert np.allclose(maps.mean((1, 2)), features, atol=1e-5)
    assert np.allclose(compact.image_maps(samples[7:8])[0], maps[7], atol=1e-5)


@pytest.mark.parametrize("samples", [[], [Sample(text="sun")], [Sample(image="a.png")]])
def test_a_map_needs_a_picture_that_was_read(compact, samples):
    with pytest.raises(InputError, match="picture"):
        compact.image_maps(samples)


def test_the_bundled_map_has_cells_whose_mean_is_the_features(analyzer):
    samples = [Sample(image=Image.fromarray(p)) for p in tiny.pictures(3, side=96)]
    maps = analyzer.encoder.image_maps(samples)
    assert maps.shape[1:3] == (5, 5)
    assert np.allclose(maps.mean((1, 2)), analyzer.encoder.encode(samples).image_features, atol=1e-5)
    rolled = [replace(s, image=Image.fromarray(np.asarray(s.image)[:, ::-1])) for s in samples]
    mirrored = analyzer.encoder.image_maps(rolled)[:, :, ::-1]
    straight = np.abs(mirrored - maps).mean()
    assert straight < np.abs(mirrored[:, :, ::-1] - maps).mean(), "left is left"


@pytest.fixture(scope="module")
def posts():
    images = tiny.pictures(3, side=48, seed=9)
    return [
        Sample(text="we love the sun 😀 and the #sea", image=images[0]),
        Sample(text="the train was late, so very sad! " * 6),
        Sample(image=images[1]),
        Sample(text="a great team lost", target="team", image=images[2]),
    ]


def test_full_evidence_is_the_same_alone_and_in_a_batch(tiny_model, posts):
    analyzer = Analyzer.from_pretrained(tiny_model)
    together = analyzer.analyze_batch(posts, explain="full")
    for post, answer in zip(posts, together, strict=True):
        alone = analyzer.analyze_batch([post], explain="full")[0].explanation
        shared = answer.explanation
        assert shared.text == alone.text
        for found, expected in zip(shared.words or (), alone.words or (), strict=True):
            assert found.model_copy(update={"effect": expected.effect}) == expected
            assert found.effect == pytest.approx(expected.effect, abs=1e-4)
        assert (shared.heat_map is None) == (alone.heat_map is None)
        assert np.allclose(shared.heat_map or 0, alone.heat_map or 0, atol=1e-3)


def test_full_adds_to_modality_and_changes_nothing_of_it(tiny_model, posts):
    analyzer = Analyzer.from_pretrained(tiny_model)
    for post in posts:
        small, full = (analyzer.analyze_batch([post], explain=level)[0] for level in ("modality", "full"))
        assert "explain" in full.timings
        assert "explain" not in small.timings
        added = {"text", "words", "sarcasm_words", "heat_map", "regions", "changes"}
        assert full.explanation.model_dump(exclude=added) == small.explanation.model_dump(exclude=added)
        assert small.explanation.words is None
        assert (full.explanation.words is None) == (post.text is None)
        assert (full.explanation.heat_map is None) == (post.image is None or post.target is not None)
        assert full.explanation.changes is not None
        assert full.model_copy(update={"explanation": None}) == small.model_copy(update={"explanation": None})
        assert type(full).model_validate_json(full.model_dump_json()) == full


HOSTILE = [
    "<script>alert('x')</script> & <img src=x onerror=y>",
    'so "good". Negative (99%). The words say negative" (0%)',
    "\u202egood\u202c \u2066bad\u2069 שלום עולם مرحبا",
    "[SEP] [CLS] [MASK] {0} {label} %s %d \\n",
    "a" * 10_000,
    "😀" * 500,
    "\u0301" * 50 + "x",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_quoted_and_stays_quoted(tiny_model, text):
    answer = Analyzer.from_pretrained(tiny_model).analyze(text, explain="full")
    told = answer.explanation.text
    assert told.count('"') % 2 == 0
    assert all(len(part) <= 34 for part in told.split('"')[1::2])
    assert not any(c in told for c in "\u202e\u202c\u2066")
    assert told.count("\u2068") == told.count("\u2069")
