"""What nano learns from: nothing held out, nothing unknown taught, cues that stand in the post, things seen."""

import json
import random
import shutil
from collections import Counter
from dataclasses import replace

import pytest
from PIL import Image

from hybrid_mmsa.data import Photo
from hybrid_mmsa.errors import InputError
from hybrid_mmsa.reasoning import load_prompt
from hybrid_mmsa.reasoning.prompt.answer import read_answer
from hybrid_mmsa.training.answers.rationales import Claims, claims
from hybrid_mmsa.training.nano.corpora import MOST_CHARACTERS, NanoPost, nano_posts
from hybrid_mmsa.training.nano.cues import WordEvidence
from hybrid_mmsa.training.nano.joined import joined_posts
from hybrid_mmsa.training.nano.photos import things_of
from hybrid_mmsa.training.nano.rows import WEIGHTS, nano_rows, rows_of
from hybrid_mmsa.training.nano.texts import nano_texts
from hybrid_mmsa.types import LABELS, Sample

# Ids of MVSA-Single, MVSA-Multiple and Memotion in the parts of their splits.
TRAIN, DEV, TEST = "1", "16", "17"
MULTIPLE_TRAIN, MULTIPLE_TEST = "2505", "2502"
MEME = "image_42"
JUDGED = {"label", "text_says", "picture_says", "sarcastic"}
PROMPT = load_prompt("nano")
EVIDENCE = WordEvidence().fit(
    [(f"so lovely, day {n}", "positive") for n in range(20)]
    + [(f"an awful day {n}", "negative") for n in range(20)]
    + [(f"day {n}", "neutral") for n in range(20)]
)


def lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n", encoding="utf-8")


def picture(path, colour=(200, 10, 10)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), colour).save(path)


def tweets(path, **known):
    """A packed corpus of texts: two to learn from, of which one stands in another corpus's test part, and two held."""
    name = path.stem
    rows = [
        {"id": "a", "split": "train", "text": f"{name} to learn from, @ann http://t.co/x"},
        {"id": "b", "split": "train", "text": "Seen in MVSA test!"},
        {"id": "c", "split": "dev", "text": f"{name} to choose by"},
        {"id": "d", "split": "test", "text": f"{name} to measure on"},
    ]
    lines(path, [row | known for row in rows])


@pytest.fixture
def corpora(tmp_path):
    """Every corpus, tiny and in its own layout."""
    mvsa = tmp_path / "MVSA_Single"
    texts = {TRAIN: "my lovely post @bob", DEV: "seen in mvsa dev", TEST: "seen in MVSA test", "999999": "in no part"}
    for id_, words in texts.items():
        picture(mvsa / "data" / f"{id_}.jpg")
        (mvsa / "data" / f"{id_}.txt").write_text(words)
    (mvsa / "labelResultAll.txt").write_text("ID\ttext,image\n" + "".join(f"{i}\tpositive,neutral\n" for i in texts))
    tweets(tmp_path / "text" / "semeval2017_4a.jsonl", label="positive")
    tweets(tmp_path / "text" / "tweeteval_irony.jsonl", sarcastic=1)
    tweets(tmp_path / "text" / "tweeteval_emotion.jsonl", emotion="anger", label="negative")
    tweets(tmp_path / "text" / "isarcasmeval_en.jsonl", sarcastic=1)
    for name in ("train", "valid", "test"):
        rows = [{"image_id": name, "text": f"mmsd {name}", "label": 1}]
        rows += [{"image_id": "leak", "text": "isarcasmeval_en to measure on", "label": 0}] if name == "train" else []
        (tmp_path / "MMSD2.0").mkdir(exist_ok=True)
        (tmp_path / "MMSD2.0" / f"{name}.json").write_text(json.dumps(rows))
    for year in ("2015", "2017"):
        (tmp_path / f"Twitter{year}").mkdir()
        for split in ("train", "dev", "test"):
            row = f"1\t2\t10.jpg\tRT @ carl : $T$ wins in {split} {year}\tChuck Bass\n"
            (tmp_path / f"Twitter{year}" / f"{split}.tsv").write_text("index\t#1\t#2\t#3\t#3\n" + row)
    multiple = [(MULTIPLE_TRAIN, "several say so"), (MULTIPLE_TEST, "several, held out"), ("2", "in no part")]
    sides = {"label": "negative", "text_label": "neutral", "image_label": "negative", "image_name": "1.jpg"}
    lines(tmp_path / "MVSA_Multiple" / "texts_and_labels.jsonl", [{"id": i, "text": t} | sides for i, t in multiple])
    picture(tmp_path / "Memotion7k" / "m.jpg")
    meme = {"id": MEME, "text": "a meme", "image": "m.jpg", "label": "negative", "sarcastic": 1}
    lines(tmp_path / "Memotion7k" / "pairs.jsonl", [meme])
    picture(tmp_path / "Twitter1269" / "p.jpg")
    seen = {"id": "p", "text": "", "image": "p.jpg", "label": "negative", "image_label": "negative", "split": "train"}
    lines(tmp_path / "Twitter1269" / "pairs.jsonl", [seen])
    for number in range(60):
        picture(tmp_path / "photos" / "zoo" / f"{number}.jpg")
    animals = [{"image": f"{number}.jpg", "label": "tree_frog"} for number in range(60)]
    lines(tmp_path / "photos" / "zoo" / "labels.jsonl", animals)
    return tmp_path


def written(row):
    return json.loads(row.target.answer)


def taught(row):
    """The keys whose values are taught."""
    found = set()
    for key in ("label", "text_says", "picture_says", "sarcastic", "text_cues", "picture_cues", "rationale"):
        begin = row.target.answer.index(f'"{key}": ') + len(f'"{key}": ')
        # A string's first character is its quote, a list's its bracket.
        place = begin + (row.target.answer[begin] == '"')
        if any(start <= place < end for start, end in row.target.taught):
            found.add(key)
    return found


def test_no_text_of_any_dev_or_test_part_is_learnt_from(corpora):
    train, dev = nano_posts(corpora)
    texts = {post.sample.text for post in train if post.sample.text}
    assert not any("MVSA test" in t or "measure" in t or "choose" in t or "held out" in t for t in texts)
    assert not any("no part" in t or "test 201" in t or "dev 201" in t for t in texts)
    assert {"my lovely post @bob", "several say so", "a meme", "mmsd train"} <= texts
    assert {post.corpus for post in train} == set(WEIGHTS) - {"joined"}
    assert "seen in mvsa dev" in {post.sample.text for post in dev}
    photos = {part: {p.sample.id for p in posts if p.corpus == "photos"} for part, posts in (("t", train), ("d", dev))}
    assert not photos["t"] & photos["d"]
    assert len(photos["t"] | photos["d"]) == 60
    assert photos["d"]


def test_a_corpus_that_is_not_there_is_left_out_but_posts_there_must_be(corpora, tmp_path_factory):
    for name in ("Memotion7k", "text", "photos"):
        shutil.rmtree(corpora / name)
    found = {post.corpus for post in nano_posts(corpora)[0]}
    assert found == set(WEIGHTS) - {"joined", "memotion", "semeval2017", "tweeteval_irony", "photos"}
    with pytest.raises(InputError, match="no posts to train on"):
        nano_posts(tmp_path_factory.mktemp("empty"))


def test_texts_too_long_to_be_read_are_left_out(corpora):
    lines(
        corpora / "posts.jsonl", [{"id": str(n), "text": f"{n} " + "long " * n, "label": "negative"} for n in (9, 200)]
    )
    lengths = [len(p.sample.text) for part in nano_posts(corpora) for p in part if "long" in (p.sample.text or "")]
    assert max(lengths, default=0) <= MOST_CHARACTERS


def test_what_is_known_of_each_corpus_is_taught_and_nothing_else(corpora):
    rows, _ = nano_rows(corpora)
    said = {"label", "text_says", "picture_says", "text_cues", "picture_cues", "rationale"}
    whole = {"semeval2017": said, "mvsa_multiple": said, "twitter2015": said, "twitter2017": said}
    whole["mmsd2"] = whole["tweeteval_irony"] = {"picture_says", "sarcastic", "picture_cues"}
    whole["memotion"] = {"label", "rationale"}
    whole["twitter1269"] = {"label", "text_says", "picture_says", "text_cues", "rationale"}
    whole["photos"] = {"text_says", "text_cues", "picture_cues"}
    for row in rows:
        if row.corpus in whole:
            told = whole[row.corpus]
            assert taught(row) in (told, told & JUDGED if "label" in told else told), row.corpus
        assert row.target.closes == ("rationale" in taught(row))
        read_answer(row.target.answer, PROMPT, row.sample)
    labels = {row.corpus: row.target.label for row in rows if "label" in taught(row)}
    assert labels["mvsa_multiple"] == "neutral", "words alone say what they say, whatever the whole post is"
    assert next(r for r in rows if r.corpus == "twitter2015").sample.target == "Chuck Bass"
    assert {tuple(written(r)["picture_cues"]) for r in rows if r.corpus == "photos"} == {("tree frog",)}
    assert "photo" not in {r.corpus for r in rows if "label" in taught(r)}


def test_a_post_comes_whole_and_as_each_side_alone(corpora):
    rows = [row for row in nano_rows(corpora)[0] if row.corpus == "mvsa_single"]
    whole, words, seen = rows
    assert (whole.target.label, written(whole)["text_says"], written(whole)["picture_says"]) == (
        "positive",
        "positive",
        "neutral",
    )
    assert (words.sample.image, words.target.label, written(words)["picture_says"]) == (None, "positive", "none")
    assert (seen.sample.text, seen.target.label, written(seen)["text_says"]) == (None, "neutral", "none")
    assert whole.weight == 2 * words.weight == 2 * seen.weight == WEIGHTS["mvsa_single"]
    told = [claims(written(row)["rationale"]) for row in rows]
    assert told == [
        Claims("positive", "positive", "neutral"),
        Claims("positive", text="positive"),
        Claims("neutral", picture="neutral"),
    ]


def test_words_stand_beside_other_posts_pictures_and_the_rule_says_what_both_are(corpora):
    rows = [row for row in nano_rows(corpora)[0] if row.corpus == "joined"]
    assert {row.sample.text for row in rows} >= {"my lovely post @bob", "several say so"}
    assert not any("2015" in row.sample.text for row in rows), "what they say is not known"
    meant = [row for row in rows if row.sample.text_label is None]
    assert {row.sample.text.split()[0] for row in meant} == {"mmsd", "tweeteval_irony"}
    for row in meant:
        assert written(row)["sarcastic"] is row.sample.sarcastic is True
        assert taught(row) >= {"sarcastic", "picture_says"}
        assert not taught(row) & {"label", "text_says", "rationale"}
    for row in rows:
        if row in meant:
            continue
        text, picture = row.sample.text_label, row.sample.image_label
        assert (text, picture) in {(t, p) for t in ("positive", "neutral") for p in ("neutral", "negative")}
        assert (written(row)["text_says"], written(row)["picture_says"]) == (text, picture)
        assert {"text_says", "picture_says"} <= taught(row)
        assert ("label" in taught(row)) == ((text, picture) != ("positive", "negative"))
        assert "sarcastic" not in taught(row)
    labels = {row.sample.image_label: row.target.label for row in rows if row.sample.text == "several say so"}
    assert labels.items() <= {"neutral": "neutral", "negative": "negative"}.items()
    shutil.rmtree(corpora / "Twitter1269")
    (corpora / "MVSA_Single" / "labelResultAll.txt").write_text(f"ID\ttext,image\n{TRAIN}\tpositive,positive\n")
    assert {r.sample.image_label for r in nano_rows(corpora)[0] if r.corpus == "joined"} == {"positive"}


def joined(*samples):
    """What is joined of posts, by their ids."""
    return {
        post.sample.id.split("+")[0]: post.sample for post in joined_posts([NanoPost(s, "own") for s in samples], 0)
    }


def test_words_are_never_joined_to_their_own_picture():
    """Of two pictures of a label the other one is shown, and of one alone none."""
    posts = [
        Sample(text=f"day {n}", image=f"{n}.jpg", id=str(n), text_label="neutral", image_label="neutral")
        for n in range(40)
    ]
    for number in (2, 3, 40):
        found = joined(*posts[:number])
        assert all(sample.image != f"{id_}.jpg" for id_, sample in found.items())
        assert len(found) == number
    assert joined(posts[0]) == {}
    alone = replace(posts[0], image_label="positive")
    assert joined(alone, *posts[1:3])["0"].image_label == "neutral"


def test_sarcasm_goes_to_another_picture_where_it_is_of_words_alone():
    shown = Sample(image="1.jpg", id="p", image_label="neutral")
    meant = [Sample(text="oh great", id=str(value), sarcastic=value) for value in (True, False)]
    with_picture = Sample(text="look at this", image="2.jpg", id="both", sarcastic=True)
    with_label = Sample(text="so lovely", id="said", text_label="positive", label="negative", sarcastic=True)
    found = joined(shown, *meant, with_picture, with_label)
    assert {id_: sample.sarcastic for id_, sample in found.items()} == {"True": True, "False": False, "said": None}
    assert (found["True"].label, found["True"].text_label, found["True"].image_label) == (None, None, "neutral")
    assert found["said"].label == "positive", "the rule of labels knows no sarcasm"


def test_how_to_write_reasons_is_taught_on_some_of_the_judged_rows_alone():
    posts = [NanoPost(Sample(text=f"a lovely day {n}", id=str(n), label="positive"), "semeval2017") for n in range(200)]
    rows = [row for post in posts for row in rows_of(post, PROMPT, EVIDENCE)]
    assert all({"label", "text_says"} <= taught(row) for row in rows)
    reasoned = [row for row in rows if "rationale" in taught(row)]
    assert 0.3 < len(reasoned) / len(rows) < 0.5
    assert all(row.target.closes == ("text_cues" in taught(row)) == ("rationale" in taught(row)) for row in rows)


def test_what_is_seen_is_told_and_what_was_not_looked_at_is_not(corpora):
    path = str(corpora / "MVSA_Single" / "data" / f"{TRAIN}.jpg")
    for seen, cues, known in (({path: ["web site"]}, ["web site"], True), ({path: []}, [], True), ({}, [], False)):
        whole = nano_rows(corpora, seen=seen)[0][0]
        assert written(whole)["picture_cues"] == cues
        assert ("picture_cues" in taught(whole)) == known
    told = [written(nano_rows(corpora, seed=n, seen={path: ["web site"]})[0][0])["rationale"] for n in range(12)]
    assert any("a web site" in words for words in told)
    assert len(set(told)) > 6


def test_rows_are_the_same_for_the_same_seed(corpora):
    one, again, other = (nano_rows(corpora, seed=seed) for seed in (0, 0, 1))
    assert [r.target for r in one[0]] == [r.target for r in again[0]]
    assert [r.target for r in one[0]] != [r.target for r in other[0]]


def test_labels_that_are_not_known_stand_there_by_chance():
    posts = [NanoPost(Sample(text=f"a day {n}", id=str(n), sarcastic=n % 2 == 0), "mmsd2") for n in range(60)]
    rows = [row for post in posts for row in rows_of(post, PROMPT, EVIDENCE)]
    assert set(Counter(row.target.label for row in rows)) == set(LABELS)
    assert all("label" not in taught(row) for row in rows)
    assert [written(row)["sarcastic"] for row in rows] == [post.sample.sarcastic for post in posts]


def test_a_written_reason_comes_before_a_composed_one():
    own = Sample(text="so lovely", id="1", label="negative", text_label="positive", rationale="Said by a person.")
    (row,) = rows_of(NanoPost(own, "mvsa_single"), PROMPT, EVIDENCE)
    assert written(row)["rationale"] == "Said by a person."
    two = replace(own, image="x.jpg", image_label="negative")
    rows = list(rows_of(NanoPost(two, "mvsa_single"), PROMPT, EVIDENCE))
    assert [written(row)["rationale"] == own.rationale for row in rows] == [True, False, False]


@pytest.mark.parametrize(
    ("text", "label", "cues"),
    [
        ("What a LOVELY day", "positive", ("LOVELY",)),
        ("#lovely @lovely www.lovely.org http://lovely.org xlovely lovely1", "positive", ("lovely",)),
        ("lovely lovely lovely", "positive", ("lovely",)),
        ("such an awful day", "negative", ("awful",)),
        ("awful, day", "negative", ("awful",)),
        ("lovely", "neutral", ()),
        ("lovely", "negative", ()),
        ("a day", "positive", ()),
        ("", "positive", ()),
    ],
)
def test_cues_are_the_words_that_speak_as_they_stand_in_the_post(text, label, cues):
    assert EVIDENCE.cues(text, label) == cues


def test_cues_count_as_quotations_and_never_overlap():
    words = ["lovely", "awful", "day", "so", "@day", "#awful", "lovely!", "🔥", "awful-day"]
    known = [("🔥 🔥", "negative")] * 20 + [("lovely", "positive"), ("awful day", "negative")] * 20
    evidence = WordEvidence().fit((PROMPT.rewritten(text), label) for text, label in known)
    quoted = set()
    rng = random.Random(0)
    for _ in range(300):
        text, label = " ".join(rng.choices(words, k=6)), rng.choice(LABELS)
        shown = PROMPT.rewritten(text)
        cues = evidence.cues(shown, label)
        quoted |= set(cues)
        sample = Sample(text=text, id="1", label=label)
        (row,) = rows_of(NanoPost(sample, "semeval2017"), PROMPT, evidence)
        read = read_answer(row.target.answer, PROMPT, sample)
        assert tuple(cue.text for cue in read.cues) == cues
        places = [shown.lower().index(cue.lower()) for cue in cues]
        assert len(set(places)) == len(cues) <= 3
    assert {"lovely", "awful", "fire"} <= quoted, "hashtags and emoji are quoted in the words they are read in"


def test_words_of_few_texts_speak_for_nothing():
    few = WordEvidence().fit([("rare", "positive")] * 3 + [("plain", "negative")] * 30)
    assert few.cues("rare", "positive") == ()
    assert few.cues("plain", "negative") == ("plain",)


def test_photos_are_told_by_class_names_and_nouns_that_captions_share():
    captions = ("A black dog runs on the beach.", "The dog is near a ball.", "A dog with a ball on the beach")
    photos = [Photo(str(n), None, captions) for n in range(3)]
    photos.append(Photo("4", None, ("a photo of a car side",), named=True))
    photos.append(Photo("5", None, ("They are resting.",)))
    photos.append(Photo("6", None, ("x " * 40,)))
    found = things_of(photos)
    assert found[0] == ("dog", "beach", "ball")
    assert found[3:] == [("car",), ("they are resting",), ()]


def test_plain_texts_hold_no_handle_no_link_and_no_held_out_words(corpora):
    rows, _ = nano_rows(corpora)
    texts = nano_texts(rows, corpora)
    assert len(texts) == len(set(texts))
    assert all("@" not in text.replace("@user", "") for text in texts)
    assert not any("http:" in text or "t.co" in text for text in texts)
    assert "my lovely post @user" in texts
    assert "semeval2017_4a to learn from, @user http" in texts
    assert "RT @user : Chuck Bass wins in train 2015" in texts
    assert "a photo of a tree frog" in texts
    assert not any("dev" in text or "held out" in text or "measure" in text for text in texts)
    assert {written(row)["rationale"] for row in rows if written(row)["rationale"]} <= set(texts)
