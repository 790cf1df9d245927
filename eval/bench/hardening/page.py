"""The record of a hardening run → `eval/HARDENING.md`, every figure of it. Measures nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from eval.bench.hardening.trials import FAULTS
from eval.bench.keeping import ROOT

__all__ = ["PAGE", "page"]

PAGE = ROOT / "eval" / "HARDENING.md"
TITLES = {
    "pictures": "Pictures",
    "texts": "Texts",
    "files": "Files of posts",
    "artefacts": "Folders of adapters, LoRAs and encoders",
    "servers": "Servers that misbehave",
}
WHAT = {
    "pictures": "All eight formats, cut, changed and made to lie about their sizes, read as an encoder gets them.",
    "texts": "Posts of hostile characters, patterns and markup, some of them longer than is read, answered whole.",
    "files": "CSV, JSON, JSON lines, Excel, Parquet and gzip with hostile cells and damage, read to their ends.",
    "artefacts": "One file or one field changed, in half of the trials with hashes that fit again; opened and used.",
    "servers": "A reasoner's server that is slow, endless, broken, busy or wrong, asked once with a time limit of 1 s.",
}


def page(record: Mapping[str, Any]) -> str:
    """The page, in Markdown."""
    lines = [
        "# Hostile input, and how it ends",
        "",
        "Written by `eval/bench/hardening/hardening.py --save`, from the record",
        f"`eval/bench/results/hardening-{record['date']}.json`; do not edit. The same seeds give the same inputs.",
        "Every trial must end in an answer or in one of the errors of `hybrid_mmsa.errors`. Trials run in worker",
        "processes, so that a crash or a hang is counted. Seconds are those of a processor; memory is what a trial",
        "took beyond what its process held before.",
        "",
        *_overview(record),
    ]
    for family, title in TITLES.items():
        if family in record:
            lines += ["", f"## {title}", "", WHAT[family], "", *_family(record[family], by_kind=family != "servers")]
    return "\n".join([*lines, *_long_runs(record), *_traces(record)]) + "\n"


def _overview(record: Mapping[str, Any]) -> list[str]:
    rows = []
    for family, title in TITLES.items():
        if found := record.get(family):
            bad = sum(found["outcomes"].get(fault, 0) for fault in FAULTS)
            slow, large = found["slowest"][0], found["largest"][0]
            time = f"{slow['waited']:.1f} (wall)" if family == "servers" else f"{slow['seconds']:.2f}"
            seed = str(found["seed"] or "none")
            rows.append((title, f"{found['trials']:,}", str(bad), time, f"{large['megabytes']:.0f}", seed))
    heads = ("", "trials", "neither answer nor our error", "slowest, s", "largest, MB", "seed")
    return _table(heads, rows)


def _family(found: Mapping[str, Any], *, by_kind: bool) -> list[str]:
    if not by_kind:
        names = [f"{kind}: {outcome}" for kind, outcomes in found["kinds"].items() for outcome in outcomes]
        return ["; ".join(names) + "."]
    outcomes = list(found["outcomes"])
    rows = [(kind, *(f"{counts.get(name, 0):,}" for name in outcomes)) for kind, counts in found["kinds"].items()]
    slowest, largest = _told(found["slowest"], "seconds", "s"), _told(found["largest"], "megabytes", "MB")
    return [*_table(("", *outcomes), rows), "", f"Slowest: {slowest}. Largest: {largest}."]


def _told(trials: Iterable[Mapping[str, Any]], figure: str, unit: str) -> str:
    return "; ".join(f"{t['kind']} (no. {t['number']:,}, {t['outcome']}) {t[figure]:.2f} {unit}" for t in trials)


def _long_runs(record: Mapping[str, Any]) -> list[str]:
    lines = [says(record[name]) for name, says in LONG_RUNS.items() if name in record]
    return ["", "## Long runs", "", *lines] if lines else []


def _large_pictures(run: Mapping[str, Any]) -> str:
    return (
        f"- **Large pictures.** `batch` over {run['rows']} rows that name one PNG of {run['side']:,} × {run['side']:,} "
        f"pixels: {run['answered']} answered, at most {run['peak_megabytes']:.0f} MB, {run['seconds']:.0f} s."
    )


def _kills(run: Mapping[str, Any]) -> str:
    return (
        f"- **Kills.** A batch of {run['rows']:,} rows was killed {run['kills']} times (SIGKILL) and resumed each "
        f"time: {run['answers']:,} answers; {run['equal']:,} equal those of an unbroken run, "
        f"{run['equal_up_to_rounding']:,} do up to rounding (1e-4); files left over: {len(run['files_left'])}."
    )


def _threads(run: Mapping[str, Any]) -> str:
    return (
        f"- **Threads.** {run['threads']} threads on one analyzer: {run['equal']:,} of {run['posts']:,} answers equal "
        "those of one thread."
    )


def _soak(run: Mapping[str, Any]) -> str:
    return (
        f"- **Soak.** {run['minutes']:.0f} minutes, {run['posts']:,} mixed posts through one analyzer: from "
        f"{run['megabytes_first']:.0f} to {run['megabytes_last']:.0f} MB, at most {run['megabytes_highest']:.0f}; "
        f"slope {run['slope_megabytes_an_hour']:+.1f} MB an hour, "
        f"{run['slope_megabytes_a_thousand_posts']:+.3f} MB a thousand posts."
    )


LONG_RUNS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "large_pictures": _large_pictures,
    "kills": _kills,
    "many_threads": _threads,
    "soak": _soak,
}


def _traces(record: Mapping[str, Any]) -> list[str]:
    if not (traces := record.get("traces")):
        return []
    figures = ("exit_code", "sockets", "files_written", "stray_files", "files_at_home")
    rows = [(name, *(str(trace[figure]) for figure in figures)) for name, trace in traces["commands"].items()]
    where = "in a network namespace of its own" if traces["own_network_namespace"] else "with the machine's network"
    return [
        "",
        "## What commands open and write",
        "",
        f"Each ran {where} with an empty home, watched by {traces['watched_by']}. Stray files are those outside of the",
        "output that was asked for. `drift` ends with 1 where posts are shifted, as these are.",
        "",
        *_table(("command", *(figure.replace("_", " ") for figure in figures)), rows),
    ]


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    heads = list(heads)
    return [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads), *(f"| {' | '.join(row)} |" for row in rows)]
