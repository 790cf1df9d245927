"""llama.cpp's own OpenAI server (package `xllamacpp`) over the file and the LoRA of a reasoner. It measures nothing."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hybrid_mmsa.reasoning import Reasoner, open_reasoner
from hybrid_mmsa.reasoning.backends.gguf_lora import lora_file
from hybrid_mmsa.reasoning.backends.llama_cpp import LlamaCppReasoner

__all__ = ["served"]

SERVE = """
import sys

import xllamacpp

model, lora, threads = sys.argv[1:]
params = xllamacpp.CommonParams()
params.model.path = model
if lora:
    params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(lora, 1.0)]
params.hostnames, params.port = ["127.0.0.1"], 0
params.n_ctx, params.n_parallel, params.fit_params, params.warmup = 2048, 1, False, False
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = int(threads)
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()  # until whoever started this is gone
"""


@contextmanager
def served(reasoner: LlamaCppReasoner, threads: int) -> Iterator[Reasoner]:
    """A reasoner that asks a server, which runs the same file with the same LoRA in a process of its own."""
    own, config = reasoner._own, reasoner.config
    with tempfile.TemporaryDirectory() as folder:
        lora = ""
        if own is not None:
            with lora_file(Path(own.path), reasoner._context.llama.metadata) as file:
                lora = str(Path(folder) / "lora.gguf")
                Path(lora).write_bytes(file.read_bytes())
        command = [sys.executable, "-c", SERVE, config.model, lora, str(threads)]
        pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
        with subprocess.Popen(command, text=True, stdin=pipe, stdout=pipe, stderr=nowhere) as process:
            try:
                url = f"{process.stdout.readline().strip()}/v1" if process.stdout else ""
                asked = config.model_copy(
                    update={"backend": "openai_server", "model": config.id, "url": url, "lora": None}
                )
                there: Any = open_reasoner(asked.model_copy(update={"batch_size": 1, "retries": 0}))
                yield there
                there.close()
            finally:
                process.kill()
