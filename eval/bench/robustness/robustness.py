"""Do answers survive changes that keep the meaning, and do emoji decide plain words? Flip rates and the emoji table.

    python eval/bench/robustness/robustness.py [--model default] [--inv checklist_inv_dir.jsonl] [--save]

- flips: of 150 bundled everyday posts (a fixed draw, fifty a label, words alone), the share whose label is another one
  after a change of `changes.py`. Posts that a change leaves as they were do not count for it.
- emoji: 82 emoji with a clear feeling after (or before) each of six neutral texts; right is the emoji's feeling.
- inv: CheckList's invariance tests (Ribeiro et al., ACL 2020, arXiv 2005.04118), where their file is given: the share
  of texts of which at least one variant gets another label.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from rich.table import Table

from eval.bench.keeping import program, tell, today
from eval.bench.robustness.changes import CHANGES
from hybrid_mmsa import Analyzer
from hybrid_mmsa.data import load_corpus
from hybrid_mmsa.metrics import wilson
from hybrid_mmsa.types import LABELS, Label, Sample

NAME = "robustness"
A_LABEL = 50
"""Everyday posts of each label."""
FEWEST_WORDS = 4
KINDS = frozenset(
    {"plain", "negation", "understatement", "slang", "positive_words_negative_post", "negative_words_positive_post"}
    | {"contrast", "irony_unmarked", "news_fact", "question_request", "service", "life_event", "advice"}
    | {"counterfactual", "sincere", "charged_words", "crossed"}
)
"""Kinds of posts that are words alone, so that every change can be made."""
BATCH = 64

EMOJI: Mapping[Label, str] = {
    "positive": (
        "😀 😃 😄 😁 😆 😂 🤣 😊 😇 😍 🥰 😘 😚 😋 🤗 🤩 🥳 😎 😻 😸 ❤️ 🧡 💛 💚 💙 💜 🤍 🖤 🩷 💕 💖 💗 💘 💝 💞 "
        "🎉 🎊 🏆 🥇 👍 👏 🙌 💯 🔥 🌟"
    ),
    "negative": (
        "😠 😡 🤬 😤 😒 🙄 😞 😔 😟 😕 🙁 ☹️ 😣 😖 😫 😩 😢 😭 😥 😿 😾 🤮 🤢 💔 👎 😰 😨 😱 😧 😓 🤒 🤕 🤦 💩 🖕 👿 😦"
    ),
}
"""Emoji that everybody reads alike, by what they feel; white space is between them."""
CARRIERS = (
    "Tuesday {}",
    "the meeting is at ten {}",
    "on my way to the station {}",
    "my brother called {}",
    "{} new photos in the album",
    "lunch in the canteen {}",
)


def drawn_posts() -> list[str]:
    """The same posts at every call, as many of each label."""
    texts: dict[str, list[str]] = {label: [] for label in LABELS}
    for record in load_corpus("everyday"):
        sample = record.sample
        if record.group in KINDS and sample.text and len(sample.text.split()) >= FEWEST_WORDS:
            texts[str(sample.label)].append(sample.text)
    ordered = (sorted(own, key=lambda text: sha256(text.encode()).digest())[:A_LABEL] for own in texts.values())
    return [text for own in ordered for text in own]


def labels(analyzer: Analyzer, texts: Sequence[str]) -> list[Label]:
    """The fast tier's label of each text."""
    found: list[Label] = []
    for start in range(0, len(texts), BATCH):
        samples = [Sample(text=text) for text in texts[start : start + BATCH]]
        found += [a.sentiment.label for a in analyzer.analyze_batch(samples, mode="fast", explain="none")]
    return found


def flips(analyzer: Analyzer, texts: Sequence[str]) -> dict[str, Any]:
    """The share of texts whose label another form turns, per change; a change that alters no text is left out."""
    plain, found = labels(analyzer, texts), {}
    for name, change in CHANGES.items():
        changed = [change(text) for text in texts]
        rows = [i for i, text in enumerate(changed) if text != texts[i]]
        if not rows:
            continue
        after = labels(analyzer, [changed[i] for i in rows])
        found[name] = share(plain[i] != label for i, label in zip(rows, after, strict=True))
    return found


def emoji_table(analyzer: Analyzer) -> dict[str, Any]:
    """How many carriers of each emoji, and which share of them all, get the emoji's feeling."""
    cells = [(feeling, emoji, text) for feeling, own in EMOJI.items() for emoji in own.split() for text in CARRIERS]
    found = labels(analyzer, [text.format(emoji) for _, emoji, text in cells])
    right = [label == feeling for label, (feeling, _, _) in zip(found, cells, strict=True)]
    each = {emoji: 0 for own in EMOJI.values() for emoji in own.split()}
    for hit, (_, emoji, _) in zip(right, cells, strict=True):
        each[emoji] += hit
    alone = labels(analyzer, [text.format("").strip() for text in CARRIERS])
    return {"all": share(right), "right_of_carriers": each, "carriers_alone": dict(zip(CARRIERS, alone, strict=True))}


def invariance(analyzer: Analyzer, path: Path) -> dict[str, Any]:
    """CheckList's invariance tests: the share of texts that fail, over all and per test."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    rows = [row for row in rows if row.get("type") == "INV"]
    found = iter(labels(analyzer, [text for row in rows for text in (row["text"], *row["variants"])]))
    failed: dict[str, list[bool]] = {}
    for row in rows:
        first, *others = [next(found) for _ in (row["text"], *row["variants"])]
        failed.setdefault(row["test"], []).append(any(label != first for label in others))
    return {"all": share(hit for hits in failed.values() for hit in hits)} | {
        name: share(hits) for name, hits in failed.items()
    }


def share(hits: Iterable[bool]) -> dict[str, Any]:
    """A share of yes among yes and no, with a 95 % interval (Wilson)."""
    counted = list(hits)
    interval = wilson(sum(counted), len(counted))
    return {"n": len(counted), "share": interval.value, "low": interval.low, "high": interval.high}


def table(record: Mapping[str, Any]) -> Table:
    """The record as people read it."""
    shown = Table("", "n", "share", title=f"{record['model']}: labels turned by changes that keep the meaning")
    rows = dict(record["flips"]) | {"emoji decide neutral words (right)": record["emoji"]["all"]}
    rows |= {f"CheckList INV, {name}": cell for name, cell in record.get("invariance", {}).items()}
    for name, cell in rows.items():
        shown.add_row(name, str(cell["n"]), f"{cell['share']:.1%} [{cell['low']:.1%}, {cell['high']:.1%}]")
    return shown


def measured(analyzer: Analyzer, inv: Path | None = None) -> dict[str, Any]:
    """Everything, as one record."""
    texts = drawn_posts()
    provenance = next(iter(analyzer.analyze_batch([Sample(text="hello")], mode="fast"))).provenance
    record: dict[str, Any] = {
        "date": today(),
        "model": provenance.model,
        "model_hash": provenance.model_hash,
        "posts": len(texts),
        "flips": flips(analyzer, texts),
        "emoji": emoji_table(analyzer),
    }
    return record if inv is None else record | {"invariance": invariance(analyzer, inv)}


def main() -> None:
    """Measure, print, and save if asked."""
    parser = program(__doc__, NAME)
    parser.add_argument("--model", default="default")
    parser.add_argument("--inv", type=Path, help="CheckList's invariance tests, as one JSON object a line")
    options = parser.parse_args()
    record = measured(Analyzer.from_pretrained(options.model), options.inv)
    tell(NAME, record, table(record), options)


if __name__ == "__main__":
    main()
