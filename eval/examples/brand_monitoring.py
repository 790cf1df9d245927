"""Brand monitoring: posts stream in, and out come the mood per brand and week, an alarm, and what to read first.

    python eval/examples/brand_monitoring.py

The posts are drawn here; in earnest they come from a file (`hybrid_mmsa.data.read_posts`) or a queue.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

import hybrid_mmsa
from hybrid_mmsa import Analysis, Analyzer, RowError
from hybrid_mmsa.metrics import Interval, wilson

SAMPLES = Path(hybrid_mmsa.__file__).parent / "samples"
PRAISE = (
    "Love my new {b} headset, the sound is wonderful",
    "{b} support was so kind today, thank you 😍",
    "Best {b} yet!",
)
BLAME = ("My {b} broke again, so disappointed 😡", "Worst update ever, {b} is useless now", "{b} lost my order, awful")
NOTICE = (
    "{b} opens a shop at the station on Monday",
    "The {b} catalogue has 48 pages",
    "Which {b} fits a desk of 60 cm?",
)
# How many of twenty posts praise and blame, by brand and week: one brand has a bad second week.
MOODS = {("Aster", 1): (12, 3), ("Aster", 2): (3, 14), ("Birch", 1): (11, 4), ("Birch", 2): (12, 3)}


def posts() -> Iterator[dict[str, object]]:
    """Rows as a feed has them; one of them is broken."""
    chance = random.Random(0)
    for (brand, week), (praise, blame) in MOODS.items():
        for n in range(20):
            said = PRAISE if n < praise else BLAME if n < praise + blame else NOTICE
            text = chance.choice(said).format(b=brand) + f" {chance.choice(('#tech', '', '@shop'))}"
            time = f"2026-03-{7 * week + n % 7:02d}"
            yield {"id": f"{brand}-{week}-{n}", "text": text, "group": brand, "time": time}
    yield {"id": "sarcasm", "text": "Oh great, Aster ate my files. Just love it 🙄", "image": SAMPLES / "espresso.jpg"}
    yield {"id": "broken", "image": "nowhere.jpg"}


@dataclass(frozen=True)
class Findings:
    """Negative shares by brand and week, brands that fell, posts to read (the likeliest mistakes first), bad rows."""

    shares: dict[tuple[str, str], Interval]
    alarms: list[str]
    queue: list[tuple[float, str, Analysis]]
    failed: list[RowError]


def monitor() -> Findings:
    """Read the feed once."""
    negative: Counter[tuple[str, str]] = Counter()
    seen: Counter[tuple[str, str]] = Counter()
    queue: list[tuple[float, str, Analysis]] = []
    failed: list[RowError] = []
    rows = {str(row["id"]): row for row in posts()}
    for answer in Analyzer.from_pretrained().stream(rows.values(), explain="none"):
        if isinstance(answer, RowError):
            failed.append(answer)
            continue
        row = rows[str(answer.id)]
        if "group" in row:
            key = (str(row["group"]), "week 1" if str(row["time"]) < "2026-03-14" else "week 2")
            seen[key] += 1
            negative[key] += answer.sentiment.label == "negative"
        if answer.needs_review:
            queue.append((-(answer.route.p_error or 0), str(row["text"]), answer))
    shares = {key: wilson(negative[key], seen[key]) for key in sorted(seen)}
    brands = sorted({brand for brand, _ in shares})
    alarms = [b for b in brands if shares[b, "week 2"].low > shares[b, "week 1"].high]
    return Findings(shares, alarms, sorted(queue, key=lambda q: q[0]), failed)


def main() -> None:
    """Print what a person on duty wants to see."""
    found, console = monitor(), Console(highlight=False, soft_wrap=True)
    for (brand, week), share in found.shares.items():
        console.print(f"{brand} {week}: {share.value:.0%} negative ({share.low:.0%} to {share.high:.0%})")
    for brand in found.alarms:
        console.print(f"ALARM: {brand} is worse than last week by more than chance")
    for _, text, answer in found.queue[:3]:
        console.print(f"read: {text!r}: {answer.sentiment.label}? {', '.join(answer.route.reasons)}", markup=False)
    for error in found.failed:
        console.print(f"not read: {error.id}: {error.error}")


if __name__ == "__main__":
    main()
