"""A post's way through the server: read, judged by the fast tier, and, where it is deferred, by the reasoner.

Two queues: posts of the fast tier wait for milliseconds, deferred ones for seconds, and neither holds the other up.
Knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace

from ..analyzer import Analyzer
from ..errors import ArtefactError, HybridError, InputError
from ..inputs import read_sample
from ..types import Analysis, RowError, Sample
from .jobs import Jobs
from .metrics import Metrics
from .post_queue import BatchLimits, Outcome, Post, PostQueue
from .problems import Problem, unusable
from .reading import Options, Request, Row
from .remote_pictures import RemotePictures
from .schemas import BatchRow
from .settings import ServerSettings

__all__ = ["Answering", "Patience"]

NOT_ASKED = "the reasoner was not asked, the fast answer stands: {}"
TOO_SLOW = "it did not answer in time"
PROBE = Sample(text="What a lovely day")
PROBE_SECONDS, PROBE_HOLDS = 5.0, 1.0
STUCK_SECONDS = 60.0
"""A batch that runs for longer never ends: the reading of its pictures and texts is bounded."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long whoever asks will wait.

    Attributes:
        until: When the request must be answered, in the seconds of the event loop.
        verdict: Whether to wait for the reasoner; otherwise a job asks it.
        owner: Who may fetch that job.
    """

    until: float
    verdict: bool
    owner: str


class Answering:
    """Answers the posts of all requests. It belongs to one event loop.

    Args:
        analyzer: What judges; it stays open.
        settings: How much at a time.
        metrics: Is told what happens.
        remote: Fetches pictures that posts name by their address.
    """

    def __init__(self, analyzer: Analyzer, settings: ServerSettings, metrics: Metrics, remote: RemotePictures) -> None:
        self.analyzer, self.metrics, self._remote = analyzer, metrics, remote
        self._fetching = asyncio.Semaphore(settings.fetches)
        self._fetchers = ThreadPoolExecutor(settings.fetches, thread_name_prefix="fetch")
        self._pool = ThreadPoolExecutor(settings.workers, thread_name_prefix="fast")
        self._asking = ThreadPoolExecutor(settings.reasoner_workers, thread_name_prefix="reasoner")
        batch = BatchLimits(
            posts=settings.batch_posts,
            tokens=settings.batch_tokens,
            pixels=settings.batch_pixels,
            waiting_posts=settings.waiting_posts,
            waiting_pixels=settings.waiting_pixels,
        )
        self.fast = PostQueue(
            self._judge, batch, pool=self._pool, workers=settings.workers, meter=metrics.queue("fast")
        )
        self.deferred = PostQueue(
            self._ask,
            BatchLimits(
                posts=settings.reasoner_posts,
                tokens=settings.batch_tokens,
                pixels=settings.batch_pixels,
                waiting_posts=settings.deferred_posts,
                waiting_pixels=settings.waiting_pixels,
            ),
            pool=self._asking,
            workers=settings.reasoner_workers,
            meter=metrics.queue("reasoner"),
        )
        self.closing = False
        self._probe: asyncio.Task[Problem | None] | None = None
        self._probed = 0.0
        self.jobs = Jobs(settings.job_seconds, settings.jobs)

    async def answers(self, request: Request, patience: Patience) -> list[BatchRow]:
        """What becomes of each post of a request, in their order. All of them get places, or none.

        Raises:
            Problem: `overloaded`, `no_reasoner`, or an option that the analyzer does not know.
        """
        self._check(request.options)
        with self.fast.places(len(request.rows)):
            first = await self._first(request, patience.until)
        rows = await asyncio.gather(*(self._second(post, outcome, patience) for post, outcome in first))
        for row in rows:
            if row.job is None:  # a job is counted when it ends
                self.metrics.row(row)
        return list(rows)

    async def ready(self) -> None:
        """Answer a short post; it waits for no other. Whoever asks within a second shares the answer.

        Raises:
            Problem: `not_ready`.
        """
        if self._probe is None or (self._probe.done() and time.monotonic() - self._probed > PROBE_HOLDS):
            self._probe, self._probed = asyncio.create_task(self._answer_probe()), time.monotonic()
        problem = await asyncio.shield(self._probe)
        if problem is not None:
            raise problem

    async def _answer_probe(self) -> Problem | None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                judged = loop.run_in_executor(self._pool, self._judge, [PROBE], Options(mode="fast"))
                (outcome,) = await judged
        except TimeoutError:
            return Problem("not_ready", "a short post was not answered in time", retry_after=PROBE_SECONDS)
        except HybridError as error:
            return Problem("not_ready", str(error))
        return Problem("not_ready", outcome.detail) if isinstance(outcome, Problem) else None

    def check_alive(self) -> None:
        """Raise `not_ready` where a batch never ends."""
        if self.fast.busy_seconds > STUCK_SECONDS:
            raise Problem("not_ready", f"a batch has been running for {self.fast.busy_seconds:.0f} s")

    async def close(self, seconds: float) -> None:
        """Finish what was taken, for so long; the rest is cancelled."""
        self.closing = True
        try:
            async with asyncio.timeout(seconds):
                await self.jobs.finished()
                await self.fast.finished()
                await self.deferred.finished()
        except TimeoutError:
            self.jobs.cancel_all()
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._asking.shutdown(wait=False, cancel_futures=True)
        self._fetchers.shutdown(wait=False, cancel_futures=True)

    def _check(self, options: Options) -> None:
        if options.mode == "deep" and self.analyzer.reasoner is None:
            raise Problem("no_reasoner", "found mode deep; this server was started without a reasoner", field="mode")
        try:
            self.analyzer.stream([], adapter=options.adapter)
        except InputError as error:
            raise unusable(error) from None
        except ArtefactError as error:
            raise Problem("unusable_post", str(error), field="adapter") from None

    async def _read(self, row: Row, options: Options) -> Post | Problem:
        """The post, its picture decoded: alone, so that a picture that costs much delays no other post of a batch."""
        if isinstance(row, Problem):
            return row
        try:
            if isinstance(row, Sample):
                return Post(await self._decoded(row), options)
            async with self._fetching:  # held until it is decoded, so that few pictures wait as they came
                picture = await asyncio.get_running_loop().run_in_executor(
                    self._fetchers, self._remote.fetch, row.picture
                )
                return Post(await self._decoded(replace(row.sample, image=picture)), options)
        except InputError as error:
            return unusable(error)
        except Problem as problem:
            return problem

    async def _decoded(self, sample: Sample) -> Sample:
        return await asyncio.get_running_loop().run_in_executor(self._pool, read_sample, sample, self.analyzer.limits)

    async def _first(self, request: Request, until: float) -> list[tuple[Post | None, Outcome]]:
        """The posts as they were read, with the fast tier's outcomes; what is not reached in time is a problem."""
        late = Problem("deadline_exceeded", "the fast tier did not answer in time")
        posts: Sequence[Post | Problem] = [row if isinstance(row, Problem) else late for row in request.rows]
        try:
            async with asyncio.timeout_at(until):
                posts = await asyncio.gather(*(self._read(row, request.options) for row in request.rows))
                outcomes = iter(await self.fast.outcomes([post for post in posts if isinstance(post, Post)]))
        except TimeoutError:
            return [(None, post if isinstance(post, Problem) else late) for post in posts]
        return [(post, next(outcomes)) if isinstance(post, Post) else (None, post) for post in posts]

    async def _second(self, post: Post | None, outcome: Outcome, patience: Patience) -> BatchRow:
        """The row of a post, with the verdict or with the job that will have it."""
        if isinstance(outcome, Problem):
            return BatchRow(error=outcome.body())
        if post is None or outcome.route.decision == "keep" or self.analyzer.reasoner is None:
            return BatchRow(analysis=outcome)
        place = ExitStack()
        try:
            place.enter_context(self.deferred.places(1))
            if not patience.verdict:
                job = self.jobs.start(patience.owner, self._job(post), place.close)
                return BatchRow(analysis=outcome, job=job)
            with place:
                async with asyncio.timeout_at(patience.until):
                    return BatchRow(analysis=await self._reasoned(post))
        except TimeoutError:
            problem = Problem("deadline_exceeded", f"the reasoner: {TOO_SLOW}")
        except Problem as error:
            problem = error
        if post.options.mode == "deep":
            return BatchRow(error=problem.body())
        return BatchRow(analysis=_with_warning(outcome, NOT_ASKED.format(problem.detail)))

    async def _job(self, post: Post) -> Analysis:
        analysis = await self._reasoned(post)
        self.metrics.row(BatchRow(analysis=analysis))
        return analysis

    async def _reasoned(self, post: Post) -> Analysis:
        """The answer with the verdict; the post has a place in the queue."""
        (outcome,) = await self.deferred.outcomes([post])
        if isinstance(outcome, Problem):
            raise outcome
        return outcome

    def _judge(self, samples: Sequence[Sample], options: Options) -> list[Outcome]:
        return self._outcomes(samples, options, ask_reasoner=False)

    def _ask(self, samples: Sequence[Sample], options: Options) -> list[Outcome]:
        """Judge again, the reasoner asked. In mode deep an answer without its verdict is a problem."""
        outcomes = self._outcomes(samples, options, ask_reasoner=True)
        for row, outcome in enumerate(outcomes):
            if isinstance(outcome, Analysis) and outcome.verdict is None:
                self.metrics.reasoner_failed()
                if options.mode == "deep":
                    cause = next((note for note in outcome.warnings if "reasoner" in note), "it gave no verdict")
                    outcomes[row] = Problem("reasoner_failed", cause)
        return outcomes

    def _outcomes(self, samples: Sequence[Sample], options: Options, *, ask_reasoner: bool) -> list[Outcome]:
        answers = self.analyzer.stream(
            samples,
            adapter=options.adapter,
            mode=options.mode,
            explain=options.explain,
            ask_reasoner=ask_reasoner,
        )
        # The posts were read, so what is wrong with one is the encoder's.
        return [Problem("encoder_failed", each.error) if isinstance(each, RowError) else each for each in answers]


def _with_warning(analysis: Analysis, warning: str) -> Analysis:
    return analysis.model_copy(update={"warnings": (*analysis.warnings, warning)})
