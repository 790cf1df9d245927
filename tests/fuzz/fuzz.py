#!/usr/bin/env python3
"""Tries new inputs on the targets, led by the code that they reach (atheris); meets one input again without it.

Usage: fuzz.py guided [--seconds N] [TARGET ...]    begins with tests/fuzz/corpus and what build/fuzz/corpus kept
       fuzz.py again TARGET FILE
"""

import argparse
import os
import subprocess
import sys
import time
import warnings
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]
os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when onnxruntime and numpy are imported
CORPUS = Path(__file__).resolve().parent / "corpus"
KEPT, FAILED = ROOT / "build" / "fuzz" / "corpus", ROOT / "build" / "fuzz" / "failed"
MOST_MEGABYTES, MOST_SECONDS = 3_000, 20
"""Of the whole process, which keeps what it found; of one input."""


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    guided = commands.add_parser("guided")
    guided.add_argument("targets", nargs="*", metavar="TARGET")
    guided.add_argument("--seconds", type=int, default=60, help="for each target")
    again = commands.add_parser("again")
    again.add_argument("target", metavar="TARGET")
    again.add_argument("file", type=Path)
    one = commands.add_parser("one")
    one.add_argument("target")
    one.add_argument("seconds", type=int)
    given = parser.parse_args()
    warnings.simplefilter("error")  # as in the tests
    if given.command == "again":
        from targets import meet

        print(meet(given.target, given.file.read_bytes()))
    elif given.command == "one":
        try_one(given.target, given.seconds)
    else:
        known = sorted(folder.name for folder in CORPUS.iterdir())
        if wrong := set(given.targets) - set(known):
            sys.exit(f"no target {', '.join(sorted(wrong))}; there are {', '.join(known)}")
        sys.exit(not all([guide(target, given.seconds) for target in given.targets or known]))


def guide(target: str, seconds: int) -> bool:
    """Try a target in a process of its own, which a crash ends; whether nothing failed."""
    for folder in (KEPT / target, FAILED):
        folder.mkdir(parents=True, exist_ok=True)
    begun = time.time()
    print(f"\n{target}: {seconds} s", flush=True)
    done = subprocess.run([sys.executable, __file__, "one", target, str(seconds)], check=False)
    for path in sorted(FAILED.glob(f"{target}-*")):
        if path.stat().st_mtime >= begun:
            again = f"{sys.executable} tests/fuzz/fuzz.py again {target} {path.relative_to(ROOT)}"
            print(f"meet it again: {again}\nonce it is mended, keep the file in tests/fuzz/corpus/{target}/")
    if done.returncode:
        print(f"{target} ended with {done.returncode}")
    return not done.returncode


def try_one(target: str, seconds: int) -> None:
    """Try inputs on one target until the time is over; ends the process."""
    import atheris

    with redirect_stderr(StringIO()), atheris.instrument_imports(include=["hybrid_mmsa"]):  # it names every module
        from targets import TARGETS, meet

        for path in sorted((CORPUS / target).iterdir()):
            meet(target, path.read_bytes())  # what is imported late is watched as well
    flags = {
        "max_total_time": seconds,
        "max_len": TARGETS[target].longest,
        "rss_limit_mb": MOST_MEGABYTES,
        "timeout": MOST_SECONDS,
        "artifact_prefix": f"{FAILED}/{target}-",
        "print_final_stats": 1,
        "verbosity": 0,
        "len_control": 20,
    }
    words = [f"-{name}={value}" for name, value in flags.items()]
    atheris.Setup(
        [sys.argv[0], *words, str(KEPT / target), str(CORPUS / target)], lambda data: meet(target, data) and None
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
