"""Short texts made by rule, with their labels: what corpora of posts hold too little of. Knows no corpus and no model.

`train text` reads them beside the corpora: negation and understatement, advice, wishes, ratings, emoji, notices and
questions, life's events, complaints, irony with its sincere twin, and sentences that praise one thing and blame
another. The rules stand in `made_texts.toml`:

* `[words]` holds lists of words, phrases and sentences, by name.
* `[topics.NAME]` holds the lists that differ from topic to topic (food, transport, work ...). Every topic has the same
  lists. Each text keeps to one topic, drawn for it, so that a soup may be tasty and a driver late.
* `[[rules]]`: a rule is a set of sentences that mean the same to a reader. `kind` names the phenomenon. `label` is what
  each of its texts says: a sentiment, or three probabilities (negative, neutral, positive) where readers differ.
  `emotion` and `sarcastic` are given where they hold for every text of the rule. A rule about targets has no `label`
  but `targets`: the sentiment towards each marked target, in the order in which they stand in the text. `rows` is how
  many texts are drawn; a rule with fewer different texts gives fewer. `verbatim` spares case, marks and apostrophes:
  in emoticons, ratings, hashtags and capitals they carry meaning.
* `templates` of a rule, and the items of every list, are written in one small language:

      {name}     an item of that list; no item comes twice in a text while others are left
      {name#1}   the same, and the same text again wherever `{name#1}` stands
      (a|b|)     one of these, the last one empty; parentheses without a bar are plain characters
      [soup]     a target of a rule about targets

  Texts are written in lower case without a final mark: both are added, as is the n of "an".

Equal sentences (but for case, apostrophes and the final mark) come once. Whoever measures on sentences of his own hands
them over as `held_out`: none of them is made.
"""

from __future__ import annotations

import random
import re
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ...errors import InputError
from ...types import EMOTIONS, LABELS, EmotionLabel, Label
from .rows import ClassLabel

__all__ = [
    "MadeText",
    "Rule",
    "RuleBook",
    "label_table",
    "load_rules",
    "make_texts",
    "read_rules",
    "sentence_key",
    "vary",
]

RULES_FILE = Path(__file__).with_name("made_texts.toml")

_Probability: TypeAlias = Annotated[float, Field(ge=0, le=1)]
_Soft: TypeAlias = tuple[_Probability, _Probability, _Probability]
_WordLists: TypeAlias = Mapping[str, Annotated[tuple[str, ...], Field(min_length=1)]]

_CHOICE = re.compile(r"\(([^()|]*\|[^()]*)\)")
_SLOT = re.compile(r"\{([a-z_]+)(#\d)?\}")
_TARGET = re.compile(r"\[([^\[\]]+)\]")
_SENTENCE_START = re.compile(r"(?:^|(?<=[.?!] ))\[?[a-z]")
_SPACE_BEFORE_MARK = re.compile(r" (?=[,.?!])")  # left by an empty alternative
_INNER_APOSTROPHE = re.compile(r"(?<=\w)['’](?=\w)")
# "an" goes by sound: "a user", "a one-star" and "a European", but "an hour" and "an 8".
_ARTICLE = re.compile(r"\ba (?=\[?(?:(?!uni(?![nm])|us[eau]|eu|one\b)[aeiouAEIO]|hour|honest|heir|F\b|8|11\b))")

_MOST_TRIES = 12
"""Texts drawn per row wanted, before a rule counts as exhausted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeText:
    """A text as a user might write it, with the labels that its rule gives.

    `labels` has the tasks of `TextRow.labels`: `sentiment` or, where there is a target, `target` (classes `LABELS`),
    `emotion` (`EMOTIONS`) and `sarcasm` (0 or 1). `kind` is the rule's.
    """

    text: str
    target: str | None
    labels: Mapping[str, ClassLabel]
    kind: str


class Rule(BaseModel):
    """Sentences that mean the same to a reader; the module says what each field means."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    label: Label | _Soft | None = None
    emotion: EmotionLabel | None = None
    sarcastic: bool | None = None
    targets: tuple[Label, ...] = ()
    rows: Annotated[int, Field(gt=0)]
    verbatim: bool = False
    templates: Annotated[tuple[str, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _one_kind_of_label(self) -> Rule:
        if (self.label is None) != bool(self.targets):
            raise ValueError("a rule has either a label or targets")
        if isinstance(self.label, tuple) and abs(sum(self.label) - 1) > 1e-6:
            raise ValueError(f"the probabilities {self.label} do not sum to 1")
        return self

    def labels(self) -> dict[str, ClassLabel]:
        """What the rule says of a whole text: a class per task; empty for a rule about targets."""
        labels: dict[str, ClassLabel] = {}
        if self.label is not None:
            labels["sentiment"] = self.label if isinstance(self.label, tuple) else LABELS.index(self.label)
        if self.emotion is not None:
            labels["emotion"] = EMOTIONS.index(self.emotion)
        if self.sarcastic is not None:
            labels["sarcasm"] = int(self.sarcastic)
        return labels


class RuleBook(BaseModel):
    """All rules with the word lists that their slots name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    words: _WordLists
    topics: Annotated[Mapping[str, _WordLists], Field(min_length=1)]
    rules: tuple[Rule, ...]

    @model_validator(mode="after")
    def _every_slot_has_a_list(self) -> RuleBook:
        lists = {name: frozenset(topic) for name, topic in self.topics.items()}
        topical = next(iter(lists.values()))
        for name, own in lists.items():
            if own != topical:
                raise ValueError(f"topic {name} lacks or adds {', '.join(sorted(own ^ topical))}")
        if both := topical & self.words.keys():
            raise ValueError(f"both in [words] and in topics: {', '.join(sorted(both))}")
        templates = [t for rule in self.rules for t in rule.templates]
        items = [t for book in (self.words, *self.topics.values()) for listed in book.values() for t in listed]
        for template in [*templates, *items]:
            for slot in _SLOT.finditer(template):
                if slot[1] not in self.words and slot[1] not in topical:
                    raise ValueError(f"no list is named {slot[1]!r}, which {template!r} asks for")
        return self


def read_rules(toml: str) -> RuleBook:
    """Rules from TOML; nothing unknown is passed over.

    Raises:
        InputError: It is no TOML, a key is unknown or missing, or a slot names no list.
    """
    try:
        return RuleBook.model_validate(tomllib.loads(toml))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise InputError(f"cannot be used: {error}", field="rules") from error


@cache
def load_rules() -> RuleBook:
    """The rules of this package."""
    return read_rules(RULES_FILE.read_text(encoding="utf-8"))


def make_texts(seed: int, *, held_out: Iterable[str] = (), book: RuleBook | None = None) -> list[MadeText]:
    """Texts drawn from all rules, in the rules' order; the same for the same seed.

    This package's rules give about 20,000 rows. A rule about targets gives a row for each target of a text.

    Args:
        seed: Chooses the texts. Each rule draws by itself, so a rule that changes leaves the others' texts as they are
            (but for sentences that two rules share).
        held_out: Sentences that must not be made, for example because they are to measure with.
        book: Other rules than this package's.

    Raises:
        InputError: A text marks more or fewer targets than its rule labels.
    """
    book = book or load_rules()
    used = {sentence_key(text) for text in held_out}
    texts: list[MadeText] = []
    for rule in book.rules:
        rng = random.Random(f"{seed} {rule.kind} {rule.label} {rule.targets}")
        missing = rule.rows
        for marked in _drawn(rule, book, rng):
            targets = [_TARGET.sub(r"\1", target) for target in _TARGET.findall(marked)]
            text = _TARGET.sub(r"\1", marked)
            if sentence_key(text) in used or not _told_apart(targets):
                continue
            used.add(sentence_key(text))
            texts += _labelled(rule, text, targets)
            missing -= 1
            if not missing:
                break
    return texts


def sentence_key(text: str) -> str:
    """The text with case, apostrophes, white space and the final mark left out: equal keys are the same sentence."""
    return " ".join(re.sub("['’]", "", text.casefold()).rstrip(" .!…").split())


def label_table(texts: Iterable[MadeText]) -> str:
    """How many rows each kind has, in all and by label, one line a kind and one for the sum.

    A soft label counts where it is most likely.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for made in texts:
        label = made.labels.get("sentiment", made.labels.get("target"))
        index = label.index(max(label)) if isinstance(label, tuple) else label
        for kind in (made.kind, "all"):
            counts[kind]["rows"] += 1
            counts[kind]["" if index is None else LABELS[index]] += 1
    columns = ("rows", *LABELS)
    lines = [f"{'kind':20}" + "".join(f"{column:>10}" for column in columns)]
    for kind, count in sorted(counts.items(), key=lambda pair: pair[0] == "all"):
        lines.append(f"{kind:20}" + "".join(f"{count[column]:10}" for column in columns))
    return "\n".join(lines)


def vary(text: str, rng: random.Random) -> str:
    """The same text as another user might have written it: a change that leaves every label as it was.

    One of: neutral hashtags after it, another final mark, no apostrophes, a neutral word before it, a link or a part
    number after it, one typo. Where the change finds nothing to change, the text stays. Meant for texts without a
    target: a typo may fall into any word.
    """
    words = load_rules().words
    changes = ("tags", "mark", "apostrophes", "lead", "tail", "typo")
    match rng.choices(changes, weights=(30, 15, 15, 10, 10, 20))[0]:
        case "tags":
            return f"{text} {' '.join(rng.sample(words['neutral_tag'], rng.randint(1, 3)))}"
        case "mark" if text.rstrip(".!") and not text.endswith("?"):
            return text.rstrip(".!") + rng.choice(("", ".", "!", "!!", " ..."))
        case "apostrophes":
            return _INNER_APOSTROPHE.sub("", text)
        case "lead":
            return f"{rng.choice(words['lead_in'])} {text}"
        case "tail":
            return f"{text} {rng.choice((*words['link'], '1/2', '(1/3)'))}"
        case "typo":
            return _with_typo(text, rng)
    return text


def _with_typo(text: str, rng: random.Random) -> str:
    """One word of four letters or more with a letter dropped, doubled or swapped with the next; the first stays."""
    words = text.split(" ")
    long = [place for place, word in enumerate(words) if len(word) > 3 and word.isalpha()]
    if not long:
        return text
    place = rng.choice(long)
    word = words[place]
    at = rng.randrange(1, len(word) - 1)
    dropped = word[:at] + word[at + 1 :]
    doubled = word[:at] + word[at] + word[at:]
    swapped = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    words[place] = rng.choice((dropped, doubled, swapped))
    return " ".join(words)


def _drawn(rule: Rule, book: RuleBook, rng: random.Random) -> Iterator[str]:
    """Texts of a rule, targets still in brackets, equal ones among them, until the rule counts as exhausted."""
    topics = [{**book.words, **topic} for topic in book.topics.values()]
    for _ in range(rule.rows * _MOST_TRIES):
        text = _Writing(rng.choice(topics), rng).expand(rng.choice(rule.templates))
        text = _ARTICLE.sub("an ", _SPACE_BEFORE_MARK.sub("", " ".join(text.split())))
        if not rule.verbatim:
            yield _styled(text, rng)
        else:
            yield _capitalised(text) if rng.random() < 0.5 else text


class _Writing:
    """One text while it is written: what its slots have picked so far."""

    def __init__(self, lists: Mapping[str, Sequence[str]], rng: random.Random) -> None:
        self.lists = lists
        self.rng = rng
        self.picked: dict[str, set[str]] = defaultdict(set)
        self.bound: dict[str, str] = {}

    def expand(self, template: str) -> str:
        """The template with its choices made, then its slots filled."""
        while choice := _CHOICE.search(template):
            chosen = self.rng.choice(choice[1].split("|"))
            template = template[: choice.start()] + chosen + template[choice.end() :]
        return _SLOT.sub(self._fill, template)

    def _fill(self, slot: re.Match[str]) -> str:
        if slot[0] in self.bound:
            return self.bound[slot[0]]
        items, picked = self.lists[slot[1]], self.picked[slot[1]]
        item = self.rng.choice([i for i in items if i not in picked] or items)
        picked.add(item)
        text = self.expand(item)
        if slot[2]:
            self.bound[slot[0]] = text
        return text


def _styled(text: str, rng: random.Random) -> str:
    """Case, final mark and apostrophes as users differ in them, the same for every label."""
    match rng.choices(("sentence", "as it is", "lower", "capitals"), weights=(72, 14, 11, 3))[0]:
        case "sentence":
            text = _capitalised(text)
        case "lower":
            text = text.lower()
        case "capitals":
            text = text.upper()
    if text[-1].isalnum() or text[-1] == "]":
        text += rng.choices(("", ".", "!", "..."), weights=(52, 32, 11, 5))[0]
    return _INNER_APOSTROPHE.sub("", text) if rng.random() < 0.1 else text


def _capitalised(text: str) -> str:
    return _SENTENCE_START.sub(lambda start: start[0].upper(), text)


def _told_apart(targets: Sequence[str]) -> bool:
    """Whether no target holds another one, so that each names one place of the text."""
    lower = [target.casefold() for target in targets]
    return not any(one in other for i, one in enumerate(lower) for j, other in enumerate(lower) if i != j)


def _labelled(rule: Rule, text: str, targets: Sequence[str]) -> Iterator[MadeText]:
    if not rule.targets:
        yield MadeText(text=text, target=None, labels=MappingProxyType(rule.labels()), kind=rule.kind)
        return
    if len(targets) != len(rule.targets):
        raise InputError(f"{text!r} marks {len(targets)} targets, its rule names {len(rule.targets)}", field="rules")
    for target, label in zip(targets, rule.targets, strict=True):
        labels = MappingProxyType({"target": LABELS.index(label)})
        yield MadeText(text=text, target=target, labels=labels, kind=rule.kind)
