"""What the commands of the core open and write: every socket, and every file that is no output.

Where strace is installed, the kernel says so, of native code as well; else Python's audit events do. Where the kernel
allows it, a command runs in a network namespace of its own, without any network; its home is an empty folder.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image

from hybrid_mmsa import Analyzer
from hybrid_mmsa.testing import TinyEncoder, tiny_adapter

__all__ = ["COMMANDS", "Trace", "lay_out", "stray", "summary", "traced"]

ROOT = Path(__file__).resolve().parents[3]
ROWS = [
    {"id": "a", "text": "What a lovely day at the sea!", "image": "sea.png", "label": "positive"},
    {"id": "b", "text": "The queue was long and the food was cold.", "label": "negative"},
    {"id": "c", "text": "Parliament meets again on Tuesday.", "label": "neutral"},
]
# Left out: `doctor` imports whatever extras are installed, in processes of their own, to see if they work; `serve`
# listens on a socket; `models pull` fetches; what needs an extra.
COMMANDS: Mapping[str, Sequence[str]] = {
    "analyze": ["analyze", "What a day!", "--image", "sea.png", "--explain", "full", "--json"],
    "demo": ["demo"],
    "batch": ["batch", "posts.jsonl", "-o", "out/answers.jsonl", "--queue", "out/queue.jsonl"],
    "batch to a table": ["batch", "posts.jsonl", "-o", "out/answers.xlsx"],
    "embed": ["embed", "posts.jsonl", "-o", "out/vectors.parquet"],
    "models": ["models", "list"],
    "adapters": ["adapter", "list"],
    "inspect": ["adapter", "inspect", "default"],
    "router": ["route", "show"],
    "drift": ["route", "check", "many.jsonl"],
    "review": [
        "review",
        "export",
        "answers.jsonl",
        "--posts",
        "posts.jsonl",
        "--to",
        "csv",
        "--all",
        "-o",
        "out/review.csv",
    ],
    "page": ["explain", "page", "posts.jsonl", "-o", "out/page.html"],
    "measuring": ["eval", "posts", "posts.jsonl"],
    "key": ["new-key", "shop"],
}
ANYWHERE = ("/dev/null", "/dev/tty", "/proc/self/")
"""What may be opened for writing although it is no output: it keeps nothing."""
CALLS = "trace=socket,connect,sendto,sendmsg,openat,open,creat,mkdir,mkdirat,rename,renameat,renameat2"
HOOK = """
import os, sys
_out = os.open({out!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
def _hook(event, args):
    if event == "open" and isinstance(args[0], (str, bytes, os.PathLike)):
        mode, flags = args[1] or "", args[2] or 0
        if set("wax+") & set(mode) or flags & _WRITES:
            os.write(_out, b"write " + os.fsencode(os.path.abspath(args[0])) + b"\\n")
    elif event == "os.mkdir":
        os.write(_out, b"write " + os.fsencode(os.path.abspath(args[0])) + b"\\n")
    elif event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.bind"):
        os.write(_out, f"socket {{event}} {{args}}\\n".encode())
sys.addaudithook(_hook)
"""


@dataclass(frozen=True, slots=True)
class Trace:
    """What a command did: exit code, network use (Unix sockets left out), and the paths that it wrote."""

    code: int
    errors: str
    sockets: tuple[str, ...]
    written: tuple[Path, ...]


def summary() -> dict[str, Any]:
    """Every command of `COMMANDS` in a folder of its own: by how it was watched, what it opened and wrote."""
    found: dict[str, Any] = {}
    for name, arguments in COMMANDS.items():
        with TemporaryDirectory() as place:
            folder, home = lay_out(Path(place).resolve())
            trace = traced(arguments, folder, home)
            found[name] = {
                "exit_code": trace.code,
                "sockets": len(trace.sockets),
                "files_written": len(set(trace.written)),
                "stray_files": len(stray(trace, folder)),
                "files_at_home": len([*home.rglob("*")]),
            }
    watched = "strace" if strace() else "audit events of Python"
    return {"watched_by": watched, "own_network_namespace": bool(without_network()), "commands": found}


def lay_out(place: Path) -> tuple[Path, Path]:
    """A folder with posts, a picture, answers to them and a folder `out`; and an empty home."""
    folder, home = place / "work", place / "home"
    (folder / "out").mkdir(parents=True)
    home.mkdir()
    Image.new("RGB", (60, 40), "skyblue").save(folder / "sea.png")
    for name, times in (("posts.jsonl", 1), ("many.jsonl", 20)):
        lines = "".join(json.dumps(row) + "\n" for row in ROWS) * times
        (folder / name).write_text(lines, encoding="utf-8")
    encoder = TinyEncoder()
    answers = Analyzer(encoder, [tiny_adapter(encoder)]).stream({"id": row["id"], "text": row["text"]} for row in ROWS)
    lines = "".join(answer.model_dump_json() + "\n" for answer in answers)
    (folder / "answers.jsonl").write_text(lines, encoding="utf-8")
    return folder, home


def stray(trace: Trace, folder: Path) -> list[Path]:
    """The files written that are no output."""
    return [path for path in trace.written if not str(path).startswith((str(folder / "out"), *ANYWHERE))]


@cache
def strace() -> str | None:
    """The tracer, where it is installed and may be used."""
    program = shutil.which("strace")
    if program is None:
        return None
    tried = subprocess.run([program, "-f", "--seccomp-bpf", "-o", os.devnull, "true"], capture_output=True, check=False)
    return program if tried.returncode == 0 else None


@cache
def without_network() -> list[str]:
    """What to put before a command for a network namespace of its own; nothing where that is not allowed."""
    for command in (["unshare", "-n"], ["unshare", "-rn"]):
        if shutil.which("unshare"):
            tried = subprocess.run([*command, "true"], capture_output=True, check=False)
            if tried.returncode == 0:
                return command
    return []


def traced(arguments: Sequence[str], folder: Path, home: Path) -> Trace:
    """Run `python -m hybrid_mmsa` in a folder with an empty home.

    Args:
        arguments: The words after the program's name.
        folder: The working directory, which exists.
        home: The home folder.
    """
    log = home.parent / "trace.log"
    log.unlink(missing_ok=True)
    kept = {name: os.environ[name] for name in ("PATH", "OMP_NUM_THREADS") if name in os.environ}
    environment = {**kept, "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "hybrid_mmsa", *arguments]
    tracer = strace()
    if tracer:
        command = [tracer, "-f", "--seccomp-bpf", "-qq", "-y", "-o", str(log), "-e", CALLS, *command]
    else:
        site = home.parent / "hook"
        site.mkdir(exist_ok=True)
        (site / "sitecustomize.py").write_text(HOOK.format(out=str(log)), encoding="utf-8")
        environment["PYTHONPATH"] = os.pathsep.join([str(site), str(ROOT)])
    done = subprocess.run(
        [*without_network(), *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    sockets, written = _of_kernel(lines) if tracer else _of_python(lines)
    errors = done.stderr.decode(errors="replace")
    return Trace(done.returncode, errors, tuple(sockets), tuple(folder / path for path in written))


def _of_kernel(lines: Sequence[str]) -> tuple[list[str], list[str]]:
    sockets = [line for line in lines if "AF_INET" in line or "AF_NETLINK" in line]
    written = []
    for line in lines:
        if re.search(r" = -1 ", line):
            continue
        if re.search(r"\b(?:open|openat|creat)\(", line) and re.search(r"O_WRONLY|O_RDWR|O_CREAT|creat\(", line):
            written.append(re.findall(r'"([^"]*)"', line)[0])
        elif re.search(r"\b(?:mkdir|rename)", line):
            written.append(re.findall(r'"([^"]*)"', line)[-1])
    return sockets, written


def _of_python(lines: Sequence[str]) -> tuple[list[str], list[str]]:
    sockets = [line for line in lines if line.startswith("socket ")]
    return sockets, [line.removeprefix("write ") for line in lines if line.startswith("write ")]
