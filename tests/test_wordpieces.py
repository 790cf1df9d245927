"""Texts become token ids one by one: what is cut, what is padded, and that neighbours and threads change nothing."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from hybrid_mmsa.encoders.wordpieces import LENGTH_STEP, WordPieces
from hybrid_mmsa.errors import ArtefactError

MAX_TOKENS = 16
TEXTS = st.lists(st.text(max_size=60), max_size=6)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tiny.write_tokenizer(tmp_path_factory.mktemp("tokenizer") / "tokenizer.json")


@pytest.fixture(scope="module")
def pieces(path):
    return WordPieces(path, MAX_TOKENS)


@pytest.fixture(scope="module")
def words(path):
    """Ids back to words."""
    tokenizer = Tokenizer.from_file(str(path))
    return lambda ids: [tokenizer.id_to_token(int(i)) for i in ids]


def row(batch, i):
    """Ids and segments of one text, padding left out."""
    real = batch.mask[i].astype(bool)
    return batch.ids[i][real].tolist(), batch.segments[i][real].tolist()


def test_a_text_stands_between_its_marks(pieces, words):
    batch = pieces.encode(["The sun, happy!"], [None])
    assert words(row(batch, 0)[0]) == ["[CLS]", "the", "sun", ",", "happy", "!", "[SEP]"]
    assert (batch.n_tokens[0], batch.truncated[0], batch.unknown_share[0]) == (5, False, 0)
    assert not batch.segments.any()


def test_a_mark_spelled_out_in_a_post_is_just_its_characters(pieces, words):
    ids, segments = row(pieces.encode(["the sun [SEP] happy [CLS][PAD]"], [None]), 0)
    marks = [word for word in words(ids) if word in {"[CLS]", "[SEP]", "[PAD]"}]
    assert marks == ["[CLS]", "[SEP]"]
    assert not any(segments)


def test_a_target_follows_as_the_second_segment(pieces, words):
    batch = pieces.encode(["the sun is great"], ["sun"])
    ids, segments = row(batch, 0)
    assert words(ids) == ["[CLS]", "the", "sun", "is", "great", "[SEP]", "sun", "[SEP]"]
    assert segments == [0] * 6 + [1] * 2
    assert batch.n_tokens[0] == 5


def test_a_long_text_loses_its_end_and_never_its_target(pieces, words):
    batch = pieces.encode(["happy " * 40, "happy " * 40], ["the sea", None])
    ids, segments = row(batch, 0)
    assert len(ids) == MAX_TOKENS
    assert words(ids)[-4:] == ["[SEP]", "the", "sea", "[SEP]"]
    assert words(ids)[1:-4] == ["happy"] * (MAX_TOKENS - 5)
    assert sum(segments) == 3
    assert words(row(batch, 1)[0]) == ["[CLS]", *["happy"] * (MAX_TOKENS - 2), "[SEP]"]
    assert batch.truncated.tolist() == [True, True]


def test_a_text_that_just_fits_is_not_cut(pieces):
    batch = pieces.encode(["sun " * (MAX_TOKENS - 2), "sun " * (MAX_TOKENS - 1)], [None, None])
    assert batch.truncated.tolist() == [False, True]
    assert batch.n_tokens.tolist() == [MAX_TOKENS - 2] * 2


def test_a_long_target_leaves_room_for_the_text(pieces, words):
    batch = pieces.encode(["the train was late and we are sad"], ["sea " * 50])
    ids, _ = row(batch, 0)
    assert words(ids).count("sea") == MAX_TOKENS // 4
    assert "late" in words(ids)


def test_unknown_share_is_the_share_of_words_outside_the_vocabulary(pieces):
    batch = pieces.encode(["sun 雨 sea 雪", "雨雪", "", "sun"], [None, None, None, None])
    assert batch.unknown_share.tolist() == [0.5, 1, 0, 0]
    assert batch.n_tokens.tolist() == [4, 2, 0, 1]


def test_no_texts_are_no_rows(pieces):
    batch = pieces.encode([], [])
    assert len(batch.ids) == len(batch.truncated) == len(batch.unknown_share) == 0


@given(TEXTS, st.randoms())
def test_padding_is_marked_and_neighbours_change_nothing(pieces, texts, chance):
    targets = [chance.choice([None, "sun", "a great sea"]) for _ in texts]
    batch = pieces.encode(texts, targets)
    assert batch.ids.shape[1] % LENGTH_STEP == 0
    assert batch.ids.shape[1] <= MAX_TOKENS
    pad = tiny.vocabulary()["[PAD]"]
    assert (batch.ids[batch.mask == 0] == pad).all()
    assert (np.diff(batch.mask, axis=1) <= 0).all(), "padding stands at the end"
    for i, (text, target) in enumerate(zip(texts, targets, strict=True)):
        alone = pieces.encode([text], [target])
        assert row(alone, 0) == row(batch, i)
        for name in ("n_tokens", "truncated", "unknown_share"):
            assert getattr(alone, name)[0] == getattr(batch, name)[i]


def test_threads_share_one_tokenizer(pieces):
    texts = [" ".join(tiny.WORDS[i : i + 3 * (i % 5) + 1]) for i in range(24)]
    expected = [row(pieces.encode([t], [None]), 0) for t in texts]

    def encode_all(_):
        return [row(pieces.encode([t], [None]), 0) for t in texts]

    with ThreadPoolExecutor(8) as pool:
        assert all(found == expected for found in pool.map(encode_all, range(16)))


def test_a_file_that_asks_for_padding_and_cutting_is_not_obeyed(path, tmp_path, pieces):
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.enable_padding(length=64)
    tokenizer.enable_truncation(3)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    eager = WordPieces(tmp_path / "tokenizer.json", MAX_TOKENS)
    texts = ["the sun and the sea are great", "a day"]
    assert np.array_equal(eager.encode(texts, [None, None]).ids, pieces.encode(texts, [None, None]).ids)


def test_an_unusable_tokenizer_is_an_artefact_error(tmp_path, path):
    with pytest.raises(ArtefactError, match="cannot read the tokenizer"):
        WordPieces(tmp_path / "nowhere.json", MAX_TOKENS)
    (tmp_path / "broken.json").write_text(path.read_text()[:100])
    with pytest.raises(ArtefactError, match="cannot read the tokenizer"):
        WordPieces(tmp_path / "broken.json", MAX_TOKENS)
    (tmp_path / "lacking.json").write_text(path.read_text().replace('"[PAD]"', '"[FILL]"'))
    with pytest.raises(ArtefactError, match=r"lacks one of .*\[PAD\]"):
        WordPieces(tmp_path / "lacking.json", MAX_TOKENS)
