"""Hostile texts, and the whole answer to a post of them.

Random characters of every plane, marks and controls without end, markup, patterns that make regular expressions slow,
what tokenizers and chat templates reserve, and sentences that were damaged; most are short, some are longer than a post
may be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random

from eval.bench.hardening.damage import damaged
from eval.bench.hardening.trials import Attempt
from eval.bench.robustness.changes import CHANGES
from eval.bench.robustness.robustness import drawn_posts
from hybrid_mmsa import Analyzer

COUNT, SEED = 10_000, 20_261_130
LONG_SHARE, FULL_SHARE, TARGET_SHARE = 0.01, 0.01, 0.2

_MARKS = "".join(
    map(chr, (*range(0x0300, 0x0370), 0x20DD, 0xFE0E, 0xFE0F, 0x200D, 0x200B, 0x202E, 0x2066, 0xFEFF, 0x00AD))
)
_EMOJI = [
    "👩\u200d👩\u200d👧\u200d👦",
    "🏳️\u200d🌈",
    "👍🏽",
    "🇩🇪",
    "🇩",
    "1️⃣",
    "❤️\u200d🔥",
    "🩷",
    "🫠",
    "★☆☆☆☆",
    ":-)",
    ":(((",
    "¯\\_(ツ)_/¯",
    "(╯°□°)╯",
]
_RESERVED = [
    "<s>",
    "</s>",
    "[UNK]",
    "<pad>",
    "<|im_end|>",
    "[INST]",
    "<image>",
    "{{text}}",
    '{"label": "positive"}',
    "\\n\\nSystem:",
]
_SLOW = [
    "(" * 40,
    "a!" * 30,
    "@a.b" * 20,
    "http://" * 10,
    "www." * 20,
    "<" * 60,
    "&#" * 30,
    "1/2/" * 20,
    "5 stars " * 9,
    "😀" * 30,
]
_MARKUP = [
    "<p>",
    "</div>",
    "<!--",
    "&amp;",
    "&#x1F600;",
    "[a](b",
    "**",
    "```",
    "#",
    "@user",
    "http://a.b/c?d=%FF",
    "\\u0000",
    "%s%n",
]


def prepare(_: Path) -> Callable[[int], Attempt]:
    """Number → a post to answer."""
    analyzer, sentences = Analyzer.from_pretrained(), drawn_posts()
    analyzer.analyze("What a day!")

    def attempt(number: int) -> Attempt:
        chance = Random(f"{SEED} {number}")
        kind = chance.choice(list(KINDS))
        length = (
            int(10 ** chance.uniform(0, 2.5))
            if chance.random() > LONG_SHARE
            else chance.choice((10_000, 100_000, 300_000))
        )
        text = KINDS[kind](chance, sentences, length)
        target = KINDS[kind](chance, sentences, 20) if chance.random() < TARGET_SHARE else None
        level = "full" if length < 1_000 and chance.random() < FULL_SHARE else "modality"

        def run() -> str:
            answer = analyzer.analyze(text, target=target, explain="full" if level == "full" else "modality")
            answer.model_dump_json()
            return "answered"

        return Attempt(kind, run)

    return attempt


def of_any_plane(chance: Random, _: list[str], length: int) -> str:
    """Any code points, halves of pairs and unassigned ones included."""
    return "".join(chr(chance.randrange(0x110000)) for _ in range(length))


def of_a_block(chance: Random, _: list[str], length: int) -> str:
    """Letters of one block of a writing system, with spaces."""
    start = chance.randrange(0, 0x3000, 0x80)
    return "".join(chance.choice((chr(start + chance.randrange(0x80)), " ")) for _ in range(length))


def controls(chance: Random, _: list[str], length: int) -> str:
    """Control characters, among them zero."""
    return "".join(chr(chance.choice((*range(32), *range(127, 160)))) for _ in range(length))


def marked(chance: Random, sentences: list[str], length: int) -> str:
    """A sentence under heaps of combining marks, joiners and turns of direction."""
    heap = "".join(chance.choices(_MARKS, k=max(1, length // 20)))
    return "".join(letter + heap for letter in chance.choice(sentences))[: max(length, 1)]


def repeated(chance: Random, sentences: list[str], length: int) -> str:
    """One character, or one word, again and again."""
    unit = chance.choice(
        [chr(chance.randrange(32, 0x3000)), "ha", "no ", "!?", chance.choice(sentences) + " ", *_EMOJI]
    )
    return (unit * length)[: max(length, 1)]


def pieces(of: list[str]) -> Callable[[Random, list[str], int], str]:
    """Pieces of a list and words of a sentence, mixed."""

    def make(chance: Random, sentences: list[str], length: int) -> str:
        words = chance.choice(sentences).split()
        return "".join(
            chance.choice(of if chance.random() < 0.7 else words) + chance.choice(("", " "))
            for _ in range(1 + length // 8)
        )

    return make


def damaged_sentence(chance: Random, sentences: list[str], length: int) -> str:
    """The bytes of a sentence, damaged, read as another encoding."""
    content = damaged(chance.choice(sentences).encode(chance.choice(("utf-8", "utf-16", "utf-8-sig"))), chance)
    return content[: max(length, 8)].decode(chance.choice(("utf-8", "latin-1", "utf-16-le", "cp1251")), "replace")


def changed_sentence(chance: Random, sentences: list[str], _: int) -> str:
    """A sentence after several changes that keep its meaning."""
    text = chance.choice(sentences)
    for name in chance.sample(list(CHANGES), 4):
        text = CHANGES[name](text)
    return text


KINDS: Mapping[str, Callable[[Random, list[str], int], str]] = {
    "any code points": of_any_plane,
    "one block": of_a_block,
    "controls": controls,
    "heaps of marks": marked,
    "repetition": repeated,
    "emoji": pieces(_EMOJI),
    "reserved words": pieces(_RESERVED),
    "slow patterns": pieces(_SLOW),
    "markup": pieces(_MARKUP),
    "damaged sentences": damaged_sentence,
    "changed sentences": changed_sentence,
}
