"""Small servers for tests: in this process without a socket, or on a free port of this machine."""

import contextlib
import socket
import threading
import time

from starlette.testclient import TestClient

from hybrid_mmsa import Analyzer
from hybrid_mmsa.serving import ServerSettings, create_app
from hybrid_mmsa.serving.server import bound_socket, server_of
from hybrid_mmsa.testing import ScriptedReasoner, TinyEncoder, tiny_adapter

GOOD, BAD = "lovely, the best, wonderful day", "awful, the worst, horrible day"


def tiny_analyzer(script=None, encoder=None, **options):
    """An analyzer that answers in a moment; `script` is its reasoner's."""
    encoder = encoder or TinyEncoder()
    reasoner = None if script is None else ScriptedReasoner(script)
    adapter = tiny_adapter(encoder)
    if isinstance(encoder, SlowEncoder):
        encoder.batches.clear()  # what the adapter was fitted to
    return Analyzer(encoder, [adapter], reasoner=reasoner, **options)


class SlowEncoder(TinyEncoder):
    """Takes a while for the posts that say so, and counts how many it was given."""

    def __init__(self, seconds):
        super().__init__()
        self.seconds, self.batches = seconds, []

    def encode(self, samples):
        self.batches.append(len(samples))
        if any("slow" in (sample.text or "") for sample in samples):
            time.sleep(self.seconds)
        return super().encode(samples)


class HeldEncoder(SlowEncoder):
    """Holds the posts that say "slow" until it is released."""

    def __init__(self):
        super().__init__(0)
        self.release = threading.Event()

    def encode(self, samples):
        features = super().encode(samples)
        if any("slow" in (sample.text or "") for sample in samples):
            assert self.release.wait(60)
        return features


@contextlib.contextmanager
def client_of(analyzer, settings=None, **doors):
    """A client of a server without a socket; settings by name."""
    app = create_app(analyzer, ServerSettings(**(settings or {})), **{"hosts": ["testserver"], **doors})
    with TestClient(app) as client:
        yield client


@contextlib.contextmanager
def served(analyzer, settings=None, **doors):
    """The address of a real server that runs in a thread of this process."""
    settings = ServerSettings(**{"shutdown_seconds": 5.0, **(settings or {})})
    server = server_of(create_app(analyzer, settings, **doors), settings)
    sock = bound_socket("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
    thread.start()
    until(lambda: server.started)
    try:
        yield sock.getsockname()
    finally:
        server.should_exit = True
        thread.join()
        sock.close()


def until(condition, seconds=60):
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to be"
        time.sleep(0.01)


def talk(address, content=b"", seconds=10):
    """What a server says to raw bytes until it closes the connection, or stays silent for so long."""
    with socket.create_connection(address, timeout=seconds) as connection:
        connection.sendall(content)
        answer = b""
        with contextlib.suppress(TimeoutError, ConnectionResetError):
            while part := connection.recv(65536):
                answer += part
        return answer
