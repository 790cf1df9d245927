"""Servers that misbehave, and what asking one of them for a verdict comes to.

A server is a socket that sends what it should not: nothing, too little, too much, too slowly, what is no HTTP, no JSON
or no answer, or the key that it was asked with.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from eval.bench.hardening.trials import Attempt
from hybrid_mmsa.errors import ReasonerError
from hybrid_mmsa.reasoning import ReasonerConfig, open_reasoner
from hybrid_mmsa.types import Sample

__all__ = ["KEY", "MISDEEDS", "TIMEOUT", "misbehaving", "prepare"]

KEY = "sk-verysecret0123456789"
KEY_ENV = "MISBEHAVING_SERVER_KEY"
TIMEOUT = 1.0
JSON = b"Content-Type: application/json\r\n"
Misdeed = bytes | Callable[[socket.socket], object]


def prepare(_: Path) -> Callable[[int], Attempt]:
    """Number → a server to ask."""
    os.environ[KEY_ENV] = KEY
    names = list(MISDEEDS)
    with suppress(ReasonerError):
        ask(b"")  # imports are no server's cost

    def attempt(number: int) -> Attempt:
        return Attempt(names[number], lambda: ask(MISDEEDS[names[number]]))

    return attempt


def ask(misdeed: Misdeed) -> str:
    """Ask a server that misbehaves.

    Raises:
        RuntimeError: The answer comes too late, or an error shows the key: faults that are no error of the reasoner.
    """
    with misbehaving(misdeed) as url:
        config = ReasonerConfig(
            backend="openai_server", model="tiny", url=url, timeout=TIMEOUT, retries=2, api_key_env=KEY_ENV
        )
        reasoner, begun = open_reasoner(config), time.monotonic()
        try:
            reasoner.reason([Sample(text="so lovely")])
        except ReasonerError as error:
            if KEY[:8] in "".join(traceback.format_exception(error)):
                raise RuntimeError("the key is shown") from None
            raise
        finally:
            if time.monotonic() - begun > 2 * TIMEOUT:
                raise RuntimeError("after its deadline")
    return "answered"


def answer(body: Any, *, status: str = "200 OK", head: bytes = JSON, length: int | None = None) -> bytes:
    """A response with a body, which is made JSON unless it is bytes; `length` is what it claims."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    size = len(content) if length is None else length
    return f"HTTP/1.1 {status}\r\n".encode() + head + f"Content-Length: {size}\r\n\r\n".encode() + content


def choice(**changes: Any) -> dict[str, Any]:
    """What a server answers that behaves, with some fields changed."""
    content = {"role": "assistant", "content": '{"label": "positive"}'}
    token = {"token": '{"label": "positive"}', "logprob": -0.1, "bytes": None, "top_logprobs": []}
    whole = {"index": 0, "message": content, "finish_reason": "stop", "logprobs": {"content": [token]}}
    return {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [{**whole, **changes}]}


def drip(connection: socket.socket, pieces: Iterable[bytes], pause: float = 0.05, *, first: bytes = b"") -> None:
    """Send pieces one by one after the first, with a pause after each."""
    connection.sendall(first)
    for piece in pieces:
        connection.sendall(piece)
        time.sleep(pause)


def for_ever(piece: bytes) -> Iterator[bytes]:
    """The same piece again and again."""
    while True:
        yield piece


# What the server sends after it has read a request: bytes, or a function of the connection.
MISDEEDS: Mapping[str, Misdeed] = {
    "nothing": lambda c: time.sleep(3 * TIMEOUT),
    "closes at once": b"",
    "closes in the head": b"HTTP/1.1 200 OK\r\nContent-",
    "closes in the body": answer(b'{"choices"', length=1000),
    "drips the head": lambda c: drip(c, for_ever(b"X-A: b\r\n"), first=b"HTTP/1.1 200 OK\r\n"),
    "drips the head by bytes": lambda c: drip(c, (bytes([b]) for b in b"HTTP/1.1 200 OK\r\nX: " + b"a" * 10_000)),
    "drips the body": lambda c: drip(c, for_ever(b" "), first=answer(b" ", length=10**9)),
    "drips chunks": lambda c: drip(
        c, for_ever(b"1\r\n \r\n"), first=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    ),
    "a body without end": lambda c: drip(c, for_ever(b" " * 2**20), 0, first=answer(b"", length=10**10)),
    "a head without end": lambda c: drip(c, for_ever(b"a" * 2**16), 0, first=b"HTTP/1.1 200 OK\r\nX: "),
    "a packed body": answer(b"\x1f\x8b\x08", head=JSON + b"Content-Encoding: gzip\r\n"),
    "not HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
    "HTTP/0.9": b"<html>hello</html>",
    "binary": bytes(range(256)),
    "an odd status": b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n",
    "no status": b"HTTP/1.1 \r\n\r\n",
    "informational for ever": lambda c: drip(c, for_ever(b"HTTP/1.1 100 Continue\r\n\r\n"), 0.01),
    "a redirect": answer(b"", status="302 Found", head=b"Location: http://192.0.2.1/\r\n"),
    "a negative length": answer(b"", length=-5),
    "two lengths": answer(b"{}", head=JSON + b"Content-Length: 7\r\n"),
    "busy for a minute": answer(b"{}", status="429 Too Many", head=JSON + b"Retry-After: 50\r\n"),
    "busy for ever": answer(b"{}", status="503 Busy", head=JSON + b"Retry-After: 1e308\r\n"),
    "busy, oddly": answer(b"{}", status="503 Busy", head=JSON + b"Retry-After: nan\r\n"),
    "busy until a date": answer(
        b"{}", status="503 Busy", head=JSON + b"Retry-After: Wed, 21 Oct 2099 07:28:00 GMT\r\n"
    ),
    "the key in an error": answer({"error": {"message": f"bad header Bearer {KEY}"}}, status="400 Bad"),
    "the key behind 190 letters": answer({"error": {"message": "x" * 190 + KEY}}, status="400 Bad"),
    "the key in a status": answer(b"{}", status=f"400 Bearer {KEY}"),
    "the key in an odd answer": answer({"choices": KEY}),
    "the key in a rationale": answer(choice(message={"role": "assistant", "content": KEY})),
    "the key as a type": answer({**choice(), "usage": {"total_tokens": KEY}}),
    "no JSON": answer(b"hello"),
    "deep JSON": answer(b"[" * 200_000),
    "deep JSON inside": answer(choice(message={"role": "assistant", "content": "[" * 100_000})),
    "a list": answer([]),
    "null": answer(None),
    "no choices": answer({"choices": []}),
    "a choice of another type": answer({"choices": [7]}),
    "no message": answer(choice(message=None)),
    "a number as content": answer(choice(message={"role": "assistant", "content": 7})),
    "purple": answer(choice(message={"role": "assistant", "content": '{"label": "purple"}'})),
    "tokens of another type": answer(choice(logprobs={"content": [7]})),
    "no log-probabilities": answer(choice(logprobs=None)),
    "infinite log-probabilities": answer(json.dumps(choice()).replace("-0.1", "1e999").encode()),
    "no text but NaN": answer(json.dumps(choice()).replace("-0.1", "NaN").encode()),
    "not UTF-8": answer(b'{"choices": "\xff\xfe"}'),
}


@contextmanager
def misbehaving(misdeed: Misdeed) -> Iterator[str]:
    """The address of a server on this machine that answers every request with a misdeed."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        try:
            connection.recv(1 << 16)
            if callable(misdeed):
                misdeed(connection)
            else:
                connection.sendall(misdeed)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # whoever asked has given up
        finally:
            connection.close()

    def accept() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/v1"
    finally:
        server.close()


COUNT = len(MISDEEDS)
