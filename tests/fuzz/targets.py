"""Doors of the package that untrusted bytes come through, each as a function of bytes. Knows nothing of who calls them.

A target ends well, or with an error of `hybrid_mmsa.errors`; whatever else it raises is a fault. What it asserts are
promises of the functions that it calls.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import httpx2
import numpy as np
from PIL import Image

from hybrid_mmsa import Analyzer, Limits
from hybrid_mmsa.adapters import MANIFEST, Adapter, describe_adapter
from hybrid_mmsa.artefacts import LoraFile, SpaceFile, read_arrays, read_artefact
from hybrid_mmsa.client import exchange
from hybrid_mmsa.data import read_posts
from hybrid_mmsa.errors import HybridError, InputError
from hybrid_mmsa.inputs import (
    as_sentence,
    looks_foreign,
    normalise,
    read_image,
    read_row,
    read_sample,
    reword,
    to_pixels,
)
from hybrid_mmsa.reasoning import ReasonerConfig, load_prompt
from hybrid_mmsa.reasoning.backends import openai_server
from hybrid_mmsa.reasoning.prompt.answer import MOST_CUES, RATIONALE_CHARACTERS, read_answer, read_label
from hybrid_mmsa.serving import BatchAnswer, Job
from hybrid_mmsa.testing import TinyEncoder, tiny_adapter
from hybrid_mmsa.types import Analysis, RowError, Sample

T = TypeVar("T")
CORPUS = Path(__file__).resolve().parent / "corpus"
LIMITS = Limits(max_image_pixels=4_000_000, max_image_memory=60_000_000)
"""Less than a post may cost otherwise: many inputs are tried."""
SIDE = 32
SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".js", ".xlsx", ".csv.gz", ".jsonl.gz", ".txt", "")
PARTS = (
    MANIFEST,
    "calibration.json",
    "router.json",
    "pooling.json",
    "fast.safetensors",
    "router.safetensors",
    "card.md",
)
ALONE = ("adapter_config.json", "align.json", "align.safetensors")
STATUSES = (200, 200, 200, 200, 200, 200, 400, 401, 404, 429, 500, 503, 204, 302)


@dataclass(frozen=True)
class Target:
    """One door: what calls it, and how many bytes are tried at most."""

    run: Callable[[bytes], None]
    longest: int


def meet(name: str, content: bytes) -> str:
    """Hand bytes to a target: what came of it, in a word; a fault is raised as it is."""
    try:
        TARGETS[name].run(content)
    except HybridError as error:
        return type(error).__name__
    return "answered"


def text(content: bytes) -> None:
    """Words of a post, and a target behind a tab."""
    words, _, target = content.decode("utf-8", "surrogateescape").partition("\t")
    canonical = normalise(words)
    canonical.encode()
    assert normalise(canonical) == canonical
    as_sentence(reword(canonical)).encode()
    looks_foreign(canonical)
    try:
        read = read_sample(Sample(text=words, target=target or None))
    except InputError as error:
        if error.__cause__ is not None:
            raise RuntimeError("only objects of callers' own kinds may raise what is translated") from error
        raise
    assert read_sample(read) is read


def picture(content: bytes) -> None:
    """The bytes of a picture."""
    pixels = to_pixels(read_image(content, LIMITS, draft=SIDE), SIDE)
    assert (pixels.shape, pixels.dtype) == ((SIDE, SIDE, 3), np.uint8)


def data_uri(content: bytes) -> None:
    """What stands behind `data:` where a picture is named."""
    read_image("data:" + content.decode("utf-8", "surrogateescape"), LIMITS, draft=SIDE)


def rows(content: bytes) -> None:
    """A file of posts; the first byte chooses the ending of its name."""
    with _file(f"posts{_chosen(SUFFIXES, content)}", content[1:]) as path:
        posts = read_posts(path)
        posts.understood().encode(errors="surrogateescape")
        for line, row in posts:
            assert isinstance(read_row(line, row), Sample | RowError)


def adapter(content: bytes) -> None:
    """A part of an adapter's folder whose hash fits; the first byte chooses which. What is loaded answers a post."""
    part = _chosen((*PARTS, *ALONE), content)
    if part in ALONE:
        with _file(part, content[1:]) as path:
            if path.suffix == ".json":
                read_artefact(path, SpaceFile if part == "align.json" else LoraFile)
            else:
                read_arrays(path)
        return
    with TemporaryDirectory() as place:
        folder, made = Path(place), _made_adapter()
        for name, whole in {**made, part: content[1:]}.items():
            (folder / name).write_bytes(whole)
        if part != MANIFEST:
            manifest = json.loads(made[MANIFEST])
            fitted_to = {key: manifest[key] for key in ("encoder", "encoder_hash", "strategy")}
            describe_adapter(folder, name=manifest["name"], made_with=manifest["made_with"], fitted_to=fitted_to)
        answer = Analyzer(TinyEncoder(), [Adapter.load(folder)]).analyze("What a lovely day", explain="full")
        assert abs(sum(answer.sentiment.probabilities.values()) - 1) < 1e-3


def prompt(content: bytes) -> None:
    """A prompt's file, which may come with somebody's adapter."""
    with _file("prompt.toml", content) as path:
        read = load_prompt(path)
        read.messages(Sample(text="so lovely", target="day" if read.asks_for_target else None), image_size=None)


def answer(content: bytes) -> None:
    """What a model wrote about a post."""
    written, asked = content.decode("utf-8", "surrogateescape"), load_prompt("sentiment")
    post = Sample(text="Third  cancelled TRAIN today, ﬁne. Thank you so much!", image=Image.new("RGB", (8, 8)))
    with suppress(HybridError):
        read_label(written, asked)
    read = read_answer(written, asked, post)
    assert len(read.cues) <= 2 * MOST_CUES
    assert len(read.rationale or "") <= RATIONALE_CHARACTERS
    (read.rationale or "").encode()
    for cue in read.cues:
        cue.text.encode()


def reply(content: bytes) -> None:
    """What a model's server replies: a byte for the status, a line for `Retry-After`, the body."""
    reasoner, transport = _asking()
    transport.content = content
    for rationale in (False, True):
        (verdict,) = reasoner.reason([Sample(text="so lovely")], rationale=rationale)
        assert abs(sum(verdict.probabilities.values()) - 1) < 1e-3


def served(content: bytes) -> None:
    """What a server of ours, or one that is taken for it, replies to the client; in the form of `reply`."""
    kind = (Analysis, BatchAnswer, Job)[(content or b"\0")[0] // 16 % 3]
    exchange.read(_response(content), kind).model_dump_json()


TARGETS: Mapping[str, Target] = {
    "text": Target(text, 600),
    "picture": Target(picture, 4_000),
    "data_uri": Target(data_uri, 1_500),
    "rows": Target(rows, 3_000),
    "adapter": Target(adapter, 4_000),
    "prompt": Target(prompt, 3_000),
    "answer": Target(answer, 1_500),
    "reply": Target(reply, 2_000),
    "served": Target(served, 3_000),
}


@contextmanager
def _file(name: str, content: bytes) -> Iterator[Path]:
    """A file of its own with some content, for the length of a block."""
    with TemporaryDirectory() as place:
        path = Path(place) / name
        path.write_bytes(content)
        yield path


def _chosen(options: Sequence[T], content: bytes) -> T:
    """The option of the first byte: `0` is the first one, `1` the second, `:` the one behind `9`."""
    return options[((content or b"0")[0] - ord("0")) % len(options)]


@cache
def _made_adapter() -> dict[str, bytes]:
    with TemporaryDirectory() as place:
        tiny_adapter(TinyEncoder()).save(Path(place))
        return {path.name: path.read_bytes() for path in Path(place).iterdir()}


def _response(content: bytes) -> httpx2.Response:
    wait, _, body = content[1:].partition(b"\n")
    status = _chosen(STATUSES, content)
    headers = [(b"content-type", b"application/json"), (b"retry-after", wait.replace(b"\r", b" "))]
    return httpx2.Response(status, headers=headers, content=body, request=httpx2.Request("POST", "http://a.b/v1"))


class _Told(httpx2.BaseTransport):
    """In the place of sockets: every request is answered with the same content."""

    content = b""

    def until(self, _: float) -> nullcontext[None]:
        return nullcontext()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        request.read()
        return _response(self.content)


@cache
def _asking() -> tuple[openai_server.OpenAIServerReasoner, _Told]:
    made, transport = openai_server.BoundedTransport, _Told()
    openai_server.BoundedTransport = lambda: transport
    try:
        config = ReasonerConfig(
            backend="openai_server", model="tiny", url="http://127.0.0.1:9/v1", retries=0, api_key_env="NO_KEY_AT_ALL"
        )
        os.environ.pop(config.api_key_env, None)
        return openai_server.OpenAIServerReasoner(config), transport
    finally:
        openai_server.BoundedTransport = made
