"""No server, and no name server, holds whoever asks longer than it was given, or makes it read more."""

import http.client
import socket
import threading
import time
from itertools import islice
from urllib.request import Request

import pytest

from eval.bench.hardening.servers import MISDEEDS, answer, misbehaving
from hybrid_mmsa.bounds.exchange import Bounds, exchange, fetched
from hybrid_mmsa.errors import ReasonerError
from hybrid_mmsa.reasoning import ReasonerConfig, open_reasoner
from hybrid_mmsa.serving import Problem, remote_pictures
from hybrid_mmsa.serving.remote_pictures import RemotePictures
from hybrid_mmsa.types import Sample
from hybrid_mmsa.watch import sources
from hybrid_mmsa.watch.alerts import Webhook
from hybrid_mmsa.watch.sources import polled

SECONDS = 0.4
SLOW = [
    "nothing",
    "drips the head",
    "drips the head by bytes",
    "drips the body",
    "drips chunks",
    "informational for ever",
]
LARGE = ["a head without end", "a body without end"]


@pytest.fixture(autouse=True)
def in_time():
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < 75 * SECONDS, "these servers go on for ever"  # the machine may be busy


def read(url, seconds=SECONDS, most=2**20, **options):
    with exchange(Request(url), Bounds(seconds, most), **options) as found:
        return found.status, fetched(found)


@pytest.mark.parametrize("name", SLOW)
def test_a_slow_answer_is_given_up_in_time(name):
    with misbehaving(MISDEEDS[name]) as url, pytest.raises(TimeoutError):
        read(url)


@pytest.mark.parametrize("name", LARGE)
def test_a_large_answer_is_given_up(name):
    with misbehaving(MISDEEDS[name]) as url, pytest.raises((OSError, http.client.HTTPException)):
        read(url, seconds=60)


def test_a_server_that_never_ends_its_greeting_is_given_up():
    with misbehaving(MISDEEDS["nothing"]) as url, pytest.raises(TimeoutError):
        read(url.replace("http:", "https:"))


def test_what_is_followed_counts_together_and_what_is_not_is_the_callers():
    with misbehaving(answer(b"there")) as there:
        moved = answer(b"", status="302 Found", head=f"Location: {there}\r\n".encode())
        with misbehaving(moved) as url:
            assert read(url) == (200, b"there")
            assert read(url, follow=False)[0] == 302
            with pytest.raises(ConnectionAbortedError):
                read(url, most=100)
        with misbehaving(answer(b"", status="404 Gone")) as url, pytest.raises(OSError, match="404"):
            read(url)
    with misbehaving(answer(b"half", length=10)) as url, pytest.raises(ConnectionError, match="before it was whole"):
        read(url)


@pytest.fixture
def slow_names(monkeypatch):
    """A name server that answers when the test is over."""
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(60) and [])
    yield "slow.example.org"
    over.set()


def test_nobody_waits_for_a_slow_name_server(slow_names, monkeypatch):
    with pytest.raises(TimeoutError):
        Bounds(SECONDS, 1).addresses(slow_names, 80)
    pictures = RemotePictures([f"http://{slow_names}"], most=1_000, seconds=SECONDS)
    with pytest.raises(Problem, match="did not send it within"):
        pictures.fetch(pictures.address(f"http://{slow_names}/a.png"))
    reasoner = open_reasoner(
        ReasonerConfig(backend="openai_server", model="tiny", url=f"http://{slow_names}/v1", timeout=SECONDS)
    )
    with pytest.raises(ReasonerError):
        reasoner.reason([Sample(text="so lovely")])
    reasoner.close()
    monkeypatch.setattr(sources, "POLL_SECONDS", SECONDS)
    said = []
    assert list(islice(polled(f"http://{slow_names}/posts", 0.01, say=said.append), 1)) == [None]
    assert "did not answer" in said[0]


@pytest.mark.parametrize("name", ["drips the head", "informational for ever"])
def test_a_dripping_head_holds_neither_fetchers_nor_watches(name, alert, monkeypatch):
    monkeypatch.setattr(remote_pictures, "_is_public", lambda _: True)
    monkeypatch.setattr(sources, "POLL_SECONDS", SECONDS)
    said = []
    with misbehaving(MISDEEDS[name]) as url:
        pictures = RemotePictures([url.removesuffix("/v1")], most=1_000, seconds=SECONDS)
        with pytest.raises(Problem, match=r"did not send it within|could not be asked"):
            pictures.fetch(pictures.address(f"{url}/a.png"))
        assert list(islice(polled(url, 0.01, say=said.append), 1)) == [None]
        hook = Webhook(url, seconds=SECONDS, attempts=2)
        assert "did not answer" in said[0]
        assert "did not take" in hook(alert)
