"""The server reasoner asks a real llama.cpp server, and one that answers as it is told: lost, busy, slow, or silent."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from socket import create_connection
from socketserver import StreamRequestHandler, ThreadingTCPServer

import numpy as np
import pytest
from drawn_posts import draw_posts
from gguf_vlm import local, remote, serving, written
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from hybrid_mmsa import Analyzer
from hybrid_mmsa.errors import InputError, PostError, ReasonerError
from hybrid_mmsa.reasoning import ReasonerConfig, open_reasoner
from hybrid_mmsa.reasoning.backends.openai_server import LABEL
from hybrid_mmsa.reasoning.prompt.token_shares import SpelledToken, word_shares
from hybrid_mmsa.types import LABELS, LoraRef, Sample

POSTS = [post.sample for post in draw_posts(30, 12)]
POST = Sample(text="so lovely")
WORDS = [f'{label}"' for label in LABELS]


def numbers(verdicts):
    return np.array([[verdict.probabilities[label] for label in LABELS] for verdict in verdicts])


@pytest.fixture(scope="module")
def files(trained_vlm, tmp_path_factory):
    return written(trained_vlm, tmp_path_factory.mktemp("gguf"))


@pytest.fixture(scope="module")
def url(files):
    with serving(files) as (_, address):
        yield address


def test_a_real_server_answers_as_the_model_does_here(files, url):
    server, here = open_reasoner(remote(url, batch_size=2)), open_reasoner(local(files))
    found, wanted = numbers(server.reason(POSTS)), numbers(here.reason(POSTS))
    server.close(), here.close()
    # The server's way to write a chat leaves out the line break behind a picture; with words alone the texts are equal.
    assert np.mean(found.argmax(axis=1) == wanted.argmax(axis=1)) >= 0.8
    without_picture = [n for n, post in enumerate(POSTS) if post.image is None]
    assert without_picture
    np.testing.assert_allclose(found[without_picture], wanted[without_picture], atol=0.05)


def test_a_real_server_writes_a_rationale(url):
    server = open_reasoner(remote(url))
    plain, reasoned = server.reason(POSTS[:4]), server.reason(POSTS[:4], rationale=True)
    server.close()
    assert [v.label for v in plain] == [v.label for v in reasoned]
    for verdict in reasoned:
        assert verdict.rationale
        assert 0 <= verdict.sarcasm <= 1
        assert verdict.tokens > 0
    assert all(verdict.rationale is None for verdict in plain)


def test_a_real_server_is_asked_briefly(files, url):
    """Label and irony from log-probabilities, reasons by hiding words, as in this process."""
    server, here = open_reasoner(remote(url, prompt="smol")), open_reasoner(local(files, mmproj=None, prompt="smol"))
    posts = [Sample(text=post.text) for post in POSTS if post.text][:6]
    found, wanted = (each.reason(posts, rationale=True) for each in (server, here))
    server.close(), here.close()
    for post, one, other in zip(posts, found, wanted, strict=True):
        assert one.label == other.label
        assert one.rationale
        assert 0 <= one.sarcasm <= 1
        assert all(cue.text in post.text for cue in one.cues)


def test_an_adapter_the_server_does_not_list_is_an_error(url, tmp_path):
    server = open_reasoner(remote(url))
    with pytest.raises(ReasonerError, match="serves no adapter 'memes', only "):
        server.reason(POSTS[:1], LoraRef(name="memes", path=tmp_path))
    server.close()


def test_a_server_killed_in_the_middle_leaves_the_fast_answer(files, analyzer):
    with serving(files) as (process, address), killing(process, address) as through:
        reasoner = open_reasoner(remote(through))
        cascade = Analyzer(analyzer.encoder, list(analyzer.adapters.values()), reasoner=reasoner)
        answer = cascade.analyze("what a lovely day", mode="deep")
        reasoner.close()
    assert process.wait() != 0
    assert answer.sentiment == analyzer.analyze("what a lovely day", mode="fast").sentiment
    assert (answer.route.decision, answer.route.answered_by, answer.verdict) == ("defer", "fast", None)
    assert any("cannot be reached or broke off" in warning for warning in answer.warnings)


@contextmanager
def killing(process, address):
    """A way through to the server, which is killed as soon as it has been asked."""
    host, port = address.removeprefix("http://").removesuffix("/v1").split(":")

    class Way(StreamRequestHandler):
        def handle(self):
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += self.rfile.readline()
            length = next(int(line.split(b":")[1]) for line in head.splitlines() if b"ength:" in line)
            with create_connection((host, int(port))) as server:
                server.sendall(head + self.rfile.read(length))
                process.kill()
                process.wait()

    with running(ThreadingTCPServer(("127.0.0.1", 0), Way)) as way:
        yield way


@contextmanager
def running(server):
    """A server in a thread of its own; its API's address."""
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Scripted:
    """A server that gives the answers it was told, one after the other, and keeps what it was asked."""

    def __init__(self):
        self.asked, self.headers, self.replies, self.release = [], [], [], threading.Event()
        self.answer = completion
        script = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self.send(
                    {"object": "list", "data": [{"id": "memes", "object": "model", "created": 0, "owned_by": "x"}]}
                )

            def do_POST(self):
                script.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                script.headers.append(self.headers)
                reply = script.replies.pop(0) if script.replies else script.answer(script.asked[-1])
                self.send(reply)

            def send(self, reply):
                status, body, headers = reply if isinstance(reply, tuple) else (200, reply, {})
                if body is None:
                    script.release.wait()
                encoded = json.dumps(body).encode()
                self.send_response(status)
                for name, value in {**headers, "Content-Type": "application/json"}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(encoded)))
                self.end_headers()
                self.wfile.write(encoded)

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_):
                pass  # whoever asked has given up

        self.server = Server(("127.0.0.1", 0), Handler)


def token(spelled, *others):
    listed = [{"token": t, "logprob": float(np.log(p)), "bytes": list(t.encode())} for t, p in (spelled, *others)]
    return {**listed[0], "top_logprobs": listed}


def completion(asked, *, tokens=None, finish="stop", text='{"label": "positive"}'):
    """A chat completion; the label is decided at the token `positive`, unless told otherwise."""
    tokens = tokens or [
        token(('{"', 1.0)),
        token(("label", 1.0)),
        token(('": "', 1.0)),
        token(("positive", 0.6), ("negative", 0.2), ("neutral", 0.1)),
        token(('"}', 1.0)),
    ]
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": {"content": tokens}}
    return {"id": "x", "object": "chat.completion", "created": 0, "model": "tiny", "choices": [choice]}


@pytest.fixture
def scripted():
    script = Scripted()
    with running(script.server) as script.url:
        yield script
        script.release.set()


def asking(scripted, **options):
    return open_reasoner(remote(scripted.url, **options))


def test_what_is_sent(scripted, monkeypatch):
    monkeypatch.setenv("TINY_KEY", "open sesame")
    post = Sample(text="so lovely", image=Image.new("RGB", (20, 10), "red"))
    reasoner = asking(scripted, api_key_env="TINY_KEY")
    verdict = reasoner.reason([post])[0]
    reasoner.close()
    sent = scripted.asked[0]
    assert scripted.headers[0]["Authorization"] == "Bearer open sesame"
    assert (sent["model"], sent["temperature"], sent["logprobs"], sent["top_logprobs"]) == ("tiny", 0, True, 20)
    assert sent["response_format"]["json_schema"]["schema"]["required"] == ["label"]
    picture = sent["messages"][-1]["content"][0]["image_url"]["url"]
    assert picture.startswith("data:image/png;base64,")
    assert "so lovely" in sent["messages"][-1]["content"][-1]["text"]
    assert verdict.probabilities == pytest.approx({"negative": 2 / 9, "neutral": 1 / 9, "positive": 6 / 9})


def test_a_model_that_takes_no_pictures_is_sent_words(scripted):
    reasoner = asking(scripted, pictures=False)
    picture = Image.new("RGB", (20, 10), "red")
    verdict = reasoner.reason([Sample(text="so lovely", image=picture)])[0]
    with pytest.raises(PostError, match="reads no pictures, and the post has no words"):
        reasoner.reason([Sample(image=picture)])
    reasoner.close()
    assert (reasoner.reads_pictures, verdict.unseen) == (False, ("image",))
    assert "image_url" not in json.dumps(scripted.asked)
    with pytest.raises(ValidationError, match="`pictures` is for servers"):
        ReasonerConfig(backend="llama_cpp", model="model.gguf", pictures=False)


def test_large_pictures_travel_as_jpeg(scripted):
    reasoner = asking(scripted)
    reasoner.reason([Sample(image=Image.new("RGB", (600, 600), "red"))])
    reasoner.close()
    picture = next(p for p in scripted.asked[0]["messages"][-1]["content"] if p["type"] == "image_url")
    assert picture["image_url"]["url"].startswith("data:image/jpeg;base64,")


def test_an_adapter_is_asked_for_by_name(scripted, tmp_path):
    reasoner = asking(scripted)
    verdict = reasoner.reason([POST], LoraRef(name="memes", path=tmp_path))[0]
    reasoner.close()
    assert (scripted.asked[0]["model"], verdict.adapter) == ("memes", "memes")


def test_answers_keep_the_order_of_the_posts(scripted):
    def answer(asked):
        sure = 0.5 + int(asked["messages"][-1]["content"][-1]["text"].split("number")[1][:3]) / 1000
        return completion(
            asked, tokens=[token(('{"label": "', 1.0)), token(("positive", sure), ("negative", 1 - sure))]
        )

    scripted.answer = answer
    reasoner = asking(scripted, batch_size=4)
    verdicts = reasoner.reason([Sample(text=f"number{n:03}") for n in range(24)])
    reasoner.close()
    found = [verdict.probabilities["positive"] for verdict in verdicts]
    assert found == sorted(found)
    assert len(set(found)) == 24


def test_as_many_requests_are_under_way_as_the_configuration_says(scripted):
    together = threading.Barrier(16, timeout=20)

    def answer(asked):
        together.wait()
        return completion(asked)

    scripted.answer = answer
    reasoner = asking(scripted, batch_size=16, retries=0)
    assert len(reasoner.reason([POST] * 16)) == 16
    reasoner.close()


def test_a_busy_server_is_asked_again(scripted):
    scripted.replies = [(503, {"error": {"message": "loading"}}, {"retry-after-ms": "1"})]
    reasoner = asking(scripted, retries=1)
    assert reasoner.reason([POST])[0].label == "positive"
    reasoner.close()
    assert len(scripted.asked) == 2


@pytest.mark.parametrize(
    ("reply", "cause"),
    [
        ((401, {"error": {"message": "no"}}, {}), "refuses the key: set the environment variable TINY_KEY"),
        ((404, {"error": {"message": "no"}}, {}), "has no model 'tiny'"),
        ((429, {"error": {"message": "no"}}, {}), "is too busy"),
        ((400, {"error": {"message": "too long"}}, {}), r"refused the request \(400\): .*too long"),
        ((307, {}, {"Location": "http://192.0.2.1/v1/chat/completions"}), r"refused the request \(307\)"),
        ((200, {"hello": 1}, {}), "sent no chat completion"),
        (completion({}, finish="length"), "did not end after 32 tokens"),
        (
            {**completion({}), "choices": [{**completion({})["choices"][0], "logprobs": None}]},
            "gives no log-probabilities",
        ),
        (completion({}, tokens=[token(('{"label": "', 1.0)), token(("angry", 1.0))]), "none of the label words"),
        (completion({}, text='{"label": "purple"}'), "answer cannot be read .*purple"),
        (completion({}, text="positive, I would say"), "answer cannot be read"),
        (completion({}, text="[" * 100_000), "answer cannot be read .*RecursionError"),
        ({**completion({}), "usage": {"total_tokens": "many"}}, "makes sense: ValidationError"),
    ],
)
def test_a_failure_says_its_cause_and_no_key(scripted, monkeypatch, reply, cause):
    monkeypatch.setenv("TINY_KEY", "open sesame")
    scripted.replies = [reply]
    reasoner = asking(scripted, api_key_env="TINY_KEY")
    with pytest.raises(ReasonerError, match=cause) as raised:
        reasoner.reason([POST])
    reasoner.close()
    assert "open sesame" not in str(raised.value)


def test_a_server_that_keeps_silent_is_given_up(scripted):
    scripted.replies = [(200, None, {})]
    reasoner = asking(scripted, timeout=0.2)
    with pytest.raises(ReasonerError, match=r"gave no whole answer within 0\.2 s"):
        reasoner.reason([POST])
    reasoner.close()


def test_a_server_that_is_not_there_is_said():
    reasoner = open_reasoner(remote("http://127.0.0.1:9/v1"))
    with pytest.raises(ReasonerError, match="cannot be reached or broke off"):
        reasoner.reason([POST])
    reasoner.close()


def test_a_label_spelled_against_the_probabilities_is_asked_again(scripted):
    whole = (
        '{"label": "%s", "text_says": "none", "picture_says": "none", "sarcastic": false, "text_cues": [], '
        '"picture_cues": [], "rationale": "Because."}'
    )
    scripted.replies = [completion({}, text=whole % "negative"), completion({}, text=whole % "positive")]
    reasoner = asking(scripted)
    verdict = reasoner.reason([POST], rationale=True)[0]
    reasoner.close()
    assert (verdict.label, verdict.rationale) == ("positive", "Because.")
    assert scripted.asked[1]["response_format"]["json_schema"]["schema"]["properties"]["label"]["enum"] == ["positive"]


@pytest.mark.parametrize("address", ["ftp://there/v1", "localhost:8000", "http://"])
def test_an_address_must_be_one(address):
    with pytest.raises(InputError, match="is no http or https address"):
        open_reasoner(remote(address))


TEXT = b'{"label": "negative", "sarcastic": true}'


def cut(text, places):
    return [text[a:b] for a, b in pairwise([0, *sorted(places), len(text)])]


@given(st.sets(st.integers(1, len(TEXT) - 1)), st.floats(-3, -0.01))
def test_a_label_is_found_however_the_answer_is_cut(places, logprob):
    tokens = [SpelledToken(piece, {piece: logprob}) for piece in cut(TEXT, places)]
    shares = word_shares(tokens, LABEL, WORDS)
    spelled = next((p for p in cut(TEXT, places) if TEXT.find(p) + len(p) > 11), b"")
    start = TEXT.find(spelled)
    beginning = TEXT[11 : start + len(spelled)]
    if beginning in (b"n", b"ne"):  # may become neutral as well
        assert shares is None
    else:
        assert shares.argmax() == 0
        assert shares.sum() == pytest.approx(1)


def test_all_spellings_of_a_word_count_and_a_missing_word_gets_its_bound():
    listed = {b' "pos': 0.4, b' "positive': 0.2, b' "neg': 0.2, b' "ne': 0.03, b" [": 0.1}
    first = SpelledToken(b' "pos', {spelled: float(np.log(p)) for spelled, p in listed.items()})
    tokens = [SpelledToken(b'{"label":', {b'{"label":': 0.0}), first, SpelledToken(b'itive"}', {b'itive"}': 0.0})]
    wanted = np.array([0.2, 0.03, 0.6])  # no more than is left over, 0.07, and than the least that is listed
    np.testing.assert_allclose(word_shares(tokens, LABEL, WORDS), wanted / wanted.sum(), rtol=1e-5)


def test_a_token_that_may_become_two_words_decides_nothing():
    """Most of the probability stands on `ne`: the rest must not make `positive` the likeliest."""
    listed = {b"ne": 0.9, b"pos": 0.05, b"x": 0.04}
    first = SpelledToken(b"ne", {spelled: float(np.log(p)) for spelled, p in listed.items()})
    tokens = [SpelledToken(b'{"label": "', {b'{"label": "': 0.0}), first, SpelledToken(b'gative"}', {b'gative"}': 0.0})]
    assert word_shares(tokens, LABEL, WORDS) is None


def test_a_key_with_a_line_break_is_the_key(scripted, monkeypatch):
    monkeypatch.setenv("TINY_KEY", "sesame\n")
    reasoner = asking(scripted, api_key_env="TINY_KEY")
    assert reasoner.reason([POST])[0].label == "positive"
    reasoner.close()
    monkeypatch.setenv("TINY_KEY", "ses\name")
    with pytest.raises(InputError, match="the key in TINY_KEY holds characters") as raised:
        asking(scripted, api_key_env="TINY_KEY")
    assert "ses" not in str(raised.value)


@pytest.mark.parametrize("address", ["http://joe:secret@127.0.0.1/v1", "http://[::1/v1"])
def test_an_address_with_a_password_or_a_broken_one_is_refused_and_not_repeated(address):
    with pytest.raises(InputError) as raised:
        open_reasoner(remote(address))
    assert "secret" not in str(raised.value)


def odd(**changes):
    """A completion whose first token is described strangely."""
    reply = completion({})
    reply["choices"][0]["logprobs"]["content"][0] |= changes
    return reply


@pytest.mark.parametrize(
    "reply",
    [
        odd(logprob=None),
        odd(logprob=float("nan")),
        odd(bytes=[999]),
        odd(token=None, bytes=None),
        {**completion({}), "choices": ["x"]},
        {**completion({}), "choices": {"a": 1}},
        {**completion({}), "choices": [{**completion({})["choices"][0], "message": None}]},
    ],
)
def test_a_reply_that_makes_no_sense_is_said(scripted, reply):
    scripted.replies = [reply]
    reasoner = asking(scripted)
    with pytest.raises(ReasonerError, match="sent no chat completion"):
        reasoner.reason([POST])
    reasoner.close()
