"""The light core stays light: importing it and judging a post draws in no torch and opens no socket."""

import json
import socket
import subprocess
import sys

import pytest

# Runs in a fresh interpreter. The hook hears of every socket that Python opens from the first line on; the descriptors
# still open at the end tell of those that native code may have opened.
PROGRAM = """
import json, os, sys
events = []
sys.addaudithook(lambda event, args: events.append(event) if event.startswith("socket.") else None)

import hybrid_mmsa
answer = None
if sys.argv[1] == "analyze":
    import numpy
    picture = numpy.linspace(0, 255, 96 * 64 * 3).reshape(96, 64, 3).astype("uint8")
    answer = hybrid_mmsa.analyze("What a lovely day at the sea!", picture, mode="fast").sentiment.label

folder = "/proc/self/fd"
links = [os.readlink(f"{folder}/{fd}") for fd in os.listdir(folder) if os.path.exists(f"{folder}/{fd}")]
print(json.dumps({
    "answer": answer,
    "modules": sorted({name.split(".")[0] for name in sys.modules}),
    "sockets": events + [link for link in links if link.startswith("socket:")],
}))
"""
HEAVY = {
    *("accelerate", "bitsandbytes", "datasets", "huggingface_hub", "llama_cpp", "matplotlib", "onnx", "open_clip"),
    *("pandas", "peft", "pyarrow", "scipy", "sentence_transformers", "sklearn", "timm", "torch", "torchvision"),
    *("tokenizers", "transformers", "trl", "fastapi", "starlette", "uvicorn", "prometheus_client", "httpx2", "anyio"),
    *("cv2", "omegaconf", "rapidocr", "shapely"),
}


def fresh(*arguments):
    command = [sys.executable, "-W", "error", "-c", PROGRAM, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("what", ["import", "analyze"])
def test_fresh_process_stays_light(what):
    seen = fresh(what)
    assert not HEAVY & set(seen["modules"])
    assert seen["sockets"] == []
    assert (seen["answer"] in {"negative", "neutral", "positive"}) == (what == "analyze")


def test_command_line_starts_light():
    program = "import sys, hybrid_mmsa.cli; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not HEAVY & set(done.stdout.split())


def test_without_its_extra_a_reasoner_names_it_and_draws_in_nothing(tmp_path):
    """An installation of the light core alone: the heavy packages cannot be found."""
    (tmp_path / "config.json").write_text("{}")
    program = f"""
import sys

class Refuses:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {HEAVY!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Refuses())
from hybrid_mmsa.cli import run
code = run(["analyze", "What a day!", "--reasoner", {str(tmp_path)!r}, "--mode", "deep"])
assert not {HEAVY!r} & {{name.split(".")[0] for name in sys.modules}}
sys.exit(code)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines() == [
        "error: the transformers reasoner needs the extra 'vlm': pip install 'hybrid-mmsa[vlm]'"
    ]


def test_importing_leaves_the_process_as_it_was():
    """No log handler, no environment variable, no changed warning filter comes from an import."""
    program = """
import logging, os, sys, warnings
import numpy, onnxruntime, PIL, pydantic, rich, typer
before = (dict(os.environ), list(warnings.filters), list(logging.getLogger().handlers), logging.getLogger().level)
import hybrid_mmsa
after = (dict(os.environ), list(warnings.filters), list(logging.getLogger().handlers), logging.getLogger().level)
sys.exit(before != after)
"""
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_the_network_is_refused_to_every_test():
    with socket.socket() as client, pytest.raises(Exception, match="a test tried to reach"):
        client.connect(("192.0.2.1", 80))
    with pytest.raises(Exception, match="a test tried to look up"):
        socket.getaddrinfo("example.org", 443)


def test_this_machine_may_be_spoken_to():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert client.getpeername() == server.getsockname()
