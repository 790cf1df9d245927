"""Pictures by their addresses: of named hosts on the public internet alone, looked up once, and bounded."""

import http.server
import io
import socket
import threading
import time

import pytest
from PIL import Image
from tiny_server import GOOD, client_of, tiny_analyzer

from hybrid_mmsa import InputError
from hybrid_mmsa.serving import Problem, remote_pictures
from hybrid_mmsa.serving.remote_pictures import PictureAddress, RemotePictures

NAME = "images.example.org"


def picture():
    buffer = io.BytesIO()
    Image.new("RGB", (20, 10), "gold").save(buffer, "PNG")
    return buffer.getvalue()


class Host(http.server.BaseHTTPRequestHandler):
    """Sends a picture, well or badly, and notes what it was asked for."""

    asked: list[tuple[str, str]] = []  # noqa: RUF012 - shared on purpose, emptied by the fixture

    def do_GET(self):
        self.asked.append((self.path, self.headers["Host"]))
        content = picture()
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/a.png")
            self.end_headers()
            return
        self.send_response(404 if self.path == "/gone" else 200)
        self.send_header("Content-Length", str({"/short": 10_000, "/large": 5_000}.get(self.path, len(content))))
        self.end_headers()
        if self.path == "/slow":
            for byte in content:
                self.wfile.write(bytes([byte]))
                time.sleep(0.1)
        self.wfile.write(content + b"\0" * (5_000 - len(content)) if self.path == "/large" else content)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def port():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Host)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def host(port, monkeypatch):
    """The origin of the host, whose name leads to this machine, which passes for the public internet."""
    Host.asked.clear()
    looked_up = []

    def look_up(name, port, **_):
        looked_up.append(name)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(remote_pictures, "_is_public", lambda address: address == "127.0.0.1")
    yield f"http://{NAME}:{port}"
    assert looked_up in ([], [NAME]), "the name is looked up once"


def remote(*origins, most=4_000, seconds=2.0):
    return RemotePictures(origins, most=most, seconds=seconds)


def code(call):
    with pytest.raises(Problem) as caught:
        call()
    assert caught.value.field == "image"
    return caught.value.code


def test_a_picture_of_a_named_host_is_read_as_if_it_had_been_sent(host, monkeypatch):
    expected = tiny_analyzer().analyze(GOOD, picture())
    with client_of(tiny_analyzer(), picture_origins=[host]) as client:
        found = client.post("/v1/analyze", json={"text": GOOD, "image": f"{host}/a.png?size=2"})
    assert type(expected).model_validate_json(found.content) == expected
    assert Host.asked == [("/a.png?size=2", f"{NAME}:{host.rpartition(':')[2]}")]


def test_a_row_whose_picture_does_not_come_fails_for_itself(host):
    with client_of(tiny_analyzer(), picture_origins=[host]) as client:
        posts = [{"text": GOOD}, {"text": GOOD, "image": f"{host}/gone"}]
        rows = client.post("/v1/analyze/batch", json={"posts": posts}).json()["results"]
    assert [row["error"] and row["error"]["code"] for row in rows] == [None, "picture_not_fetched"]


@pytest.mark.parametrize("path", ["moved", "gone", "short", "large", "slow"])
def test_what_is_not_a_whole_picture_in_time_is_not_fetched(host, path):
    asked = remote(host, seconds=0.5)
    assert code(lambda: asked.fetch(asked.address(f"{host}/{path}"))) == "picture_not_fetched"
    assert len(Host.asked) == 1, "nothing is followed"


@pytest.mark.parametrize(
    "url",
    [
        "https://other.example.org/a.png",
        "http://images.example.org/a.png",
        "https://images.example.org:8443/a.png",
        "https://images.example.org.evil.net/a.png",
        "https://images.example.org@evil.net/a.png",
        "https://me:secret@images.example.org/a.png",
        "https://images.example.org:99999/a.png",
        "https://images.example.org/a b.png",
        "https://images.example.org/a\r\nX: y",
        "file:///etc/passwd",
        "ftp://images.example.org/a.png",
        "https://[::1",
    ],
)
def test_other_places_are_refused_unasked(url):
    asked = remote(f"https://{NAME}")
    assert asked.is_address(url)
    assert code(lambda: asked.address(url)) == "picture_url_refused"


def test_a_named_host_is_known_in_any_spelling():
    asked = remote(f"https://{NAME}")
    for url in (f"https://{NAME}/a.png", f"HTTPS://{NAME.upper()}/a.png", f"https://{NAME}:443/a.png"):
        assert asked.address(url) == PictureAddress(url)


@pytest.mark.parametrize(
    "address",
    [
        *(
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
        ),
        *("::1", "fe80::1%eth0", "fc00::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "2002:7f00:1::", "ff02::1"),
    ],
)
def test_a_name_that_leads_inside_is_refused_unasked(port, monkeypatch, address):
    Host.asked.clear()
    found = [(0, 0, 0, "", ("93.184.215.14", port)), (0, 0, 0, "", (address, port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr(socket, "socket", lambda *_, **__: pytest.fail("it was asked"))
    asked = remote(f"http://{NAME}:{port}")
    assert code(lambda: asked.fetch(asked.address(f"http://{NAME}:{port}/a.png"))) == "picture_url_refused"


def test_a_name_that_leads_nowhere_is_told(monkeypatch):
    def nothing(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nothing)
    asked = remote(f"https://{NAME}")
    assert code(lambda: asked.fetch(asked.address(f"https://{NAME}/a.png"))) == "picture_not_fetched"


@pytest.mark.parametrize("origin", ["images.example.org", "https://a.org/path", "https://*.a.org", "ftp://a.org", ""])
def test_an_origin_that_is_none_is_refused(origin):
    with pytest.raises(InputError, match="scheme and host"):
        remote(origin)
