"""Load from so many connections at a time: each sends its next request when the last was answered. Knows no posts.

It speaks HTTP/1.1 by hand, so that it takes little of the processor that it shares with what it measures.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from statistics import median, quantiles

__all__ = ["Load", "send"]


@dataclass(slots=True)
class Load:
    """What came of it.

    Attributes:
        seconds: How long it lasted.
        statuses: Requests by status; 0 for a connection that broke.
        latencies: Seconds of each request that was answered with 200.
    """

    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)

    def figures(self) -> dict[str, float | int | dict[str, int]]:
        """Rates a second, and latencies in milliseconds."""
        return {
            "answers_per_second": round(len(self.latencies) / self.seconds, 1),
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "p50_ms": round(1000 * median(self.latencies), 1) if self.latencies else float("nan"),
            "p99_ms": round(1000 * quantiles(self.latencies, n=100)[98], 1)
            if len(self.latencies) > 1
            else float("nan"),
        }


async def send(port: int, bodies: list[bytes], connections: int, seconds: float) -> Load:
    """Load a server of this machine.

    Args:
        port: Where it listens.
        bodies: JSON bodies for `/v1/analyze`, sent in turn.
        connections: How many connections are open at a time.
        seconds: How long new requests are sent.
    """
    load = Load()
    begun = time.perf_counter()
    await asyncio.gather(*(_connection(port, bodies, number, begun + seconds, load) for number in range(connections)))
    load.seconds = time.perf_counter() - begun
    return load


async def _connection(port: int, bodies: list[bytes], number: int, until: float, load: Load) -> None:
    while time.perf_counter() < until:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                while time.perf_counter() < until:
                    number += 1
                    await _request(reader, writer, bodies[number % len(bodies)], load)
            finally:
                writer.close()
        except (OSError, asyncio.IncompleteReadError):
            load.statuses[0] += 1
            await asyncio.sleep(0.05)


async def _request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes, load: Load) -> None:
    head = (
        b"POST /v1/analyze HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    )
    begun = time.perf_counter()
    writer.write(head % len(body) + body)
    answer = await reader.readuntil(b"\r\n\r\n")
    status = int(answer.split(b" ", 2)[1])
    length = next(line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    await reader.readexactly(int(length.split(b":")[1]))
    load.statuses[status] += 1
    if status == 200:
        load.latencies.append(time.perf_counter() - begun)
