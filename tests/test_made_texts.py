"""Texts made by rule: every rule reads as English, labels are what the rules say, nothing unknown is passed over."""

import random
import re
from collections import Counter

import pytest

from hybrid_mmsa.errors import InputError
from hybrid_mmsa.training.posts.made_texts import (
    label_table,
    load_rules,
    make_texts,
    read_rules,
    sentence_key,
    vary,
)
from hybrid_mmsa.types import EMOTIONS, LABELS

WORDS = """
[words]
good = ["awful nice", "useful", "honest", "one-off", "plain"]
face = [":(", "(^_^)"]

[topics.food]
dish = ["soup", "pie", "stew"]
dishes = ["chips"]
"""
RULE = """
[[rules]]
kind = "opinion"
label = "positive"
rows = 40
templates = ["a {good} {dish}"]
"""


@pytest.fixture(scope="module")
def made():
    return make_texts(0)


def texts_of(templates, more='label = "neutral"', rows=200):
    listed = ", ".join(f"'{template}'" for template in templates)
    rules = f"{WORDS}\n[[rules]]\nkind = 'own'\n{more}\nrows = {rows}\nverbatim = true\ntemplates = [{listed}]"
    return make_texts(1, book=read_rules(rules))


def test_there_are_enough_rows_of_every_kind(made):
    asked, given = Counter(), Counter(text.kind for text in made)
    for rule in load_rules().rules:
        asked[rule.kind] += rule.rows * max(1, len(rule.targets))
    assert 19_000 < len(made) < 22_000
    assert not {kind: (given[kind], rows) for kind, rows in asked.items() if given[kind] < 0.9 * rows}


def test_every_template_expands():
    book = load_rules()
    alone = [r.model_copy(update={"rows": 1, "templates": (t,)}) for r in book.rules for t in r.templates]
    for rule in alone:
        rows = make_texts(0, book=book.model_copy(update={"rules": (rule,)}))
        assert len(rows) == max(1, len(rule.targets)), rule.templates


def test_no_part_of_the_language_is_left_in_a_text(made):
    assert [m.text for m in made if re.search(r"[{}\[\]]|\([^()]*\|[^()]*\)|#\d\}| {2}|^\s|\s$", m.text)] == []
    assert [m.text for m in made if re.search(r" [,.?!](?!\.)", m.text.replace(" ...", ""))] == []


def test_articles_go_by_sound(made):
    silent = r"(?:hour|honest|F\b|f\b|8|11)"
    spoken = r"(?:user|useful|useless|uni(?:que|versity|form|on|ted)|euro|one\b)"
    text = "\n".join(m.text for m in made)
    assert re.findall(rf"\ba (?!{spoken})(?=[aeiou]|{silent})\S+", text) == []
    assert re.findall(rf"\ban (?!{silent})(?:[^aeiouAEIO]|{spoken})\S*", text) == []
    own = {m.text.lower() for m in texts_of(["a {good} pie", "a hotel", "a 8", "a 80"])}
    nouns = {"an awful nice", "a useful", "an honest", "a one-off", "a plain"}
    assert own == {f"{noun} pie" for noun in nouns} | {"a hotel", "an 8", "an 80"}


def test_verbs_agree_with_the_lists_of_singular_and_plural_nouns(made):
    topics = load_rules().topics.values()
    singular = "|".join(re.escape(noun) for topic in topics for noun in topic["thing"] if "(" not in noun)
    plural = "|".join(re.escape(noun) for topic in topics for noun in topic["things"] if "(" not in noun)
    text = "\n".join(m.text.lower() for m in made)  # later in a line: "I wish the soup were", "one of the pies was"
    assert re.findall(rf"^the (?:{singular}) (?:were|are)\b", text, re.MULTILINE) == []
    assert re.findall(rf"^(?:the|these) (?:{plural}) (?:was|is)\b", text, re.MULTILINE) == []


def test_no_apostrophe_is_a_space(made):
    assert [
        m.text for m in made if re.search(r"\b(?:can|won|don|isn|didn|wasn|couldn) t\b|\bI (?:d|m|ve)\b", m.text)
    ] == []


def test_slots_alternatives_and_bindings():
    assert {m.text.lower() for m in texts_of(["(so|) {dish#1}, {dish#1}"])} >= {"so pie, pie", "stew, stew"}
    assert all(m.text.split()[0] != m.text.split()[1] for m in texts_of(["{dish} {dish}"]))
    assert {m.text.lower() for m in texts_of(["(oh|) {face} (a)"])} == {
        "oh :( (a)",
        ":( (a)",
        "oh (^_^) (a)",
        "(^_^) (a)",
    }


def test_targets_are_labelled_in_their_order():
    rows = texts_of(["[{dish}] yes, [{dishes}] no"], 'targets = ["positive", "negative"]', rows=3)
    assert {(m.target.lower(), LABELS[m.labels["target"]]) for m in rows} == {
        ("soup", "positive"),
        ("pie", "positive"),
        ("stew", "positive"),
        ("chips", "negative"),
    }
    with pytest.raises(InputError, match="marks 1 targets, its rule names 2"):
        texts_of(["[{dish}] yes"], 'targets = ["positive", "negative"]')


def test_labels_are_classes_of_their_tasks(made):
    classes = {"sentiment": LABELS, "target": LABELS, "emotion": EMOTIONS, "sarcasm": (False, True)}
    for text in made:
        assert ("target" in text.labels) == (text.target is not None) != ("sentiment" in text.labels)
        for task, label in text.labels.items():
            if isinstance(label, tuple):
                assert len(label) == len(classes[task])
                assert sum(label) == pytest.approx(1)
            else:
                assert 0 <= label < len(classes[task])


def test_a_target_stands_in_its_text(made):
    assert [m for m in made if m.target is not None and m.target not in m.text] == []


def test_a_sentence_comes_once_and_says_one_thing(made):
    counts = Counter((sentence_key(m.text), (m.target or "").casefold()) for m in made)
    assert [key for key, count in counts.items() if count > 1] == []
    sided = {sentence_key(m.text) for m in made if m.target}
    assert not sided & {sentence_key(m.text) for m in made if not m.target}


def test_irony_and_its_sincere_twin_share_their_openings(made):
    def openings(sarcasm):
        ironic = [m for m in made if m.kind.startswith("irony") and m.labels["sarcasm"] == sarcasm]
        return {" ".join(m.text.lower().split()[:2]) for m in ironic}

    assert len(openings(0) & openings(1)) > 25


def test_the_same_seed_makes_the_same_texts():
    book = load_rules()
    few = book.model_copy(update={"rules": book.rules[::12]})
    assert make_texts(3, book=few) == make_texts(3, book=few)
    assert make_texts(3, book=few) != make_texts(4, book=few)


def test_what_is_held_out_is_not_made():
    left = make_texts(0, held_out=["A plain pie!", "a plain SOUP"], book=read_rules(WORDS + RULE))
    assert {"a plain pie", "a plain soup"}.isdisjoint(sentence_key(m.text) for m in left)
    assert "a plain stew" in {sentence_key(m.text) for m in left}
    assert sentence_key("DON’T  bother!") == sentence_key("dont bother...")


def test_the_label_table_counts_every_row(made):
    kinds = label_table(made).splitlines()
    assert kinds[0].split() == ["kind", "rows", *LABELS]
    *_, (name, rows, *by_label) = (line.split() for line in kinds)
    assert (name, int(rows)) == ("all", len(made))
    assert sum(map(int, by_label)) == len(made)
    assert all(int(count) > 0.2 * len(made) for count in by_label)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("rows = 40", "rows = 40\nweight = 2"), "weight"),
        (("[words]", "[wrods]\na = ['b']\n[words]"), "wrods"),
        (("{dish}", "{dsh}"), "no list is named 'dsh'"),
        (('label = "positive"', ""), "either a label or targets"),
        (('label = "positive"', 'label = "positive"\ntargets = ["neutral"]'), "either a label or targets"),
        (('label = "positive"', 'label = "happy"'), "happy"),
        (('label = "positive"', "label = [0.5, 0.4, 0.2]"), "do not sum to 1"),
        (("rows = 40", 'rows = 40\nemotion = "pride"'), "input_value='pride'"),
        (("rows = 40", "rows = 0"), "rows"),
        (('["chips"]', '["chips"]\n[topics.work]\ndish = ["bread"]'), "topic work lacks or adds dishes"),
        (('face = [', 'dish = ['), "both in"),
        (('["chips"]', "[]"), "dishes"),
        (("[words]", "[words"), "cannot be used"),
    ],
    ids=lambda value: None if isinstance(value, tuple) else value,
)  # fmt: skip
def test_rules_are_read_strictly(change, complaint):
    assert read_rules(WORDS + RULE).rules[0].kind == "opinion"
    with pytest.raises(InputError, match=complaint):
        read_rules((WORDS + RULE).replace(*change))


def test_a_varied_text_keeps_its_words():
    text = "I don't think it's worth the money."
    varied = {vary(text, random.Random(seed)) for seed in range(300)}
    assert {"I dont think its worth the money.", "I don't think it's worth the money!!"} <= varied
    assert any(v.startswith("📷 ") for v in varied)
    assert any("#" in v for v in varied)
    assert any("http" in v for v in varied)
    assert len(varied) > 60
    letters = set(re.findall(r"\w+", text.replace("'", "")))
    for v in varied:
        assert len(letters - set(re.findall(r"\w+", v.replace("'", "")))) <= 1, v
    assert vary(text, random.Random(5)) == vary(text, random.Random(5))


@pytest.mark.parametrize("text", [":'(", "!!", "👍", "", "why?"])
def test_a_text_without_words_survives_variation(text):
    for seed in range(50):
        assert text.rstrip(".!") in vary(text, random.Random(seed))
