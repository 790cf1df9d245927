"""Do the words that an explanation names say something, and are they those that the answer rests on?

    python eval/bench/explain/top_words.py --data DATA [--posts 300] [--save]

On a fixed draw of everyday posts (those of `eval/everyday`) and of posts for development of MVSA-Single, for the label
the model gives:

- function words: of the words that are named (three for the label and three against it at the most), how many are
  function words, bare marks, handles or links; and of the posts, in how many the first named word is one. Beside it the
  same for the words of the largest effect, whatever they are, as accounts named them before.
- silent: posts of which no word is named.
- fall: the label's probability without the words that are named for it, against the mean without as many random
  other words of the same post, 20 draws; posts without such words, or without others, are left out.

Function words are here those of both spaCy's and scikit-learn's lists of stop words, but negations: another list than
the product's own. Those lists were made for searching, and hold verbs, nouns, adjectives and numbers that texts are
full of (*call*, *put*, *empty*, *twelve*), and *please*. They are no function words: those are of the closed classes
(Universal Dependencies: ADP, AUX, CCONJ, DET, PART, PRON, SCONJ). So they are left out (`OPEN`), as written-out numbers
are just as digits; `by_stop_words` counts them all the same.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track
from rich.table import Table
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS
from spacy.lang.en.stop_words import STOP_WORDS

from eval.bench.explain.faithfulness import drawn_posts, probe_of
from eval.bench.keeping import program, tell, today
from hybrid_mmsa import Analyzer
from hybrid_mmsa.bundled import bundled_path
from hybrid_mmsa.data import LoadReport
from hybrid_mmsa.data.everyday import EVERYDAY, load_everyday
from hybrid_mmsa.explain.evidence import hidden_words
from hybrid_mmsa.explain.telling import told
from hybrid_mmsa.explain.words import hide
from hybrid_mmsa.inputs import read_sample
from hybrid_mmsa.inputs.emoji_words import face_spans, is_pictograph
from hybrid_mmsa.metrics import Interval, wilson
from hybrid_mmsa.types import Sample, WordEffect

MOST = 3
DRAWS = 5
BEFORE = 0.01
"""Effects from which accounts named words before."""
NEGATIONS = {
    "no",
    "not",
    "never",
    "none",
    "nothing",
    "nobody",
    "neither",
    "nor",
    "cannot",
    "without",
    "nowhere",
    "cant",
}
OPEN = frozenset(
    [
        "amount",
        "back",
        "bottom",
        "front",
        "name",
        "part",
        "side",
        "top",
        "alone",
        "due",
        "empty",
        "full",
        "serious",
        "together",
        "whole",
        "became",
        "become",
        "becomes",
        "becoming",
        "call",
        "give",
        "keep",
        "made",
        "move",
        "put",
        "see",
        "seem",
        "seemed",
        "seeming",
        "seems",
        "show",
        "take",
        "please",
        "two",
        "three",
        "four",
        "five",
        "six",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "fifteen",
        "twenty",
        "forty",
        "fifty",
        "sixty",
        "hundred",
        "third",
    ]
)
STOPPED = (STOP_WORDS & ENGLISH_STOP_WORDS) - NEGATIONS
FUNCTION_WORDS = STOPPED - OPEN
CLITICS = re.compile(r"['\u2019](m|s|re|ve|d|ll)$")


def says_nothing(words: str, silent: Collection[str] = FUNCTION_WORDS) -> bool:
    """Whether all of it is function words, marks, handles or links, by the lists of other packages."""
    rest = re.sub(r"@\w+|(?:https?://|www\.)\S+", " ", words)
    if face_spans(rest) or any(map(is_pictograph, rest)) or re.search(r"[#\d]", rest):
        return False
    return all(CLITICS.sub("", word.casefold()) in silent for word in re.findall(r"[\w'\u2019-]*\w", rest))


def named(words: Sequence[WordEffect]) -> list[WordEffect]:
    """The words that an account names, the strongest first."""
    kept = told(words)
    return [*[w for w in kept if w.effect > 0][:MOST], *[w for w in kept if w.effect < 0][:MOST]]


def largest(words: Sequence[WordEffect]) -> list[WordEffect]:
    """The words that an account named before: those of the largest effects."""
    kept = sorted((w for w in words if abs(w.effect) >= BEFORE), key=lambda w: -abs(w.effect))
    return [*[w for w in kept if w.effect > 0][:MOST], *[w for w in kept if w.effect < 0][:MOST]]


def post_figures(analyzer: Analyzer, sample: Sample, seed: int) -> dict[str, Any]:
    """What is named of one post, what was before, and what hiding it does."""
    read = read_sample(sample)
    adapter = analyzer.adapters[analyzer.default]
    probe = probe_of(analyzer, adapter, read)
    label, text = int(probe.whole.sentiment[0].argmax()), probe.text or ""
    hidden = hidden_words(probe)
    parts = hidden.parts
    effects = probe.whole.sentiment[0, label] - hidden.opinions.sentiment[:, label]
    edges = [(part[0][0], part[-1][1]) for part in parts]
    words = [
        WordEffect(word=text[a:b], start=a, end=b, effect=float(effect))
        for (a, b), effect in zip(edges, effects, strict=True)
    ]
    figures: dict[str, Any] = {"named": named(words), "largest": largest(words)}
    places = {word.start for word in figures["named"] if word.effect > 0}
    chosen = [i for i, word in enumerate(words) if word.start in places]
    others = [i for i in range(len(words)) if i not in chosen]
    if chosen and others:
        rng = np.random.default_rng(seed)
        size = min(len(chosen), len(others))
        picks: list[Sequence[int]] = [chosen, *(rng.choice(others, size, replace=False).tolist() for _ in range(DRAWS))]
        versions = [hide(text, [span for i in pick for span in parts[i]]) for pick in picks]
        p = probe.with_texts(versions).sentiment[:, label]
        whole = float(probe.whole.sentiment[0, label])
        figures["fall"] = (whole - float(p[0]), whole - float(p[1:].mean()))
    return figures


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Figures over posts; intervals are Wilson's at 95 %."""
    falls = np.array([row["fall"] for row in rows if "fall" in row])
    wins = wilson(int((falls[:, 0] > falls[:, 1]).sum()), len(falls))
    return {
        "posts": len(rows),
        "now": shares(rows, "named"),
        "before": shares(rows, "largest"),
        "silent": facts(wilson(sum(not row["named"] for row in rows), len(rows))),
        "fall": {
            "posts": len(falls),
            "named": round(float(falls[:, 0].mean()), 4),
            "random": round(float(falls[:, 1].mean()), 4),
            "named_falls_more": facts(wins),
        },
    }


def shares(rows: Sequence[dict[str, Any]], which: str) -> dict[str, Any]:
    """How many of the named words, and of the words named first, say nothing; and which those are."""
    words = [word.word for row in rows for word in row[which]]
    first = [max(row[which], key=lambda word: abs(word.effect)).word for row in rows if row[which]]
    silent = Counter(word.casefold() for word in words if says_nothing(word))
    return {
        "words": len(words),
        "function_words": facts(wilson(silent.total(), len(words))),
        "by_stop_words": facts(wilson(sum(says_nothing(word, STOPPED) for word in words), len(words))),
        "posts_naming_some": len(first),
        "first_is_function_word": facts(wilson(sum(map(says_nothing, first)), len(first))),
        "most_often": dict(silent.most_common(12)),
    }


def facts(share: Interval) -> dict[str, float]:
    """A share with its interval."""
    return {"value": round(share.value, 3), "low": round(share.low, 3), "high": round(share.high, 3)}


def table(record: dict[str, Any]) -> Table:
    """The record for people."""
    lines = Table("figure, %", *record["corpora"], title="Words that explanations name")
    figures = {
        "named words that are function words": ("now", "function_words"),
        "named words that are on both lists of stop words": ("now", "by_stop_words"),
        "first named word is one": ("now", "first_is_function_word"),
        "the same before": ("before", "first_is_function_word"),
        "posts of which none is named": ("silent",),
        "fall without named words beats random ones": ("fall", "named_falls_more"),
    }
    for title, keys in figures.items():
        found = [reduce(lambda values, key: values[key], keys, corpus) for corpus in record["corpora"].values()]
        lines.add_row(title, *(f"{100 * f['value']:.1f} [{100 * f['low']:.1f}, {100 * f['high']:.1f}]" for f in found))
    return lines


def main() -> None:
    """Measure, print, and keep if asked."""
    parser = program(__doc__, "top-words")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds MVSA_Single")
    parser.add_argument("--posts", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    analyzer = Analyzer.from_pretrained()
    everyday = [r.sample for r in load_everyday(bundled_path(*EVERYDAY), LoadReport())]
    order = np.random.default_rng(options.seed).permutation(len(everyday))[: options.posts]
    corpora = {
        "everyday": [everyday[i] for i in order],
        "mvsa_single_dev": [r.sample for r in drawn_posts(options.data, "dev", options.posts, options.seed)],
    }
    record = {
        "date": today(),
        "seed": options.seed,
        "provenance": analyzer.adapters[analyzer.default].provenance().model_dump(),
        "corpora": {
            name: summary(
                [post_figures(analyzer, post, i) for i, post in enumerate(track(posts, name, transient=True))]
            )
            for name, posts in corpora.items()
        },
    }
    tell("top-words", record, table(record), options)


if __name__ == "__main__":
    main()
