"""One model through two backends: whether they give the same labels, and what each takes. It trains nothing.

    python eval/bench/reasoner/backends.py [FIRST SECOND] [--posts 991] [--server] [--cpu-time] [--json] [--save]

Both are asked about the words of all everyday posts (`eval/everyday`), then in turns, a post at a time, for a label and
for a verdict with its reasons; a process of its own opens each and tells its peak memory. Of a llama.cpp reasoner the
time inside of llama.cpp is told as well, beside what llama.cpp alone takes for prompts of some lengths. `--server`
starts llama.cpp's own server over the same file and LoRA, and asks it about some posts (package `xllamacpp`).

Times are of the wall, on two threads. On a machine that has other work they say little: `--cpu-time` measures this
process's own processor time instead, on one thread.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import llama_cpp
import numpy as np
import torch
from numpy.typing import NDArray
from rich.table import Table

from eval.bench.keeping import circumstances, program, tell
from eval.bench.reasoner.asking import asked, patient
from eval.bench.reasoner.everyday import POSTS, samples_of
from eval.bench.reasoner.figures import rationales, spread
from eval.bench.reasoner.llama_server import served
from eval.bench.reasoner.reasoner import THREADS, fresh_process
from hybrid_mmsa import metrics
from hybrid_mmsa.reasoning import Reasoner, open_reasoner
from hybrid_mmsa.reasoning.backends.gguf_context import GgufContext
from hybrid_mmsa.reasoning.backends.llama_cpp import LlamaCppReasoner
from hybrid_mmsa.types import LABELS, Sample, Verdict, posteriors

PACKAGES = ("llama-cpp-python", "torch", "transformers")
LENGTHS = (16, 32, 64, 128, 256)
REPEATS = 3
TIMED, SERVED = 20, 50
"""Posts asked one by one, and posts that the server is asked about."""
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Clock:
    """How time is taken.

    Attributes:
        name: What a second is one of.
        threads: Of the processor, which the reasoners may use.
        now: Seconds since some moment.
    """

    name: str
    threads: int
    now: Callable[[], float]


WALL = Clock("wall", THREADS, time.perf_counter)
CPU = Clock("processor time of this process", 1, time.process_time)


def main() -> None:
    """Measure, print, save where asked."""
    parser = program(__doc__, "backends")
    parser.add_argument("first", nargs="?", default="smol", help="a reasoner's name, folder or configuration")
    parser.add_argument("second", nargs="?", default="smol-llama", help="the same model by another backend")
    parser.add_argument("--posts", type=int, help="so many everyday posts, evenly taken; all if not given")
    parser.add_argument("--server", action="store_true", help="also ask llama.cpp's server, with the second's file")
    parser.add_argument("--cpu-time", action="store_true", help="processor time on one thread, for a busy machine")
    options = parser.parse_args()
    clock = CPU if options.cpu_time else WALL
    result = record(options.first, options.second, options.posts, server=options.server, clock=clock)
    tell("backends", result, table(result), options)


def record(
    first: str, second: str, most: int | None = None, *, server: bool = False, clock: Clock | None = None
) -> dict[str, Any]:
    """The run as numbers, with what is needed to read them."""
    clock = clock or WALL
    torch.set_num_threads(clock.threads)
    opened = {name: _opened(name, clock) for name in (first, second)}
    rows = [json.loads(line) for line in POSTS.read_text(encoding="utf-8").splitlines()]
    rows = rows if most is None else rows[:: max(1, len(rows) // most)][:most]
    samples = samples_of(rows)
    gold = np.array([LABELS.index(row["label"]) for row in rows])
    said = {name: posteriors(asked(reasoner, samples, rationale=False)) for name, reasoner in opened.items()}
    found = circumstances(PACKAGES, clock.threads) | {
        "clock": clock.name,
        "posts": len(rows),
        "agreement": agreement(said[first], said[second]),
        "accuracy": {name: _accuracy(gold, values) for name, values in said.items()},
    }
    some = samples[:: max(1, len(samples) // TIMED)][:TIMED]
    found["one_by_one"] = one_by_one(opened, some, clock)
    llama = opened[second]
    if isinstance(llama, LlamaCppReasoner):
        found["llama_cpp_alone"] = alone(llama._context, clock)
    if server and isinstance(llama, LlamaCppReasoner):
        step = max(1, len(samples) // SERVED)
        here = said[second][::step][:SERVED]
        found["server"] = through_server(llama, samples[::step][:SERVED], here, clock)
    found["processes"] = {name: fresh_process(name, some, clock.threads) for name in opened}
    return found


def _opened(name: str, clock: Clock) -> Reasoner:
    """A reasoner that takes its time, on the clock's threads."""
    reasoner = patient(open_reasoner(name))
    if isinstance(reasoner, LlamaCppReasoner):
        llama_cpp.llama_set_n_threads(reasoner._context.llama.ctx, clock.threads, clock.threads)
    return reasoner


def agreement(one: Floats, other: Floats) -> dict[str, Any]:
    """Share of equal labels with Wilson's interval, and how far the most moved probability of a post is moved."""
    same = one.argmax(axis=1) == other.argmax(axis=1)
    moved = np.abs(one - other).max(axis=1)
    far = {"median": float(np.median(moved)), "p95": float(np.quantile(moved, 0.95)), "most": float(moved.max())}
    return {"same_label": asdict(metrics.wilson(int(same.sum()), len(same))), "moved": far}


def one_by_one(opened: dict[str, Reasoner], samples: Sequence[Sample], clock: Clock) -> dict[str, Any]:
    """Seconds of a label and of a verdict with its reasons, the reasoners in turns, and what llama.cpp itself takes.

    The label is asked for first; the reasons then begin with a post that was just read, as they always do.
    """
    taken: dict[str, dict[str, list[float]]] = {name: {"label": [], "reasons": []} for name in opened}
    inside: dict[str, dict[str, list[tuple[int, float]]]] = {name: {"label": [], "reasons": []} for name in opened}
    said: dict[str, list[Verdict]] = {name: [] for name in opened}
    for reasoner in opened.values():
        reasoner.reason(samples[-1:], rationale=True)  # the first answer takes longer than the others
    for sample in samples:
        for name, reasoner in opened.items():
            for kind in taken[name]:
                with _watched(reasoner, clock) as tally:
                    start = clock.now()
                    (verdict,) = reasoner.reason([sample], rationale=kind == "reasons")
                    taken[name][kind].append(clock.now() - start)
                inside[name][kind].append((tally["tokens"], tally["seconds"]))
            said[name].append(verdict)
    return {
        name: {
            "seconds": {kind: spread(values) for kind, values in kinds.items()},
            "inside_llama_cpp": _inside(inside[name]),
            "rationales": rationales(samples, said[name]),
        }
        for name, kinds in taken.items()
    }


def _inside(kinds: dict[str, list[tuple[int, float]]]) -> dict[str, Any]:
    """Tokens that were read for a post and the seconds that reading took, in the mean; nothing for another backend."""
    found = {}
    for kind, pairs in kinds.items():
        tokens, seconds = np.array(pairs, np.float64).T
        if tokens.any():
            found[kind] = {"tokens": float(tokens.mean()), "seconds": float(seconds.mean())}
    return found


@contextmanager
def _watched(reasoner: Reasoner, clock: Clock) -> Iterator[dict[str, Any]]:
    """Counts tokens and seconds of llama.cpp's own work inside."""
    tally: dict[str, Any] = {"tokens": 0, "seconds": 0.0}
    if not isinstance(reasoner, LlamaCppReasoner):
        yield tally
        return
    context: Any = reasoner._context
    decode = context._decode

    def timed(tokens: list[int]) -> None:
        start = clock.now()
        decode(tokens)
        tally["seconds"] += clock.now() - start
        tally["tokens"] += len(tokens)

    context._decode = timed
    try:
        yield tally
    finally:
        del context._decode


def alone(context: GgufContext, clock: Clock) -> dict[str, Any]:
    """Seconds that one call of llama.cpp takes for a prompt of some tokens, with the LoRA that is set, and without."""
    found: dict[str, Any] = {}
    adapter = context._adapter
    for name, path in {"with_lora": adapter, "without": None}.items():
        context.use_adapter(path)
        found[name] = {str(length): _call(context, length, clock) for length in LENGTHS}
    context.use_adapter(adapter)
    return found


def _call(context: GgufContext, length: int, clock: Clock) -> dict[str, float]:
    words = np.random.default_rng(length).integers(100, context.llama.n_vocab() - 100, length).tolist()
    tokens = (llama_cpp.llama_token * length)(*words)
    seconds = []
    for _ in range(REPEATS):
        context._forget()
        start = clock.now()
        batch = llama_cpp.llama_batch_get_one(tokens, length)
        batch.pos = (llama_cpp.llama_pos * length)(*range(length))
        context._check(llama_cpp.llama_decode(context.llama.ctx, batch), "read the prompt")
        context.logits()
        seconds.append(clock.now() - start)
    context._forget()
    median = float(np.median(seconds))
    return {"seconds": median, "tokens_per_second": length / median}


def through_server(llama: LlamaCppReasoner, samples: Sequence[Sample], here: Floats, clock: Clock) -> dict[str, Any]:
    """What llama.cpp's server answers over HTTP, with the same file, LoRA and prompt, beside what was answered here."""
    with ExitStack() as stack:
        reasoner = stack.enter_context(served(llama, clock.threads))
        verdicts, seconds = [], []
        for sample in samples:
            start = time.perf_counter()
            verdicts += reasoner.reason([sample])
            seconds.append(time.perf_counter() - start)
        there = posteriors(verdicts)
        told, times = [], []
        for sample in samples[:TIMED]:
            start = time.perf_counter()
            told += reasoner.reason([sample], rationale=True)
            times.append(time.perf_counter() - start)
    return {
        "posts": len(samples),
        "agreement": agreement(here, there),
        "seconds": {"label": spread(seconds), "reasons": spread(times)},
        "rationales": rationales(samples[:TIMED], told),
    }


def _accuracy(gold: NDArray[np.int64], values: Floats) -> dict[str, float]:
    counts = metrics.confusion(gold, values.argmax(axis=1), len(LABELS))
    return asdict(metrics.bootstrap_labels(metrics.accuracy, counts))


def table(result: dict[str, Any]) -> Table:
    """The main figures, one row each."""
    shown = Table("figure", "value", title="one model, two backends")
    for where, found in {"": result, "server, ": result.get("server")}.items():
        if found:
            same, moved = found["agreement"]["same_label"], found["agreement"]["moved"]
            shown.add_row(
                f"{where}same label, {found['posts']} posts", "{value:.3f} [{low:.3f}, {high:.3f}]".format(**same)
            )
            shown.add_row(
                f"{where}a probability moved by", "median {median:.4f}, p95 {p95:.4f}, most {most:.3f}".format(**moved)
            )
    for name, found in result["one_by_one"].items():
        for kind, seconds in found["seconds"].items():
            shown.add_row(f"{name}: {kind}, s", "median {median:.3f}, p95 {p95:.3f}".format(**seconds))
        for kind, part in found["inside_llama_cpp"].items():
            shown.add_row(f"{name}: {kind}, inside llama.cpp", "{tokens:.0f} tokens, {seconds:.3f} s".format(**part))
    for name, found in result["processes"].items():
        shown.add_row(f"{name}: peak memory", f"{found['peak_memory_mb']:.0f} MB")
    for name, lengths in result.get("llama_cpp_alone", {}).items():
        told = ", ".join(f"{length}: {1000 * call['seconds']:.0f}" for length, call in lengths.items())
        shown.add_row(f"llama.cpp alone, {name}, ms by tokens", told)
    return shown


if __name__ == "__main__":
    main()
