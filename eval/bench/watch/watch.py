"""How seldom a watch cries wolf, how soon it tells a change, and what it takes: drawn streams, no model.

    python eval/bench/watch/watch.py [--streams 200] [--days 30] [--posts 1000000] [--json] [--save]

Each stream is one group of posts over some weeks, in windows of an hour: volume and negative share swing over the day,
the share of each hour is drawn from a beta distribution (posts vary more than coins do), each stream has its own
level. Streams that do not change show false alarms; in the others the share rises by 15 points at some hour.
`wandering` streams break what the bound assumes: their level drifts as a random walk that returns, over days.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from rich.table import Table

from eval.bench.keeping import circumstances, program, tell
from eval.bench.speed.memory import peak_memory_mb, resident_mb
from hybrid_mmsa.types import LABELS
from hybrid_mmsa.watch import Observation, Store, Watch, WatchSettings
from hybrid_mmsa.watch.changes import Series

HOUR = 3600
LEARN = 48
SHIFT = 0.15
GROUPS = 20
"""Groups that the stated rate is of: each with two series, as a watch has."""
A_WEEK = 0.1
STAKE = A_WEEK / (7 * 24) / (2 * GROUPS)
LARGE = 1 / 200
"""A stake at which false alarms are many enough to be counted."""


def stream(chance: np.random.Generator, days: int, change: int | None, *, wanders: bool = False) -> Iterator[Any]:
    """Start, share and size of each window; from hour `change` on the share is higher by `SHIFT`."""
    base, phase = chance.uniform(0.1, 0.5), chance.uniform(0, 2 * np.pi)
    concentration, drift = 1 / 0.02 - 1, 0.0
    for hour in range(24 * days):
        drift = 0.97 * drift + chance.normal(0, 0.012) if wanders else 0.0
        size = int(chance.poisson(40 * (1 + 0.7 * np.sin(2 * np.pi * hour / 24))))
        if not size:
            continue
        share = base + drift + min(0.06, base / 2) * np.cos(2 * np.pi * hour / 24 + phase)
        share = float(np.clip(share + (SHIFT if change is not None and hour >= change else 0), 0.01, 0.99))
        negative = chance.binomial(size, chance.beta(share * concentration, (1 - share) * concentration))
        yield HOUR * hour, negative / size, size


def false_alarms(streams: int, days: int, stake: float, seed: int, *, wanders: bool = False) -> dict[str, float]:
    """False alarms on streams that do not change, and how many the stakes allow on average."""
    found = spent = 0.0
    for number in range(streams):
        chance, series = np.random.default_rng([seed, number]), Series(learn=LEARN)
        for start, share, size in stream(chance, days, None, wanders=wanders):
            spent += stake * series.bets
            found += series.add(start, share, size, stake) is not None
    return {"streams": streams, "days": days, "stake": stake, "alarms": found, "allowed": round(spent, 4)}


def delays(streams: int, seed: int) -> dict[str, Any]:
    """Hours from a rise by `SHIFT` to its alarm, counted to the end of the window that raised it."""
    hours: list[float] = []
    early = missed = 0
    for number in range(streams):
        chance, series = np.random.default_rng([seed, number]), Series(learn=LEARN)
        change = int(chance.integers(10 * 24, 11 * 24))
        for start, share, size in stream(chance, 20, change):
            if series.add(start, share, size, STAKE) is not None:
                if start < HOUR * change:
                    early += 1
                    continue
                hours.append(start / HOUR - change + 1)
                break
        else:
            missed += 1
    quantiles = {f"p{q}": float(np.percentile(hours, q)) for q in (10, 50, 90)}
    return {"streams": streams, "points": 100 * SHIFT, "hours": quantiles, "missed": missed, "before_the_change": early}


def many_posts(posts: int) -> dict[str, Any]:
    """Memory and time of a watch over so many posts of 20 groups, state on disk, a tenth of them late or repeated."""
    chance, seen = np.random.default_rng(0), []
    with TemporaryDirectory() as folder, Store(Path(folder) / "watch.db") as store:
        alerts: list[object] = []
        watching = Watch(store, WatchSettings(), alerts.append)
        vectors = chance.standard_normal((1000, 32)).astype(np.float32)
        begin, every = time.process_time(), posts // 10
        for number in range(posts):
            at = number * 0.6 - (5000 * chance.random() if number % 10 == 0 else 0)  # 6,000 posts an hour
            watching.observe(
                Observation(
                    time=1.8e9 + at,
                    id=str(number - 7 if number % 50 == 0 else number),
                    label=LABELS[number * 7919 % 3],
                    group=f"group {number % GROUPS}",
                    deferred=number % 5 == 0,
                    vector=lambda n=number: vectors[n % 1000],  # type: ignore[misc]
                )
            )
            if number % 1000 == 999:
                watching.commit()
            if number % every == every - 1:
                seen.append({"posts": number + 1, "memory_mb": round(resident_mb(), 1)})
        watching.finish()
        seconds = time.process_time() - begin
        size = sum(file.stat().st_size for file in Path(folder).iterdir()) / 1e6
        return {
            "course": seen,
            "processor_microseconds_a_post": round(1e6 * seconds / posts, 1),
            "state_mb": round(size, 2),
            "peak_memory_mb": round(peak_memory_mb(), 1),
            "tallies": store.tallies(),
            "alerts": len(alerts),
        }


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The record."""
    return {
        **circumstances(["numpy"], threads=1),
        "stated_per_week": A_WEEK,
        "groups": GROUPS,
        "stated": false_alarms(options.streams, options.days, STAKE, 1),
        "large_stake": false_alarms(options.streams, options.days, LARGE, 2),
        "wandering": false_alarms(options.streams, options.days, LARGE, 3, wanders=True),
        "shift": delays(options.streams, 4),
        "many_posts": many_posts(options.posts),
    }


def table(record: dict[str, Any]) -> Table:
    """What the record says, a row per question."""
    shown = Table(
        "question", "found", title=f"{record['stated']['streams']} streams of {record['stated']['days']} days"
    )
    for name in ("stated", "large_stake", "wandering"):
        row = record[name]
        shown.add_row(f"false alarms, {name} (allowed on average)", f"{row['alarms']:.0f} ({row['allowed']:.2f})")
    shift = record["shift"]
    shown.add_row(
        "hours to tell 15 points, median (p10, p90)", "{p50:.0f} ({p10:.0f}, {p90:.0f})".format(**shift["hours"])
    )
    shown.add_row("rises not told in ten days", str(shift["missed"]))
    many = record["many_posts"]
    first, last = many["course"][0], many["course"][-1]
    shown.add_row(
        f"memory after {first['posts']:,} and {last['posts']:,} posts, MB",
        f"{first['memory_mb']} and {last['memory_mb']}",
    )
    shown.add_row("processor time a post, µs", f"{many['processor_microseconds_a_post']}")
    return shown


def main() -> None:
    """Measure, print, save where asked."""
    parser = program(__doc__, "watch")
    parser.add_argument("--streams", type=int, default=200, help="streams of each kind")
    parser.add_argument("--days", type=int, default=30, help="length of the streams that do not change")
    parser.add_argument("--posts", type=int, default=1_000_000, help="posts of the long run")
    options = parser.parse_args()
    record = measure(options)
    tell("watch", record, table(record), options)


if __name__ == "__main__":
    main()
