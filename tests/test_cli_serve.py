"""`hybrid-mmsa serve` and `new-key` as a user runs them: a port, keys, a signal to stop, one line for what is wrong."""

import json
import os
import signal
import socket
import subprocess
import sys

import httpx2
import pytest
from tiny_server import until

from hybrid_mmsa.cli import run
from hybrid_mmsa.serving import Keys


def start(*arguments, **environment):
    command = [sys.executable, "-m", "hybrid_mmsa", "serve", "--port", "0", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env={**os.environ, **environment}, **pipes)


def test_a_server_with_a_key_answers_and_stops_when_told(tmp_path, capfd):
    assert run(["new-key", "shop", "--quiet"]) == 0, "a key cannot be made again: it is told all the same"
    line, said = capfd.readouterr()
    key = said.split()[-1]
    assert Keys.read(line, "keys").owner(key) == "shop"
    (tmp_path / "keys.txt").write_text(line)
    server = start("--keys", str(tmp_path / "keys.txt"), "--set", "workers=1")
    try:
        opening = server.stderr.readline()
        assert "(1 key)" in opening
        address = opening.split()[2].rstrip("/")

        def is_up():
            try:
                return httpx2.get(f"{address}/readyz", trust_env=False, timeout=30).status_code == 200
            except httpx2.HTTPError:
                return False

        until(is_up, 60)
        post = {"url": f"{address}/v1/analyze", "json": {"text": "I love this, best day ever"}, "trust_env": False}
        assert httpx2.post(**post).status_code == 401
        answer = httpx2.post(**post, headers={"authorization": f"Bearer {key}"}, timeout=30)
        assert answer.json()["sentiment"]["label"] == "positive"
    finally:
        server.send_signal(signal.SIGTERM)
        out, log = server.communicate(timeout=60)
    assert server.returncode == 0
    assert out == ""
    lines = [json.loads(line) for line in log.splitlines()]
    assert [(line["status"], line.get("key")) for line in lines if line["event"] == "request"] == [
        (401, None),
        (200, "shop"),
    ]
    assert key not in log
    assert "love" not in log


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--host", "0.0.0.0"], "listening on 0.0.0.0 needs --keys FILE, or HYBRID_MMSA_KEYS"),
        (["--host", "example.org"], "listening on example.org needs --keys FILE"),
        (["--keys", "no such file"], "No such file"),
        (["--keys", "pyproject.toml"], "pyproject.toml: line 1 is no key"),
        (["--set", "workers=0"], "workers: found 0; wanted a positive whole number"),
        (["--set", "colour=red"], "no setting 'colour'"),
        (["--model", "no such model"], "no such model"),
        (["--adapter", "no such adapter"], "no such adapter"),
        (["--reasoner", "no such reasoner"], "no such reasoner"),
        (["--limit", "max_image_pixels=0"], "max_image_pixels"),
        (["--port", "99999"], "65535"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(arguments, complaint, capfd, monkeypatch):
    monkeypatch.delenv("HYBRID_MMSA_KEYS", raising=False)
    assert run(["serve", *arguments]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert complaint in line


def test_a_port_that_is_taken_is_said_in_one_line(capfd):
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert run(["serve", "--port", str(other.getsockname()[1])]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "in use" in line


def test_keys_in_the_environment_are_read_as_strictly(capfd, monkeypatch):
    monkeypatch.setenv("HYBRID_MMSA_KEYS", "a secret by itself")
    assert run(["serve"]) == 2
    said = capfd.readouterr().err
    assert "HYBRID_MMSA_KEYS: line 1 is no key" in said
    assert "secret" not in said


def test_without_its_extra_the_command_names_it(capfd, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "hybrid_mmsa.serving.server", raising=False)
    assert run(["serve"]) == 2
    assert "the server needs the extra 'serve': pip install 'hybrid-mmsa[serve]'" in capfd.readouterr().err
    assert run(["new-key", "a b"]) == 2
