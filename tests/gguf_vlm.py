"""The tests' small VLM as llama.cpp's files, run in this process or behind llama.cpp's own server on loopback."""

import subprocess
import sys
from contextlib import contextmanager

from hybrid_mmsa.reasoning import ReasonerConfig
from hybrid_mmsa.training.lora.gguf import write_gguf

SERVE = """
import sys
import time

import xllamacpp

params = xllamacpp.CommonParams()
params.model.path, params.mmproj.path = sys.argv[1:]
params.hostnames, params.port = ["127.0.0.1"], 0
params.n_ctx, params.n_parallel, params.fit_params, params.warmup = 8192, 2, False, False
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()  # until whoever started this is gone
"""


def written(folder, out):
    """`model.gguf` and `mmproj.gguf` in a folder."""
    out.mkdir(parents=True, exist_ok=True)
    write_gguf(folder, out / "model.gguf", out / "mmproj.gguf", "float32")
    return out


def local(files, **options):
    """A llama.cpp reasoner's configuration."""
    values = {"model": str(files / "model.gguf"), "mmproj": files / "mmproj.gguf", "device": "cpu", "threads": 1}
    return ReasonerConfig(backend="llama_cpp", **{**values, **options})


def remote(url, **options):
    """A server reasoner's configuration."""
    return ReasonerConfig(backend="openai_server", model="tiny", url=url, **{"timeout": 120, "retries": 0, **options})


@contextmanager
def serving(files):
    """llama.cpp's own OpenAI-compatible server over the files; its process, and the address of its API."""
    command = [sys.executable, "-c", SERVE, str(files / "model.gguf"), str(files / "mmproj.gguf")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, **pipes) as process:
        try:
            yield process, process.stdout.readline().strip() + "/v1"
        finally:
            process.kill()
