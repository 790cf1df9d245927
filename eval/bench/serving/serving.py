"""The server under load and overload, beside a plain FastAPI server and the analyzer in process, on the same cores.

    python eval/bench/serving/serving.py [--seconds 60] [--connections 64] [--litserve PYTHON] [--json] [--save]

With `--litserve`, a Python that has `litserve` and this package, LitServe is measured as well. A server runs in a
process of its own; the load comes from this one, and takes from the same processors. In process, the same posts are
answered by `analyze_batch` in batches of 32 by one thread a core.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from PIL import Image
from rich.table import Table

from eval.bench.keeping import circumstances, program, tell
from eval.bench.serving.load import Load, send
from hybrid_mmsa import Analyzer, Sample

HERE = Path(__file__).resolve().parent
SAMPLES = HERE.parents[2] / "hybrid_mmsa" / "samples"
SIDE = 480
OVERLOAD = 10
RECOVERED_MS = 500
TEXTS = (
    "Finally home after two weeks on the road!",
    "oh great, another monday in the rain",
    "The committee meets again on Tuesday at nine.",
    "I can't believe they cancelled it an hour before the doors opened. Never again.",
)


def posts() -> list[tuple[str, bytes]]:
    """Words and a JPEG picture each."""
    pictures = []
    for path in sorted(SAMPLES.glob("*.jpg")):
        buffer = BytesIO()
        picture = Image.open(path).convert("RGB")
        picture.thumbnail((SIDE, SIDE))
        picture.save(buffer, "JPEG", quality=85)
        pictures.append(buffer.getvalue())
    return [(text, picture) for text in TEXTS for picture in pictures]


def in_process(seconds: float) -> float:
    """Posts a second of `analyze_batch`, one thread a core."""
    analyzer, batch = Analyzer.from_pretrained(), [Sample(text=text, image=image) for text, image in posts() * 8][:32]
    analyzer.analyze_batch(batch)
    cores = len(os.sched_getaffinity(0))
    begun, done = time.perf_counter(), 0

    def work() -> int:
        count = 0
        while time.perf_counter() < begun + seconds:
            count += len(analyzer.analyze_batch(batch))
        return count

    with ThreadPoolExecutor(cores) as pool:
        done = sum(future.result() for future in [pool.submit(work) for _ in range(cores)])
    return done / (time.perf_counter() - begun)


@contextmanager
def running(command: list[str], port: int) -> Iterator[int]:
    """The process of a server that is up."""
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 120
        while not _is_up(port):
            if time.monotonic() > until or server.poll() is not None:
                raise SystemExit(f"{' '.join(command)} did not come up")
            time.sleep(0.2)
        yield server.pid
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(60)


def _is_up(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def memory_mb(pid: int) -> float:
    """Memory that a process holds now."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1000


def loaded(command: list[str], connections: int, seconds: float) -> dict[str, Any]:
    """A server's figures under load, under ten times as much, and after it."""
    port = free_port()
    bodies = [json.dumps({"text": t, "image": base64.b64encode(i).decode()}).encode() for t, i in posts()]
    with running([*command, str(port)], port) as pid:
        asyncio.run(send(port, bodies, connections, min(seconds, 3)))  # warm
        before = memory_mb(pid)
        load = asyncio.run(send(port, bodies, connections, seconds))
        loaded_mb = memory_mb(pid)
        over = asyncio.run(send(port, bodies, OVERLOAD * connections, seconds / 2))
        return {
            "load": load.figures(),
            "overload": over.figures(),
            "memory_mb": {"idle": before, "loaded": loaded_mb, "overloaded": memory_mb(pid)},
            "recovery_seconds": recovery(port, bodies[:1]),
        }


def recovery(port: int, bodies: list[bytes]) -> float:
    """Seconds until one request alone is answered as fast as ever."""
    begun = time.perf_counter()
    while time.perf_counter() < begun + 60:
        alone: Load = asyncio.run(send(port, bodies, 1, 0.05))
        if alone.latencies and 1000 * alone.latencies[-1] < RECOVERED_MS:
            break
    return round(time.perf_counter() - begun, 2)


def main() -> None:
    """Measure, print and perhaps keep."""
    parser = program(__doc__, "serving")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--litserve", metavar="PYTHON", help="a Python with litserve and this package")
    options = parser.parse_args()
    python = sys.executable
    ours = [python, "-m", "hybrid_mmsa", "serve", "--set", "connections=2000", "--port"]
    record: dict[str, Any] = circumstances(["fastapi", "uvicorn", "onnxruntime"], len(os.sched_getaffinity(0)))
    record |= {"seconds": options.seconds, "connections": options.connections, "cores": len(os.sched_getaffinity(0))}
    record["in_process_posts_per_second"] = round(in_process(options.seconds / 4), 1)
    record["hybrid_mmsa"] = loaded(ours, options.connections, options.seconds)
    record["plain"] = loaded([python, str(HERE / "plain.py")], options.connections, options.seconds)
    if options.litserve:
        command = [options.litserve, str(HERE / "litserve_app.py")]
        record["litserve"] = loaded(command, options.connections, options.seconds)
    tell("serving", record, _table(record), options)


def _table(record: dict[str, Any]) -> Table:
    table = Table(title=f"{record['connections']} connections, {record['cores']} cores; a post has words and a picture")
    sides = [record[name] for name in ("hybrid_mmsa", "plain", "litserve") if name in record]
    for column in ("", "hybrid-mmsa serve", "plain FastAPI", "LitServe")[: 1 + len(sides)]:
        table.add_column(column)
    for phase in ("load", "overload"):
        for figure in ("answers_per_second", "p50_ms", "p99_ms", "statuses"):
            table.add_row(f"{phase}: {figure}", *(str(side[phase][figure]) for side in sides))
    for name in ("idle", "loaded", "overloaded"):
        table.add_row(f"memory, {name} (MB)", *(f"{side['memory_mb'][name]:.0f}" for side in sides))
    table.add_row("recovery (s)", *(str(side["recovery_seconds"]) for side in sides))
    table.add_row("in process (posts a second)", str(record["in_process_posts_per_second"]))
    return table


if __name__ == "__main__":
    main()
