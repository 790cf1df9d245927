"""Texts become windows of token ids: what is read, what is padded, and that neighbours and threads change nothing."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from hybrid_mmsa.bundled import bundled_path
from hybrid_mmsa.data import LoadReport
from hybrid_mmsa.data.everyday import EVERYDAY, load_everyday
from hybrid_mmsa.encoders.bert_words import read_tokenizer
from hybrid_mmsa.encoders.compact import WEIGHTS
from hybrid_mmsa.encoders.wordpieces import LENGTH_STEP, MOST_WINDOWS, OVERLAP, WordPieces
from hybrid_mmsa.errors import ArtefactError
from hybrid_mmsa.inputs import reword

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


def rows(batch, text=0):
    """Ids of each window of one text, padding left out."""
    return [batch.ids[i][batch.mask[i].astype(bool)].tolist() for i in np.flatnonzero(batch.text == text)]


def row(batch, text=0):
    """Ids of a text of one window."""
    (window,) = rows(batch, text)
    return window


def test_a_text_stands_between_its_marks(pieces, words):
    batch = pieces.encode(["The sun, happy!"], [None])
    assert words(row(batch)) == ["<s>", "the", "sun", ",", "happy", "!", "</s>"]
    assert (batch.n_tokens[0], batch.truncated[0], batch.unknown_share[0]) == (5, False, 0)


def test_a_mark_spelled_out_in_a_post_is_just_its_characters(pieces, words):
    ids = row(pieces.encode(["sun </s> <s><pad>"], [None]))
    assert [word for word in words(ids) if word in {"<s>", "</s>", "<pad>"}] == ["<s>", "</s>"]


def test_a_target_stands_behind_two_separators(pieces, words):
    batch = pieces.encode(["the sun is great"], ["sun"])
    assert words(row(batch)) == ["<s>", "the", "sun", "is", "great", "</s>", "</s>", "sun", "</s>"]
    assert batch.n_tokens[0] == 4, "those of the text"


def test_a_bert_has_its_own_marks(tmp_path, words, path):
    text = path.read_text()
    for ours, its in (("<s>", "[CLS]"), ("</s>", "[SEP]"), ("<pad>", "[PAD]")):
        text = text.replace(f'"{ours}"', f'"{its}"')
    (tmp_path / "bert.json").write_text(text)
    ids = row(WordPieces(tmp_path / "bert.json", MAX_TOKENS).encode(["the sun"], ["sun"]))
    assert words(ids) == ["<s>", "the", "sun", "</s>", "sun", "</s>"], "one separator"


def test_a_long_text_is_read_in_windows_that_overlap_and_hold_the_target(pieces, words):
    text = [tiny.WORDS[i % len(tiny.WORDS)] for i in range(40)]
    for target in ("the sea", None):
        batch = pieces.encode([" ".join(text)], [target])
        windows = [words(window) for window in rows(batch)]
        tail = ["</s>", "</s>", "the", "sea", "</s>"] if target else ["</s>"]
        assert len(windows) > 2
        assert all(len(window) <= MAX_TOKENS for window in windows)
        assert all(window[-len(tail) :] == tail for window in windows)
        bodies = [window[1 : -len(tail)] for window in windows]
        end = 0
        for body in bodies:
            start = next(i for i in range(end + 1) if text[i : i + len(body)] == body)
            assert start <= end, "nothing is left out"
            end = start + len(body)
        assert end == len(text)
        assert max(map(len, bodies)) - min(map(len, bodies)) <= len(bodies), "of like length"
        assert batch.n_tokens[0] == len(text)
        assert not batch.truncated[0]
        assert batch.shares.sum() == pytest.approx(1)


def test_a_text_of_too_many_windows_loses_its_end_and_says_so(pieces):
    batch = pieces.encode(["sun " * MAX_TOKENS * MOST_WINDOWS, "sun"], [None, None])
    assert batch.truncated.tolist() == [True, False]
    assert (batch.text == 0).sum() == MOST_WINDOWS
    room, shared = MAX_TOKENS - 2, (MAX_TOKENS - 2) // OVERLAP
    assert batch.n_tokens.tolist() == [MOST_WINDOWS * (room - shared) + shared, 1]


def test_a_text_that_just_fits_is_one_window(pieces):
    batch = pieces.encode(["sun " * (MAX_TOKENS - 2), "sun " * (MAX_TOKENS - 1)], [None, None])
    assert batch.text.tolist() == [0, 1, 1]


def test_a_long_target_leaves_room_for_the_text(pieces, words):
    batch = pieces.encode(["the train was late and we are sad"], ["sea " * 50])
    windows = [words(window) for window in rows(batch)]
    assert all(window.count("sea") == MAX_TOKENS // 4 for window in windows)
    assert any("late" in window for window in windows)


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
    pad = tiny.vocabulary()["<pad>"]
    assert (batch.ids[batch.mask == 0] == pad).all()
    assert (np.diff(batch.mask, axis=1) <= 0).all(), "padding stands at the end"
    for i, (text, target) in enumerate(zip(texts, targets, strict=True)):
        alone = pieces.encode([text], [target])
        assert rows(alone) == rows(batch, i)
        for name in ("n_tokens", "truncated", "unknown_share"):
            assert getattr(alone, name)[0] == getattr(batch, name)[i]


def test_threads_share_one_tokenizer(pieces):
    texts = [" ".join(tiny.WORDS[i : i + 3 * (i % 5) + 1]) for i in range(24)]
    expected = [rows(pieces.encode([t], [None])) for t in texts]

    def encode_all(_):
        return [rows(pieces.encode([t], [None])) for t in texts]

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
    (tmp_path / "lacking.json").write_text(path.read_text().replace('"<pad>"', '"<fill>"'))
    with pytest.raises(ArtefactError, match=r"lacks special tokens: .*<pad>"):
        WordPieces(tmp_path / "lacking.json", MAX_TOKENS)


def test_pieces_are_those_of_the_package_that_the_file_is_of():
    file = WEIGHTS / "tokenizer.json"
    numbers, vocabulary = read_tokenizer(file)
    theirs = Tokenizer.from_file(str(file))
    theirs.no_padding()
    theirs.no_truncation()
    theirs.encode_special_tokens = True
    assert vocabulary == theirs.get_vocab(with_added_tokens=True)
    texts = [record.sample.text or "" for record in load_everyday(bundled_path(*EVERYDAY), LoadReport())]
    texts += [reword(text) for text in texts]
    texts += [
        "naïve Café ÉCOLE İstanbul ΟΔΥΣΣΕΥΣ",
        "東京で 한국어 ไทย हिन्दी",
        "a\u200db\tc\u3000d\x0be",
        "…—“x”‘y’ ^$+=~`|",
        "x" * 101,
    ]
    texts += ["[SEP] <s></s> <mask>", "😀👍🏽 don't", "\ufffd\x00", "½ ① ﬁ Ⅷ ℃"]
    assert [numbers(text) for text in texts] == [e.ids for e in theirs.encode_batch(texts, add_special_tokens=False)]


@pytest.mark.parametrize(
    "change",
    [
        {"normalizer": None},
        {"pre_tokenizer": {"type": "ByteLevel"}},
        {"model": {"type": "BPE"}},
        {"added_tokens": [{"content": "word", "id": 1, "special": False}]},
        {"model": {"type": "WordPiece", "vocab": []}},
    ],
)
def test_a_tokenizer_of_another_kind_is_refused(path, tmp_path, change):
    other = tmp_path / "tokenizer.json"
    other.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ArtefactError, match="cannot read the tokenizer"):
        WordPieces(other, MAX_TOKENS)
