"""Runs a command and tells which sockets it opened and which files it wrote.

Where strace is installed, the kernel says so, of native code as well; else Python's audit events do. Where the kernel
allows it, the command runs in a network namespace of its own, without any network.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

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


@dataclass(frozen=True)
class Trace:
    """What a command did: exit code, network use (Unix sockets left out), and the paths that it wrote."""

    code: int
    errors: str
    sockets: tuple[str, ...]
    written: tuple[Path, ...]


@cache
def strace() -> str | None:
    """The tracer, where it is installed and may be used."""
    program = shutil.which("strace")
    if (
        program
        and subprocess.run([program, "-f", "--seccomp-bpf", "-o", os.devnull, "true"], capture_output=True).returncode
        == 0
    ):
        return program
    return None


@cache
def without_network() -> list[str]:
    """What to put before a command for a network namespace of its own; nothing where that is not allowed."""
    for command in (["unshare", "-n"], ["unshare", "-rn"]):
        if shutil.which("unshare") and subprocess.run([*command, "true"], capture_output=True).returncode == 0:
            return command
    return []


def traced(arguments: list[str], folder: Path, home: Path) -> Trace:
    """Run `python -m hybrid_mmsa` in a folder with an empty home.

    Args:
        arguments: The words after the program's name.
        folder: The working directory, which exists.
        home: The home folder.
    """
    log = home.parent / "trace.log"
    log.unlink(missing_ok=True)
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "OMP_NUM_THREADS") if name in os.environ}
    root = str(Path(__file__).resolve().parent.parent)
    environment = {**kept, "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": root}
    command = [sys.executable, "-m", "hybrid_mmsa", *arguments]
    if strace():
        command = [strace(), "-f", "--seccomp-bpf", "-qq", "-y", "-o", str(log), "-e", CALLS, *command]
    else:
        site = home.parent / "hook"
        site.mkdir(exist_ok=True)
        (site / "sitecustomize.py").write_text(HOOK.format(out=str(log)))
        environment["PYTHONPATH"] = os.pathsep.join([str(site), root])
    done = subprocess.run(
        [*without_network(), *command], cwd=folder, env=environment, capture_output=True, stdin=subprocess.DEVNULL
    )
    lines = log.read_text(errors="replace").splitlines()
    read = _of_kernel if strace() else _of_python
    sockets, written = read(lines, folder)
    return Trace(done.returncode, done.stderr.decode(errors="replace"), tuple(sockets), tuple(written))


def _of_kernel(lines, folder):
    sockets = [line for line in lines if "AF_INET" in line or "AF_NETLINK" in line]
    written = []
    for line in lines:
        if re.search(r" = -1 ", line):
            continue
        if re.search(r"\b(?:open|openat|creat)\(", line) and re.search(r"O_WRONLY|O_RDWR|O_CREAT|creat\(", line):
            written.append(folder / re.findall(r'"([^"]*)"', line)[0])
        elif re.search(r"\b(?:mkdir|rename)", line):
            written.append(folder / re.findall(r'"([^"]*)"', line)[-1])
    return sockets, written


def _of_python(lines, folder):
    sockets = [line for line in lines if line.startswith("socket ")]
    return sockets, [folder / line.removeprefix("write ") for line in lines if line.startswith("write ")]
