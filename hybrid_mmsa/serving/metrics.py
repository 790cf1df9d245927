"""What a server counts, for Prometheus. Every name begins with `hybrid_mmsa_`; no label holds anything of a post.

Each server has a registry of its own. Knows nothing of HTTP.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from threading import Lock

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from ..analyzer import Analyzer
from ..routing import shifts
from ..types import LABELS, Analysis, Reason
from .post_queue import Post, PostQueue
from .schemas import BatchRow

__all__ = ["Metrics"]

PREFIX = "hybrid_mmsa"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SIZES = (1, 2, 4, 8, 16, 32, 64)
AMOUNTS = (0, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216)
DRIFT_POSTS, DRIFT_LEAST = 1000, 100
"""The newest posts whose scores are compared with those of the router's calibration, and how many are needed."""


class Metrics:
    """The counters of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = self._counter("requests", "Requests answered.", "route", "status")
        self._request_seconds = self._histogram("request_seconds", "From head to last byte.", SECONDS, "route")
        self._problems = self._counter("problems", "Refusals, of requests and of rows.", "code")
        self._queue_seconds = self._histogram("queue_seconds", "Wait for a worker, by post.", SECONDS, "queue")
        self._batch_posts = self._histogram("batch_posts", "Posts judged together.", SIZES, "queue")
        self._batch_tokens = self._histogram("batch_tokens", "Their tokens, estimated.", AMOUNTS, "queue")
        self._batch_pixels = self._histogram("batch_pixels", "Their pixels, as read.", AMOUNTS, "queue")
        self._batch_seconds = self._histogram("batch_seconds", "What judging them took.", SECONDS, "queue")
        self._stage_seconds = self._histogram("stage_seconds", "Time by stage and post.", SECONDS, "stage")
        self._routes = self._counter("posts", "Posts answered, by what became of them.", "decision", "answered_by")
        self._reasons = self._counter("defer_reasons", "Why posts were deferred.", "reason")
        self._labels = self._counter("labels", "Labels given.", "label")
        self._reasoner_failures = self._counter("reasoner_failures", "Posts that it gave no verdict on.")
        self._scores: deque[tuple[float, float, float, int]] = deque(maxlen=DRIFT_POSTS)
        self._lock = Lock()

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"{PREFIX}_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: Sequence[float], *labels: str) -> Histogram:
        return Histogram(f"{PREFIX}_{name}", text, labels, buckets=buckets, registry=self.registry)

    def watch(self, queues: Callable[[], dict[str, PostQueue]], analyzer: Analyzer) -> None:
        """Also report how long the queues are, and how far posts have drifted from the router's calibration."""
        self.registry.register(_Watched(queues, lambda: self._drift(analyzer)))

    def queue(self, name: str) -> _QueueMeter:
        """What the queue of a name reports to."""
        return _QueueMeter(self, name)

    def request(self, route: str, status: int, seconds: float) -> None:
        """A request was answered."""
        self._requests.labels(route, str(status)).inc()
        self._request_seconds.labels(route).observe(seconds)

    def problem(self, code: str) -> None:
        """A request or a row was refused."""
        self._problems.labels(code).inc()

    def reasoner_failed(self) -> None:
        """The reasoner gave no verdict on a post."""
        self._reasoner_failures.inc()

    def row(self, row: BatchRow) -> None:
        """A post was answered or refused."""
        if row.error is not None:
            self.problem(row.error.code)
        if row.analysis is not None:
            self._answer(row.analysis)

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self.registry)

    def _answer(self, answer: Analysis) -> None:
        route = answer.route
        self._routes.labels(route.decision, "fast" if route.answered_by == "fast" else "reasoner").inc()
        self._labels.labels(answer.sentiment.label).inc()
        for reason in route.reasons:
            self._reasons.labels(reason).inc()
        for stage, milliseconds in answer.timings.items():
            self._stage_seconds.labels(stage).observe(milliseconds / 1000)
        if route.p_error is not None:
            nan = float("nan")
            sarcasm = nan if answer.sarcasm is None else answer.sarcasm
            conflict = nan if answer.conflict is None else answer.conflict
            with self._lock:
                self._scores.append((route.p_error, sarcasm, conflict, LABELS.index(answer.fast.label)))

    def _drift(self, analyzer: Analyzer) -> Iterator[tuple[str, float]]:
        with self._lock:
            scores = np.array(self._scores, dtype=np.float64).reshape(-1, 4)
        sample = analyzer.adapters[analyzer.default].router.sample
        if sample is None or len(scores) < DRIFT_LEAST:
            return
        by_reason: dict[Reason, np.ndarray] = {
            "low_confidence": scores[:, 0],
            "sarcasm": scores[:, 1],
        }
        for shift in shifts(sample, {**by_reason, "conflict": scores[:, 2]}, scores[:, 3].astype(np.int64)):
            yield shift.what, shift.distance


class _QueueMeter:
    """See `post_queue.QueueMeter`."""

    def __init__(self, metrics: Metrics, name: str) -> None:
        self._metrics, self._name = metrics, name

    def waited(self, seconds: float) -> None:
        self._metrics._queue_seconds.labels(self._name).observe(seconds)

    def batch(self, posts: Sequence[Post], seconds: float) -> None:
        metrics, name = self._metrics, self._name
        metrics._batch_posts.labels(name).observe(len(posts))
        metrics._batch_tokens.labels(name).observe(sum(post.tokens for post in posts))
        metrics._batch_pixels.labels(name).observe(sum(post.pixels for post in posts))
        metrics._batch_seconds.labels(name).observe(seconds)


class _Watched:
    """Values that are read when they are asked for."""

    def __init__(
        self, queues: Callable[[], dict[str, PostQueue]], drift: Callable[[], Iterable[tuple[str, float]]]
    ) -> None:
        self._queues, self._drift = queues, drift

    def collect(self) -> Iterator[Metric]:
        length = GaugeMetricFamily(f"{PREFIX}_queue_posts", "Posts that wait or are being judged.", labels=["queue"])
        for name, queue in self._queues().items():
            length.add_metric([name], len(queue))
        yield length
        drift = GaugeMetricFamily(
            f"{PREFIX}_drift",
            "Largest difference between the newest posts' scores and the router's calibration, 0 to 1.",
            labels=["score"],
        )
        for what, distance in self._drift():
            drift.add_metric([what], distance)
        yield drift
