"""Does a server that answers for long hold its memory? Good and bad posts for some minutes; memory every ten seconds.

    python eval/bench/serving/soak.py [--minutes 20] [--connections 8] [--json] [--save]

The first two minutes are left out: buffers and caches fill then. The slope is a least-squares line through the rest.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from typing import Any

import numpy as np
from rich.table import Table

from eval.bench.keeping import circumstances, program, tell
from eval.bench.serving.load import Load, send
from eval.bench.serving.serving import free_port, memory_mb, posts, running

NAME = "serving-soak"
WARM_SECONDS, EVERY_SECONDS = 120, 10


def bodies() -> list[bytes]:
    """Posts of words and pictures, of words alone, with no picture in the picture, with nothing, and no JSON."""
    whole = [{"text": text, "image": base64.b64encode(picture).decode()} for text, picture in posts()]
    words = [{"text": post["text"] * 20, "explain": "full"} for post in whole[:2]]
    bad: list[dict[str, Any]] = [{"text": "a", "image": "AAAA"}, {}, {"text": 5}]
    return [*(json.dumps(post).encode() for post in (*whole, *words, *bad)), b'{"text": ']


async def soaked(port: int, pid: int, minutes: float, connections: int) -> tuple[Load, list[float]]:
    """The load, and the server's memory every so often, from the end of the warm part on."""
    memory: list[float] = []

    async def watch() -> None:
        await asyncio.sleep(min(WARM_SECONDS, 6 * minutes))
        while True:
            memory.append(memory_mb(pid))
            await asyncio.sleep(EVERY_SECONDS)

    watching = asyncio.create_task(watch())
    load = await send(port, bodies(), connections, 60 * minutes)
    watching.cancel()
    return load, memory


def main() -> None:
    """Measure, print and perhaps keep."""
    parser = program(__doc__, NAME)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--connections", type=int, default=8)
    options = parser.parse_args()
    port = free_port()
    command = [sys.executable, "-m", "hybrid_mmsa", "serve", "--port", str(port)]
    with running(command, port) as pid:
        load, memory = asyncio.run(soaked(port, pid, options.minutes, options.connections))
    minutes = np.arange(len(memory)) * EVERY_SECONDS / 60
    record = {
        **circumstances(["fastapi", "uvicorn", "onnxruntime"], 1),
        "minutes": options.minutes,
        "connections": options.connections,
        "load": load.figures(),
        "requests": sum(load.statuses.values()),
        "memory_mb": {"first": memory[0], "last": memory[-1], "most": max(memory)},
        "memory_mb_per_minute": float(np.polyfit(minutes, memory, 1)[0]) if len(memory) > 1 else None,
    }
    tell(NAME, record, _table(record), options)


def _table(record: dict[str, Any]) -> Table:
    table = Table("", "", title=f"{record['minutes']:g} minutes, {record['connections']} connections")
    table.add_row("requests by status", str(record["load"]["statuses"]))
    for name, value in record["memory_mb"].items():
        table.add_row(f"memory, {name} (MB)", f"{value:.0f}")
    table.add_row("slope (MB a minute)", f"{record['memory_mb_per_minute']:.2f}")
    return table


if __name__ == "__main__":
    main()
