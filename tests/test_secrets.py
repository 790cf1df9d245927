"""The key of a server is shown nowhere, also where the server repeats it: errors, `repr`, logs, pickles, documents."""

import copy
import json
import logging
import pickle
import subprocess
import sys
from contextlib import suppress

import pytest
from gguf_vlm import remote

from eval.bench.hardening.servers import KEY, answer, choice, misbehaving
from hybrid_mmsa import Analyzer, ReasonerConfig, ReasonerError, Sample
from hybrid_mmsa.reasoning import open_reasoner
from hybrid_mmsa.reasoning.backends.secret import Secret

POST = Sample(text="so lovely")

ECHO = b"Content-Type: application/json\r\nX-Echo: Bearer " + KEY.encode() + b"\r\n"
PARTS = (KEY, KEY[:8], KEY[-8:])
ECHOES = {
    "an answer": answer(choice(), head=ECHO),
    "an error": answer({"error": {"message": f"bad header Bearer {KEY}"}}, status="400 Bad", head=ECHO),
    "a status": answer(b"{}", status=f"500 Bearer {KEY}"),
    "a redirect": answer(b"", status="302 Found", head=f"Location: http://192.0.2.1/{KEY}\r\n".encode()),
}


@pytest.fixture
def key(monkeypatch):
    monkeypatch.setenv("TINY_KEY", KEY)


def config(url):
    return remote(url, timeout=2.0, retries=1, api_key_env="TINY_KEY")


def holds_no_key(text):
    text = text.decode("latin-1") if isinstance(text, bytes) else text
    return not any(part in text for part in PARTS)


@pytest.mark.parametrize("name", ECHOES)
def test_no_log_holds_the_key(key, caplog, name):
    """At the level of all: whoever looks for a mistake logs everything, and sends the log to somebody."""
    caplog.set_level(1)
    for logger in ("httpcore2", "httpx2", "openai"):
        caplog.set_level(1, logger)
    with misbehaving(ECHOES[name]) as url:
        reasoner = open_reasoner(config(url))
        with suppress(ReasonerError):
            reasoner.reason([POST])
        reasoner.close()
    assert any(record.name.startswith("httpcore2") for record in caplog.records)
    assert holds_no_key(caplog.text)
    if name in {"an answer", "an error"}:
        assert "X-Echo" in caplog.text
        assert "***" in caplog.text


def test_a_closed_reasoner_leaves_no_filter(key):
    before = list(logging.getLogger("httpcore2.http11").filters)
    reasoner = open_reasoner(config("http://127.0.0.1:9/v1"))
    assert len(logging.getLogger("httpcore2.http11").filters) == len(before) + 1
    reasoner.close()
    assert logging.getLogger("httpcore2.http11").filters == before


def test_nothing_that_is_shown_holds_the_key(key, tiny_model):
    settings = config("http://127.0.0.1:9/v1")
    with Analyzer.from_pretrained(tiny_model, reasoner=settings) as analyzer:
        shown = [f(each) for each in (settings, analyzer.reasoner, analyzer) for f in (repr, str)]
        shown += [repr(vars(analyzer.reasoner)), repr(vars(analyzer)), repr(analyzer.reasoner._client)]
        shown += [settings.model_dump_json(), json.dumps(settings.model_dump(mode="json"))]
        shown += [json.dumps(ReasonerConfig.model_json_schema())]
        assert all(map(holds_no_key, shown))


def test_no_pickle_holds_the_key(key, tiny_model):
    with Analyzer.from_pretrained(tiny_model, reasoner=config("http://127.0.0.1:9/v1")) as analyzer:
        travelling = pickle.dumps(analyzer)
        assert holds_no_key(travelling)
        with pickle.loads(travelling) as other:
            assert other.reasoner.id == analyzer.reasoner.id
        for travel in (pickle.dumps, copy.deepcopy):
            with pytest.raises(TypeError) as raised:
                travel(analyzer.reasoner)
            assert holds_no_key(str(raised.value))
            with pytest.raises(TypeError, match="a key does not travel"):
                travel(analyzer.reasoner._secret)


def test_no_output_of_the_command_line_holds_the_key(key, tiny_model, tmp_path):
    with misbehaving(ECHOES["an error"]) as url:
        (tmp_path / "server.toml").write_text(
            f'backend = "openai_server"\nid = "tiny"\nmodel = "m"\nurl = "{url}"\napi_key_env = "TINY_KEY"\n'
        )
        (tmp_path / "posts.jsonl").write_text('{"text": "we love the sun"}\n' * 3)
        command = [sys.executable, "-m", "hybrid_mmsa", "batch", "posts.jsonl", "-o", "out.jsonl", "--mode", "deep"]
        command += ["--model", str(tiny_model), "--reasoner", "server.toml"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert holds_no_key(done.stdout + done.stderr)
    written = [file.read_text() for file in tmp_path.iterdir()]
    assert all(map(holds_no_key, written))
    assert any("***" in text for text in written)


def test_a_key_is_struck_out_however_it_is_spelt():
    secret = Secret('sk-"quoted"/and+more')
    for spelt in ('sk-"quoted"/and+more', 'sk-\\"quoted\\"/and+more', "sk-%22quoted%22/and%2Bmore", 'sk-"quoted"/a'):
        assert secret.struck(f"key {spelt}") == "key ***"
    assert Secret("abc").struck("abc") == "abc"
    assert Secret("").struck("words") == "words"
    assert repr(secret) == "Secret(***)"
