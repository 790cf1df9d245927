"""Many small trials of one family: what became of each, and what it cost. Knows nothing of what is tried.

    python -m eval.bench.hardening.trials FAMILY FIRST LAST   (a worker: prints a line of JSON before and after each)

A trial is a number: the same number is the same input, here and elsewhere. Trials run in a worker process. Where it
dies, its last trial is counted as a crash; where it is silent too long, it is ended, and its last trial counted as a
hang; the next worker goes on behind it. In a worker every warning is an error, so that one that escapes is seen.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import resource
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from threading import Timer
from time import perf_counter, process_time
from typing import Any

from hybrid_mmsa.errors import HybridError

__all__ = ["Attempt", "Trial", "figures", "run_trials"]

ROOT = Path(__file__).resolve().parents[3]
SILENCE, START = 600.0, 1200.0
"""Seconds after which a trial that says nothing is a hang; what a worker may take before its first."""
ADDRESS_SPACE = 16 * 2**30
"""Bytes that a worker may map at most: what asks for more is told so, and the machine is spared."""
UNTYPED, CRASH, HANG = "untyped error", "crash", "hang"
FAULTS = (UNTYPED, CRASH, HANG)
TOP = 3
LAST_WORDS = 300
"""Bytes that are kept of what a worker printed before it died, and of an error's message."""
PEAK_RESET = "5"
"""What makes the kernel forget a process's highest memory use (https://man7.org/linux/man-pages/man5/proc.5.html)."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One trial, ready to be run.

    Attributes:
        kind: What kind of input it is.
        run: Tries it, and says in a word what came out; typed errors may be raised.
    """

    kind: str
    run: Callable[[], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One trial that was run.

    Attributes:
        number: Which.
        kind: See `Attempt`.
        outcome: A word of the attempt, the name of one of our errors, or one of `FAULTS`.
        detail: What an error that is none of ours said.
        seconds: Time of a processor.
        waited: Time on the wall.
        megabytes: Memory beyond what the worker held before.
    """

    number: int
    kind: str
    outcome: str
    detail: str = ""
    seconds: float = 0.0
    waited: float = 0.0
    megabytes: float = 0.0


def run_trials(family: str, count: int) -> Iterator[Trial]:
    """Run the trials 0 to `count` - 1 of a family, in order.

    Args:
        family: The name of a module beside this one, with a function `prepare(folder)` that returns number → `Attempt`.
        count: How many.
    """
    number = 0
    while number < count:
        for trial in _worker(family, number, count):
            yield trial
            number = trial.number + 1


def _worker(family: str, first: int, last: int) -> Iterator[Trial]:
    """The trials of one worker process, until it is through or dies."""
    command = [sys.executable, "-m", "eval.bench.hardening.trials", family, str(first), str(last)]
    # Large blocks go back to the system at once, so that one trial's memory is not hidden in what another left behind.
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "MALLOC_MMAP_THRESHOLD_": "131072", "OMP_NUM_THREADS": "1"}
    begun: dict[str, Any] | None = None
    silent, patience = False, START
    # What decoders print goes into a file: a pipe that nobody reads would fill, and hold the worker.
    with (
        TemporaryFile() as printed,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=printed, text=True, env=environment) as process,
    ):
        told = process.stdout
        while told is not None:
            timer = Timer(patience, process.kill)
            timer.start()
            line = told.readline()
            silent = not timer.is_alive()
            timer.cancel()
            if not line:
                break
            said, patience = json.loads(line), SILENCE
            if "outcome" in said:
                yield Trial(**said)
                begun = None
            else:
                begun = said
        process.wait()
        printed.seek(max(0, printed.seek(0, os.SEEK_END) - LAST_WORDS))
        complaint = printed.read().decode(errors="replace")
    if begun is not None:
        outcome = HANG if silent else CRASH
        yield Trial(**begun, outcome=outcome, detail=f"exit code {process.returncode} {complaint}")
    elif process.returncode:
        raise RuntimeError(f"the worker of {family} did not come to its trials: {complaint}")


def work(family: str, first: int, last: int) -> None:
    """What a worker does: run trials, and print what became of each."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    with os.fdopen(os.dup(1), "w", buffering=1) as out, TemporaryDirectory() as folder:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whatever libraries print is no report
        prepare = importlib.import_module(f"eval.bench.hardening.{family}").prepare
        attempts: Callable[[int], Attempt] = prepare(Path(folder))
        warnings.simplefilter("error")
        for number in range(first, last):
            attempt = attempts(number)
            out.write(json.dumps({"number": number, "kind": attempt.kind}) + "\n")
            out.write(json.dumps(asdict(_run(number, attempt))) + "\n")


def _run(number: int, attempt: Attempt) -> Trial:
    gc.collect(0)
    Path("/proc/self/clear_refs").write_text(PEAK_RESET, encoding="ascii")
    before, begun, started = _memory("VmRSS"), process_time(), perf_counter()
    detail = ""
    try:
        outcome = attempt.run()
    except HybridError as error:
        outcome = type(error).__name__
    except Exception as error:
        outcome, detail = UNTYPED, f"{type(error).__name__}: {error}"[:LAST_WORDS]
    return Trial(
        number=number,
        kind=attempt.kind,
        outcome=outcome,
        detail=detail,
        seconds=round(process_time() - begun, 4),
        waited=round(perf_counter() - started, 4),
        megabytes=round((_memory("VmHWM") - before) / 1e6, 1),
    )


def _memory(field: str) -> int:
    """A figure of this process in bytes."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(next(line for line in status.splitlines() if line.startswith(field)).split()[1])


def figures(trials: Sequence[Trial]) -> dict[str, Any]:
    """Counts by outcome and kind, the slowest and the largest, and every fault."""
    kinds: dict[str, Counter[str]] = {}
    for trial in trials:
        kinds.setdefault(trial.kind, Counter())[trial.outcome] += 1
    return {
        "trials": len(trials),
        "outcomes": dict(Counter(trial.outcome for trial in trials).most_common()),
        "kinds": {kind: dict(found.most_common()) for kind, found in sorted(kinds.items())},
        "slowest": [_told(trial) for trial in sorted(trials, key=lambda trial: -trial.seconds)[:TOP]],
        "largest": [_told(trial) for trial in sorted(trials, key=lambda trial: -trial.megabytes)[:TOP]],
        "faults": [asdict(trial) for trial in trials if trial.outcome in FAULTS],
    }


def _told(trial: Trial) -> dict[str, Any]:
    return {name: value for name, value in asdict(trial).items() if name != "detail"}


if __name__ == "__main__":
    work(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
