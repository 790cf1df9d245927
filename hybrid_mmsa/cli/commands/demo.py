"""`hybrid-mmsa demo`: the bundled sample posts, answered and shown as a table. It holds no logic of its own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from ...analyzer import Analyzer, Row
from ...data import read_posts
from ...errors import ArtefactError
from ...reasoning.models.own import BUNDLED
from ...types import Analysis, Mode, Sample
from ..terminal.console import PROGRAM, emit, invocation, page
from ..terminal.options import AsJson, ReasonerChoice

if TYPE_CHECKING:
    from rich.console import Console

    from ..terminal.show import DeferredPost

__all__ = ["PICTURES", "SAMPLES", "demo"]

SAMPLES = Path(__file__).parents[2] / "samples"

PICTURES = MappingProxyType(
    {
        "astronaut.jpg": "a smiling astronaut",
        "bricks.jpg": "a bare brick wall",
        "cat.jpg": "a tabby cat's face",
        "clock.jpg": "a blurred wall clock",
        "espresso.jpg": "a cup of espresso",
        "galaxies.jpg": "far galaxies",
        "photographer.jpg": "a man with a tripod",
        "rocket.jpg": "a rocket on its pad",
    }
)
"""What each sample picture shows."""


def demo(reasoner: ReasonerChoice = None, as_json: AsJson = False) -> None:
    """Answer the bundled sample posts and show them as a table.

    They are made-up posts with free photographs: plain ones, a sarcastic one, one whose words and picture disagree.
    With a reasoner, the posts that the fast tier defers are asked about, and every step is shown.

    For example:
        hybrid-mmsa demo
        hybrid-mmsa demo --reasoner nano
    """
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # the page is for the posts
    posts = list(read_posts(SAMPLES / "posts.jsonl"))
    analyzer = Analyzer.from_pretrained(reasoner=reasoner)
    fast = _answers(Analyzer(analyzer.encoder, [*analyzer.adapters.values()]), [sample for _, sample in posts])
    deferred = _ask(analyzer, fast) if reasoner is not None else []
    if as_json:
        by_id = {post.sample.id: post.deep for post in deferred}
        for sample, answer in fast:
            emit(by_id.get(sample.id, answer).model_dump_json())
        return
    from ..terminal.show import PostTable

    console = page()
    console.print(PostTable(fast, PICTURES))
    if reasoner is not None:
        _show(console, analyzer, deferred)
    elif any(answer.route.decision == "defer" for _, answer in fast):
        console.print(
            "Deferred posts are for a reasoner, a larger model; none is configured: the fast answer stands. "
            f"One is bundled: {invocation()} demo --reasoner {BUNDLED}",
            soft_wrap=True,
        )
    more = "" if reasoner is None else f" --reasoner {reasoner} --mode deep"
    console.print(f'Your turn: {invocation()} analyze "What a day!" --image photo.jpg{more}', soft_wrap=True)


def _answers(analyzer: Analyzer, samples: Sequence[Row], mode: Mode = "auto") -> list[tuple[Sample, Analysis]]:
    """Every post and its answer."""
    shown: list[tuple[Sample, Analysis]] = []
    for sample, answer in zip(samples, analyzer.stream(samples, mode=mode), strict=True):
        if not isinstance(sample, Sample) or not isinstance(answer, Analysis):
            raise ArtefactError(f"a bundled sample post cannot be read: {answer.model_dump_json()}")
        shown.append((sample, answer))
    return shown


def _ask(analyzer: Analyzer, fast: Sequence[tuple[Sample, Analysis]]) -> list[DeferredPost]:
    """The deferred posts, asked about with a rationale."""
    from ..terminal.show import DeferredPost

    deferred = [(sample, answer) for sample, answer in fast if answer.route.decision == "defer"]
    pooling = analyzer.adapters[analyzer.default].pooling
    deep = _answers(analyzer, [sample for sample, _ in deferred], "deep")
    return [
        DeferredPost(sample, first, then, bool(pooling and then.verdict and pooling.fits(then.verdict)))
        for (sample, first), (_, then) in zip(deferred, deep, strict=True)
    ]


def _show(console: Console, analyzer: Analyzer, posts: Sequence[DeferredPost]) -> None:
    from ..terminal.show import DeferredPosts

    if not posts:
        console.print("The fast tier is sure of every post: none is deferred, and none is asked about.")
        return
    name = analyzer.reasoner.id if analyzer.reasoner is not None else ""
    what = "1 post is" if len(posts) == 1 else f"{len(posts)} posts are"
    console.print(f"{what} deferred; {name} is asked:\n")
    console.print(DeferredPosts(posts, PICTURES))
    least = analyzer.adapters[analyzer.default].gain_from(name)
    kept = sum((post.fast.route.p_error or 0.0) < least for post in posts)
    if kept:
        console.print(
            f"By itself (mode auto) {PROGRAM} would not have asked about {kept} of them: it was measured that asking "
            f"{name} gains nothing there.",
            soft_wrap=True,
        )
