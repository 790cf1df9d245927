"""Words left out without reading the text again: what is kept of a reading, and what is estimated from it."""

import shutil
from dataclasses import replace

import numpy as np
import onnx
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from test_explain_evidence import PRIOR, Mapped, judge, picture

from hybrid_mmsa import Analyzer
from hybrid_mmsa.artefacts import read_arrays
from hybrid_mmsa.cli import run
from hybrid_mmsa.encoders import CachedEncoder, CompactEncoder, MappedEncoder, PostMap, checked_encoder, left_out
from hybrid_mmsa.encoders.compact import LEFT_OUT, WEIGHTS
from hybrid_mmsa.encoders.left_out import DEPTHS, LeftOut, LeftOutFile, TokenStates, gone_from, missing, parts_of
from hybrid_mmsa.errors import ArtefactError, EncoderError, InputError
from hybrid_mmsa.explain import Probe, find_evidence
from hybrid_mmsa.explain.evidence import MOST_READ, hidden_words
from hybrid_mmsa.explain.telling import LEAST_EFFECT
from hybrid_mmsa.inputs import read_sample
from hybrid_mmsa.onnx.session import open_session
from hybrid_mmsa.onnx.weights import Shown, graph_alone
from hybrid_mmsa.training.towers import left_out as training
from hybrid_mmsa.training.towers.left_out import LeftOutConfig, Words, fit_left_out, observe
from hybrid_mmsa.types import Sample

SAME = 1e-5
TEXT = "the sun is great and the queue was awful"


@pytest.fixture(scope="module")
def encoder(tiny_model):
    return CompactEncoder(tiny_model / "towers")


@given(st.lists(st.integers(0, 3), max_size=12), st.integers(0, 12), st.integers(0, 5))
def test_what_is_missing_explains_the_shortened_text(whole, start, length):
    part = whole[:start] + whole[start + length :]
    gone = missing(whole, part)
    assert len(gone) == len(whole) - len(part)
    assert whole[: gone.start] + whole[gone.stop :] == part


def test_a_text_that_was_not_shortened_misses_nothing():
    assert not missing([4, 5], [4, 5])
    assert missing([4, 5], []) == range(2)


def test_tokens_are_missed_in_every_window_that_holds_them():
    places = np.array([-1, 0, 1, 2, -1, -1, 2, 3, -1])
    text = TokenStates([7, 8, 9, 10], places, np.zeros((9, len(DEPTHS), 2), np.float32))
    (gone,) = gone_from(text, [[7, 8, 10]])
    assert gone.tolist() == (places == 2).tolist()


def test_the_network_reads_means_of_what_goes_and_of_what_stays():
    states = np.random.default_rng(0).normal(size=(5, len(DEPTHS), 4)).astype(np.float32)
    gone = np.array([[False, True, True, False, False]])
    expected = np.concatenate([states[1:3].mean(0).ravel(), states[[0, 3, 4]].mean(0).ravel()])
    assert np.allclose(parts_of(states, gone)[0], expected, atol=SAME)


@pytest.mark.parametrize("name", ["tiny", "bundled"])
def test_showing_states_changes_no_feature(name, tiny_model):
    path = (tiny_model / "towers" if name == "tiny" else WEIGHTS) / "text.onnx"
    rng = np.random.default_rng(0)
    words = {"ids": rng.integers(5, 50, (3, 12)), "mask": np.array([[1] * 12, [1] * 7 + [0] * 5, [1] * 4 + [0] * 8])}
    plain, shown = open_session(path, 1), open_session(path, 1, Shown("LayerNormalization", DEPTHS))
    features, *states = shown.run(shown.outputs, words)
    assert np.array_equal(features, plain.run(["features"], words)[0])
    assert plain.outputs == ("features",)
    assert len(states) == len(DEPTHS)
    real = words["mask"][..., None]
    assert np.allclose((states[-1] * real).sum(1) / real.sum(1), features, atol=1e-4), "features are the mean"
    graph = onnx.load_from_string(graph_alone(path, Shown("LayerNormalization", DEPTHS))).graph
    norms = [node.output[0] for node in graph.node if node.op_type == "LayerNormalization"]
    assert [output.name for output in graph.output[1:]] == [norms[0], norms[len(norms) // 2], norms[-1]]


def test_a_model_of_another_make_opens_and_shows_nothing():
    """Such as a tower of one's own, of which every word is left out in earnest."""
    path = WEIGHTS / "image.onnx"
    assert open_session(path, 1, Shown("NoSuchOperator", DEPTHS)).outputs == open_session(path, 1).outputs


@pytest.mark.parametrize("text", ["great sun", TEXT, "monday " * 90])
@pytest.mark.parametrize("target", [None, "sun"])
def test_states_are_those_that_the_features_come_from(encoder, text, target):
    posts = [Sample(text=text, target=target), Sample(text="fine")]
    for post, states, features in zip(
        posts, encoder.token_states(posts), encoder.encode(posts).text_features, strict=True
    ):
        assert np.allclose(states.states[:, -1].mean(0), features, atol=1e-4)
        assert list(states.tokens) == encoder.token_numbers(post.text)
        read = np.unique(states.places[states.places >= 0])
        assert read.tolist() == list(range(len(read)))
        assert len(states.places) == len(states.states)


def test_a_mapped_reading_is_the_plain_one_with_what_it_came_from(encoder):
    pictures = [Image.fromarray(p) for p in tiny.pictures(11)]
    posts = [Sample(text=TEXT if n % 2 else None, image=p) for n, p in enumerate(pictures)] + [Sample(text="sun")]
    features, maps = encoder.encode_mapped(posts)
    plain = encoder.encode(posts)
    assert np.array_equal(features.text_features, plain.text_features)
    assert np.array_equal(features.image_features, plain.image_features)
    for row, (post, kept) in enumerate(zip(posts, maps, strict=True)):
        assert (kept.picture is None) == (post.image is None)
        assert kept.words is None, "nothing was fitted to this tower"
        if kept.picture is not None:
            assert np.allclose(kept.picture, encoder.image_maps([post])[0], atol=SAME)
            assert np.allclose(kept.picture.mean((0, 1)), plain.image_features[row], atol=SAME)
            small = encoder.encode([Sample(image=Image.fromarray(kept.pixels))]).image_features
            assert np.allclose(small[0], plain.image_features[row], atol=SAME), "read again as it was read"
    with pytest.raises(InputError, match="nothing was kept"):
        encoder.without_words(maps[1], ["the sun"])


def drawn_words(n=3000, seed=0):
    """Words of which what leaving them out does is known: a curve of what is read."""
    rng = np.random.default_rng(seed)
    parts = rng.normal(size=(n, 2 * len(DEPTHS) * 4)).astype(np.float32)
    changes = np.tanh(parts[:, :4] - parts[:, 12:16])
    return Words(parts, changes.astype(np.float32))


def test_the_network_learns_what_leaving_out_does(tmp_path):
    words, others = drawn_words(), drawn_words(500, seed=1)
    fitted = fit_left_out(words, LeftOutConfig(hidden=32, epochs=40, dropout=0))
    fitted.save(tmp_path / LEFT_OUT, "tower", {"texts": 7})
    file = LeftOutFile.of_tower(tmp_path / LEFT_OUT, "tower")
    assert file.facts == {"tower": "tower", "texts": "7"}
    loaded = file.network
    error = loaded.changes(others.parts) - others.changes
    assert np.square(error).mean() < 0.3 * np.square(others.changes).mean()
    assert np.allclose(loaded.changes(others.parts), fitted.changes(others.parts), atol=0.02), "kept as float16"


SIZES = {"in.weight": (2, 24), "in.bias": (2,), "out.weight": (4, 2), "out.bias": (4,)}


def test_arrays_that_do_not_fit_together_are_no_network():
    arrays = {name: np.zeros(shape) for name, shape in SIZES.items()}
    LeftOut(arrays)
    for wrong in ({}, {**arrays, "in.weight": np.zeros((2, 23))}, {**arrays, "out.bias": np.zeros(5)}):
        with pytest.raises(ArtefactError, match="leaving words out"):
            LeftOut(wrong)


def test_a_damaged_file_is_refused(tmp_path):
    assert LeftOutFile.of_tower(tmp_path / "none", "a" * 64) is None
    (tmp_path / LEFT_OUT).write_bytes(b"nothing")
    with pytest.raises(ArtefactError, match="cannot read"):
        LeftOutFile.of_tower(tmp_path / LEFT_OUT, "a" * 64)


def test_a_new_tower_is_not_opened_beside_what_was_fitted_to_the_old_one(tiny_model, tmp_path):
    folder = shutil.copytree(tiny_model / "towers", tmp_path / "towers")
    LeftOut({name: np.zeros(shape) for name, shape in SIZES.items()}).save(folder / LEFT_OUT, "a" * 64)
    with pytest.raises(ArtefactError, match="another text tower") as raised:
        CompactEncoder(folder)
    assert f"train left-out --data … --towers {folder}" in str(raised.value), "it says what to run"


def test_only_a_full_explanation_reads_the_network(tiny_model, tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(left_out, "read_arrays", lambda path: read.append(path) or read_arrays(path))
    model = shutil.copytree(tiny_model, tmp_path / "model")
    fitted_to(model / "towers")
    analyzer = Analyzer.from_pretrained(model)
    analyzer.analyze(TEXT)
    assert not read
    found = analyzer.analyze(TEXT, explain="full").explanation.words
    assert sum(not word.estimated for word in found) == MOST_READ
    analyzer.analyze(TEXT, explain="full")
    assert len(read) == 1


def fitted_to(towers):
    """Fit a network to the towers in a folder, by the command that documents name."""
    command = [
        "train",
        "left-out",
        "--data",
        str(towers),
        "--towers",
        str(towers),
        "--runs",
        str(towers.parent / "runs"),
    ]
    assert run([*command, "--set", "hidden=32", "--set", "epochs=30"]) == 0


@pytest.fixture(autouse=True)
def own_texts(monkeypatch):
    texts = [" ".join(np.random.default_rng(n).choice(tiny.WORDS, 8)) for n in range(20)]
    monkeypatch.setattr(training, "learned_texts", lambda _: [Sample(text=text) for text in [*texts, "sun"]])


def test_the_command_makes_it_anew_and_goes_on_where_it_stopped(tiny_model, tmp_path, monkeypatch):
    towers = shutil.copytree(tiny_model / "towers", tmp_path / "towers")
    LeftOut({name: np.zeros(shape) for name, shape in SIZES.items()}).save(towers / LEFT_OUT, "a" * 64)
    fitted_to(towers)
    first = read_arrays(towers / LEFT_OUT)
    facts = LeftOutFile.of_tower(towers / LEFT_OUT, CompactEncoder(towers).manifest.files["text.onnx"]).facts
    assert (facts["texts"], facts["observed"]) == ("20", "120"), "six words of each text of two words or more"
    monkeypatch.setattr(training, "observe", lambda *_: pytest.fail("observed again"))
    fitted_to(towers)
    assert all(np.array_equal(first[name], array) for name, array in read_arrays(towers / LEFT_OUT).items())


def test_a_folder_without_towers_gets_no_network(tmp_path, capsys):
    command = ["train", "left-out", "--data", str(tmp_path), "--towers", str(tmp_path), "--runs", str(tmp_path)]
    assert run(command) == 2
    assert "holds no towers" in capsys.readouterr().err


def test_words_are_observed_as_they_are_read(encoder):
    (words,) = observe(encoder, [Sample(text=TEXT), Sample(text="sun")])
    whole, without = encoder.encode([Sample(text=TEXT), Sample(text=TEXT.replace("sun", ""))]).text_features
    assert len(words.parts) == len(TEXT.split())
    assert np.allclose(words.changes[1], without - whole, atol=1e-4)


def test_an_encoder_estimates_what_reading_would_say(tiny_model, tmp_path):
    folder = shutil.copytree(tiny_model / "towers", tmp_path / "towers")
    fitted_to(folder)
    estimating = CompactEncoder(folder)
    text = " ".join(np.random.default_rng(0).choice(tiny.WORDS, 8))
    features, (kept,) = estimating.encode_mapped([Sample(text=text)])
    versions = [text, *(text.replace(word, "", 1) for word in text.split())]
    same, *without = estimating.without_words(kept, versions)
    read = estimating.encode([Sample(text=version) for version in versions[1:]]).text_features
    assert np.allclose(same, features.text_features[0], atol=1e-4), "nothing was left out"
    assert np.square(np.array(without) - read).sum() < np.square(features.text_features - read).sum()


class Guessing(Mapped):
    """Estimates features of shortened texts, exactly, and does not count that as reading."""

    def encode_mapped(self, samples):
        kept = [
            PostMap(self.image_maps([s])[0] if s.image is not None else None, s.text if s.text else None)
            for s in samples
        ]
        return self.encode(samples), kept

    def without_words(self, post, texts):
        before = self.texts
        found = self.encode([Sample(text=text) for text in texts]).text_features
        self.texts = before
        return found


def guessed(encoder=None, **fields):
    encoder = encoder or Guessing()
    sample = read_sample(Sample(**fields))
    features, (kept,) = encoder.encode_mapped([sample])
    return Probe(encoder, judge, PRIOR, sample, features, kept=kept)


LONG = "well then, a good day, a fine hour and nothing bad was seen, so good"


def test_few_texts_are_read_where_the_encoder_can_estimate():
    encoder = Guessing()
    asked = guessed(encoder, text=LONG)
    assert isinstance(encoder, MappedEncoder)
    before = encoder.texts
    found = find_evidence(asked)
    assert encoder.texts - before == MOST_READ
    measured = [word.word for word in found.words if not word.estimated]
    assert len(measured) == MOST_READ
    assert set(measured) == {"good"}, "what speaks most for the label"
    exact = find_evidence(replace_kept(asked))
    assert [w.effect for w in found.words] == pytest.approx([w.effect for w in exact.words], abs=1e-6)
    assert not any(word.estimated for word in exact.words)


def test_no_text_is_read_where_no_word_would_be_told():
    encoder = Guessing()
    asked = guessed(encoder, text="a long day with an end for many of us, all seven of them")
    before = encoder.texts
    assert all(word.estimated and abs(word.effect) < LEAST_EFFECT for word in find_evidence(asked).words)
    assert encoder.texts == before


def test_a_plain_box_is_the_only_one_that_is_looked_at():
    encoder = Guessing()
    asked = guessed(encoder, image=picture(red=[(0, 0)]))
    before = encoder.pictures
    (region,) = find_evidence(asked).regions
    assert encoder.pictures - before == 1
    assert region.left == region.top == 0


def replace_kept(probe):
    """The same post, of which nothing was kept."""
    return Probe(probe.encoder, probe.judge, probe.prior, probe.sample, probe.features)


def test_short_texts_are_read_without_each_of_their_words():
    class Blind(Guessing):
        def without_words(self, post, texts):
            raise AssertionError("nothing is to be estimated")

    found = find_evidence(guessed(Blind(), text="good day"))
    assert not any(word.estimated for word in found.words)
    assert max(found.words, key=lambda word: word.effect).word == "good"


def test_what_changes_the_answer_was_read():
    class Wrong(Guessing):
        def without_words(self, post, texts):
            return np.tile(np.array([0, 5, 0], np.float32), (len(texts), 1))

    found = find_evidence(guessed(Wrong(), text="a long day with a good end for many of us, all seven of them"))
    measured = {word.word for word in found.words if not word.estimated}
    assert {change.what for change in found.changes} <= measured, "estimates alone say that every word changes it"


def test_the_map_that_was_kept_is_not_made_again():
    class Once(Guessing):
        maps = 0

        def image_maps(self, samples):
            self.maps += 1
            return super().image_maps(samples)

    encoder = Once()
    found = find_evidence(guessed(encoder, image=picture(red=[(0, 0)])))
    assert found.regions
    assert encoder.maps == 1


def test_an_empty_rest_is_judged_as_no_words_at_all():
    asked = guessed(text="good good good good")
    assert hidden_words(asked).opinions.sentiment.shape == (4, 3)
    estimated = asked.estimated(["", "good"])
    assert np.allclose(estimated.sentiment[0], PRIOR)


def test_a_cache_neither_serves_nor_fills_full_explanations(tiny_model):
    analyzer = Analyzer.from_pretrained(tiny_model)
    cached = Analyzer(CachedEncoder(analyzer.encoder), list(analyzer.adapters.values()))
    plain, full = (cached.analyze(TEXT, explain=level) for level in ("none", "full"))
    assert plain.sentiment == full.sentiment
    assert cached.encoder.misses == 1


@pytest.mark.parametrize("wrong", ["short", "wide", "nan", "failing"])
def test_estimates_that_fit_no_head_are_encoder_errors(wrong):
    class Bad(Guessing):
        def without_words(self, post, texts):
            found = super().without_words(post, texts)
            if wrong == "failing":
                raise RuntimeError("no")
            return {"short": found[1:], "wide": found[:, :2], "nan": np.full_like(found, np.nan)}[wrong]

    checked = checked_encoder(Bad(), 3, 3)
    assert isinstance(checked, MappedEncoder)
    _, (kept,) = checked.encode_mapped([Sample(text="a good day")])
    with pytest.raises(EncoderError):
        checked.without_words(kept, ["a day", "good day"])


def test_readings_of_another_number_of_posts_are_encoder_errors():
    class Bad(Guessing):
        def encode_mapped(self, samples):
            features, kept = super().encode_mapped(samples)
            return features, kept[1:]

    found = checked_encoder(Bad(), 3, 3).encode_each([Sample(text="a"), Sample(text="b")], keep=True)
    assert found.features is None
    assert all("kept 0 readings of 1 posts" in str(error) for error in found.failures.values())


def test_the_bundled_network_fits_the_bundled_tower(analyzer):
    encoder = analyzer.encoder
    text = "The hotel room was clean and quiet, but breakfast was dreadful and nobody said sorry."
    whole, (kept,) = encoder.encode_mapped([Sample(text=text)])
    texts = [text.replace(word, "") for word in ("dreadful", "clean", "was", "room")]
    estimated, read = encoder.without_words(kept, texts), encoder.encode([Sample(text=t) for t in texts]).text_features
    gap, change = (
        np.square(found - read).sum() for found in (estimated, np.broadcast_to(whole.text_features, read.shape))
    )
    assert gap < 0.7 * change
    assert replace(kept, words=None).picture is None
