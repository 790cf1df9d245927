"""What crashes the field's servers, done to ours on a real socket: each gets its code, and nobody else notices.

The list is from the issues of others: a picture of one pixel or of no bytes, a bomb, a bad picture amid a batch, a
batch over the budget, a route without a key, clients that send or read slowly or go away, a reasoner that is gone.
"""

import base64
import io
import json
import resource
import socket
import struct
import threading
import time
import zlib

import httpx2
import pytest
from hostile_pictures import chunk
from PIL import Image
from tiny_server import BAD, GOOD, HeldEncoder, SlowEncoder, served, talk, tiny_analyzer, until

from hybrid_mmsa import ReasonerError
from hybrid_mmsa.serving import Keys, new_key

PACKED = chunk(b"IDAT", zlib.compress(bytes(50_000_000), 9)) + chunk(b"IEND", b"")
KEY, LINE = new_key("shop")


def encoded(content):
    return base64.b64encode(content).decode()


BOMB = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)) + PACKED
"""Says that it is 3.6 thousand million pixels, and packs enough zeros to begin with them."""


def drawn(size):
    buffer = io.BytesIO()
    Image.new("RGB", size, "gold").save(buffer, "PNG")
    return buffer.getvalue()


# No connection is used twice: these servers close an idle one after half a second, perhaps as the next request is sent.
ONE_USE = httpx2.Limits(max_connections=100, max_keepalive_connections=0)
CLIENT = httpx2.Client(timeout=30, trust_env=False, limits=ONE_USE)


@pytest.fixture(scope="module", autouse=True)
def closed_client():
    yield
    CLIENT.close()


def post(address, path="/v1/analyze", **body):
    return CLIENT.post(f"http://{address[0]}:{address[1]}{path}", json=body)


def get(address, path, **options):
    return CLIENT.get(f"http://{address[0]}:{address[1]}{path}", **options)


def is_well(address):
    """Both kinds of health, and a real answer."""
    assert get(address, "/healthz").status_code == get(address, "/readyz").status_code == 200
    assert post(address, text=GOOD).json()["sentiment"]["label"] == "positive"
    return True


@pytest.fixture(scope="module")
def address():
    with served(tiny_analyzer(), {"head_seconds": 0.5, "body_seconds": 0.5, "body_bytes": 2**20}) as address:
        yield address


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (drawn((1, 1)), 200),
        (drawn((1, 5000)), 200),
        (b"", 422),
        (b"\x89PNG\r\n\x1a\n", 422),
        (drawn((30, 30))[:60], 422),
        (BOMB, 422),
        (b"%PDF-1.7", 422),
        (b"<svg onload='x'/>", 422),
    ],
    ids=["one pixel", "a line", "no bytes", "a signature", "half", "bomb", "PDF", "SVG"],
)
def test_odd_pictures(address, content, status):
    response = post(address, text=GOOD, image=encoded(content))
    assert response.status_code == status
    if status != 200:
        assert (response.json()["code"], response.json()["field"]) == ("unusable_post", "image")
    assert is_well(address)


def test_bad_pictures_amid_a_batch_leave_the_others_alone(address):
    bad = [{"image": encoded(content)} for content in (b"", b"rubbish", BOMB)]
    posts = [{"text": GOOD}, bad[0], {"text": BAD}, bad[1], {"text": GOOD}, bad[2]]
    rows = post(address, "/v1/analyze/batch", posts=posts).json()["results"]
    labels = [row["analysis"] and row["analysis"]["sentiment"]["label"] for row in rows]
    assert labels == ["positive", None, "negative", None, "positive", None]
    assert is_well(address)


def test_a_batch_over_the_budget(address):
    assert post(address, "/v1/analyze/batch", posts=[{"text": "x"}] * 100).json()["code"] == "batch_too_large"
    assert post(address, text="x" * 2**20).json()["code"] == "body_too_large"
    long = post(address, text="word " * 100_000)  # longer than is read, shorter than a body may be
    assert long.status_code == 200
    assert "was cut" in long.json()["warnings"][0]
    assert is_well(address)


def test_no_route_without_its_key():
    with served(tiny_analyzer(), keys=Keys.read(LINE, "keys")) as address:
        assert post(address, text=GOOD).json()["code"] == "unauthenticated"
        big = CLIENT.post(f"http://{address[0]}:{address[1]}/v1/analyze", content=b"x" * 10**6)
        assert big.json()["code"] == "unauthenticated", "before the body is read"
        assert get(address, "/metrics").status_code == 401
        assert get(address, "/metrics", headers={"authorization": f"Bearer {KEY}"}).status_code == 200
        assert get(address, "/healthz").status_code == 200


HEAD = b"POST /v1/analyze HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def drip(address, at_once, then, seconds):
    """What a server says to a client that sends a byte now and then; it must lose its patience within so long."""
    begun, answer = time.monotonic(), b""
    with socket.create_connection(address, timeout=0.05) as connection:
        connection.sendall(at_once)
        for byte in then:
            assert time.monotonic() - begun < seconds
            try:
                connection.sendall(bytes([byte]))
                while part := connection.recv(4096):
                    answer += part
                return answer
            except TimeoutError:
                continue
            except OSError:
                return answer
    raise AssertionError("all of it was taken")


def test_a_head_that_does_not_arrive(address):
    with_others = [threading.Thread(target=drip, args=(address, b"", HEAD * 5, 20)) for _ in range(20)]
    for thread in with_others:
        thread.start()
    assert is_well(address)
    for thread in with_others:
        thread.join()
    assert talk(address, b"", seconds=5) == b"", "a client that says nothing is sent away"


def test_a_body_that_does_not_arrive(address):
    blanks = b" " * 500
    assert b"body_too_slow" in drip(address, HEAD + b"Content-Length: 600\r\n\r\n", blanks, 20)
    # Whoever was refused and goes on sending is sent away too.
    assert b"body_too_large" in drip(address, HEAD + b"Content-Length: 9999999\r\n\r\n", blanks, 20)
    assert is_well(address)


@pytest.mark.parametrize(
    "content",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 70_000 + b"\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n{}",
        HEAD + b"Content-Length: -1\r\n\r\n{}",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        HEAD + b"Content-Length: " + b"9" * 4000 + b"\r\n\r\n",
        HEAD + b"Upgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 2\r\n\r\n{}",
    ],
    ids=["TLS", "version", "NUL", "head", "lengths", "minus", "chunk", "huge", "upgrade"],
)
def test_what_is_no_request(address, content):
    answer = talk(address, content, seconds=5)
    assert not answer or answer.split(b" ")[1].startswith(b"4")
    assert is_well(address)


def test_a_client_that_goes_away_takes_its_posts_with_it():
    encoder = HeldEncoder()
    with served(tiny_analyzer(encoder=encoder), {"workers": 1, "deadline_seconds": 120.0}) as address:
        first = threading.Thread(target=post, args=(address,), kwargs={"text": "slow"})
        first.start()
        until(lambda: encoder.batches)
        content = json.dumps({"text": "gone"}).encode()
        request = HEAD + b"Content-Length: %d\r\n\r\n" % len(content) + content
        clients = [socket.create_connection(address) for _ in range(30)]
        for client in clients:
            client.sendall(request)
        until(lambda: length(address) == 31)
        for client in clients:
            client.close()
        until(lambda: length(address) == 1)
        encoder.release.set()
        first.join()
        assert is_well(address)
        assert sum(encoder.batches) == 3, "slow, the probe of readiness, and the answer that shows it is well"


def length(address):
    line = next(
        line for line in get(address, "/metrics").text.splitlines() if line.startswith("hybrid_mmsa_queue_posts")
    )
    return float(line.split()[-1])


def test_a_client_that_does_not_read_its_answer(address, monkeypatch):
    monkeypatch.setattr("hybrid_mmsa.serving.server.WRITE_SECONDS", 0.3)
    request = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        client.connect(address)
        client.sendall(request * 200)
        assert is_well(address)

        def is_dropped():
            try:
                client.sendall(request)
            except OSError:
                return True
            return False

        until(is_dropped)


def test_a_reasoner_that_is_gone():
    with served(tiny_analyzer(lambda _: ReasonerError("its server is gone"), policy="always")) as address:
        assert post(address, text=GOOD, mode="deep").json()["code"] == "reasoner_failed"
        answer = post(address, text=GOOD)
        assert answer.status_code == 200
        assert "its server is gone" in answer.json()["warnings"][-1]
        assert is_well(address)


def test_ten_times_more_than_it_can_do_is_refused_at_once_and_memory_is_bounded():
    encoder = SlowEncoder(0.1)
    with served(tiny_analyzer(encoder=encoder), {"workers": 1, "waiting_posts": 16, "batch_posts": 4}) as address:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        statuses = []

        def ask():
            for _ in range(5):
                response = post(address, text="slow", image=encoded(drawn((400, 300))))
                statuses.append((response.status_code, response.headers.get("retry-after")))

        threads = [threading.Thread(target=ask) for _ in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {status for status, _ in statuses} == {200, 503}
        assert all(retry for status, retry in statuses if status == 503)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kilobytes
        assert is_well(address)


def test_stopping_answers_what_was_taken():
    encoder, answers = SlowEncoder(0.7), []
    with served(tiny_analyzer(encoder=encoder), {"workers": 1}) as address:
        client = threading.Thread(target=lambda: answers.append(post(address, text="slow")))
        client.start()
        until(lambda: encoder.batches)
    client.join()
    assert [answer.status_code for answer in answers] == [200]
