"""Posts answered by processes of a Ray cluster, in their order and in bounded memory; a lost process loses no post.

The rows are read and the answers gathered here; workers answer some posts at a time. Ray starts a worker again that
was killed, and gives it again what it had in hand. A reasoner lives in processes of its own, which all workers share;
what it may cost is counted in one place. It knows no files.
"""

from __future__ import annotations

import os
import uuid
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import count
from types import TracebackType
from typing import Any

from ..analyzer import Analyzer
from ..errors import InputError, PostError, ReasonerError
from ..extras import needs
from ..foreign import cause
from ..inputs import NumberedRow
from ..model import ReasonerSource
from ..reasoning import Account, Budget, open_reasoner
from ..types import Analysis, LoraRef, RowError, Sample, Verdict
from .local import Call, chunks

__all__ = ["RayEngine", "SharedReasoner", "cluster"]

RETRIES = 1
"""How often some posts are given to a worker again that was lost over them; then they are halved."""


class cluster:  # noqa: N801 - a context manager, used as a function
    """Connected to a Ray cluster while the block runs.

    It is the one that is connected already, the one that `RAY_ADDRESS` names, or one on this machine that ends with the
    block.

    Args:
        cores: Of the one on this machine; all if None.

    Raises:
        MissingExtraError: The extra `ray` is not installed.
    """

    def __init__(self, cores: int | None = None) -> None:
        with needs("ray", "--engine ray"):
            import ray
        self._ray: Any = ray
        self._cores = cores

    def __enter__(self) -> None:
        self._ours = not self._ray.is_initialized()
        if self._ours:
            here = {"num_cpus": self._cores or os.cpu_count(), "include_dashboard": False}
            local = {} if os.environ.get("RAY_ADDRESS") else here
            self._ray.init(logging_level="ERROR", log_to_driver=False, **local)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._ours:
            self._ray.shutdown()


class RayEngine:
    """Answers on the workers of a cluster; to be used inside of `cluster`.

    Args:
        analyzer: Answers; each worker opens it again from where it was opened. See `Analyzer` on what can be pickled.
        call: How.
        workers: Processes of one core each; one per core of the cluster if None.

    Raises:
        InputError: A worker cannot open the model.
    """

    def __init__(self, analyzer: Analyzer, call: Call, workers: int | None = None) -> None:
        import ray

        self._ray: Any = ray
        self.workers = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
        kind = ray.remote(_Worker).options(num_cpus=1, max_restarts=-1, max_task_retries=RETRIES)
        self._idle = deque(kind.remote(analyzer, call) for _ in range(self.workers))
        try:
            ray.get([worker.is_ready.remote() for worker in self._idle])
        except ray.exceptions.RayError as error:
            raise InputError(f"the workers could not open the model ({cause(error)})", field="--engine") from error

    def answers(self, rows: Iterable[NumberedRow]) -> Iterator[Analysis | RowError]:
        """What `Analyzer.stream` answers to the rows, in their order."""
        waiting: deque[tuple[Any, list[NumberedRow]]] = deque()
        for chunk in chunks(rows):
            waiting.append(self._ask(chunk))
            if len(waiting) > 2 * self.workers:
                yield from self._answers(*waiting.popleft())
        while waiting:
            yield from self._answers(*waiting.popleft())

    def _ask(self, chunk: list[NumberedRow]) -> tuple[Any, list[NumberedRow]]:
        self._idle.rotate(-1)
        return self._idle[-1].answer.remote(chunk), chunk

    def _answers(self, asked: Any, chunk: list[NumberedRow]) -> list[Analysis | RowError]:
        """What a worker answered; where workers are lost over these posts again and again, each half by itself."""
        try:
            answers: list[Analysis | RowError] = self._ray.get(asked)
            return answers
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause if isinstance(error.cause, Exception) else error from error
        except self._ray.exceptions.RayError as error:
            if len(chunk) == 1:
                line, row = chunk[0]
                return [RowError(line=line, id=row.id, error=f"a worker was lost over this post ({cause(error)})")]
            middle = len(chunk) // 2
            return [a for half in (chunk[:middle], chunk[middle:]) for a in self._answers(*self._ask(half))]


class _Worker:
    """A process of the cluster that answers posts."""

    def __init__(self, analyzer: Analyzer, call: Call) -> None:
        self._analyzer, self._call = analyzer, call

    def is_ready(self) -> bool:
        return True

    def answer(self, chunk: list[NumberedRow]) -> list[Analysis | RowError]:
        call = self._call
        return list(
            self._analyzer.stream(chunk, adapter=call.adapter, mode=call.mode, explain=call.explain, batch=len(chunk))
        )


class SharedReasoner:
    """A reasoner in processes of the cluster, from any process of it; see `Reasoner`. It is pickled as names.

    Args:
        names: Of its processes.
        payer: Of the process that counts what is spent.
        facts: What the reasoner says of itself: `id`, `revision`, `reads_pictures`.
    """

    def __init__(self, names: tuple[str, ...], payer: str, facts: dict[str, Any]) -> None:
        self._arguments = (names, payer, facts)
        self._names, self._payer = names, payer
        self._turn = count(os.getpid())
        self._kept: list[Any] = []  # the processes end when nobody holds them any more
        self.id: str = facts["id"]
        for name, value in facts.items():
            setattr(self, name, value)

    def __reduce__(self) -> tuple[type[SharedReasoner], tuple[Any, ...]]:
        return type(self), self._arguments

    @classmethod
    def start(cls, what: ReasonerSource, budget: Budget, processes: int = 1) -> SharedReasoner:
        """Open a reasoner in so many processes of the cluster, with one budget for all who ask.

        Args:
            what: See `open_reasoner`.
            budget: What all questions together may cost.
            processes: Models that are open; an endpoint needs but one.

        Raises:
            HybridError: As `open_reasoner` raises it.
        """
        import ray

        run = uuid.uuid4().hex[:8]
        names = tuple(f"hybrid-mmsa-reasoner-{run}-{n}" for n in range(processes))
        payer = f"hybrid-mmsa-account-{run}"
        # They take no core from the workers, which wait while they answer.
        kept: list[Any] = [ray.remote(Account).options(name=payer, num_cpus=0).remote(budget)]
        kept += [ray.remote(_Reasoning).options(name=n, num_cpus=0, max_restarts=-1).remote(what) for n in names]
        try:
            facts = ray.get(kept[1].facts.remote())
        except ray.exceptions.RayError as error:
            raise ReasonerError(f"the reasoner could not be opened in the cluster ({cause(error)})") from error
        shared = cls(names, payer, facts)
        shared._kept = kept
        return shared

    def reason(
        self, samples: Sequence[Sample], lora: LoraRef | None = None, *, rationale: bool = False
    ) -> list[Verdict]:
        """One verdict per post, in order; see `Reasoner.reason`.

        Raises:
            ReasonerError: The budget is spent, the reasoner failed, or its process is lost.
            PostError: One of the posts cannot be answered; nothing is paid, and the others may be asked about again.
        """
        import ray

        payer = _named(self._payer)
        if refused := ray.get(payer.pay.remote(len(samples))):
            raise ReasonerError(refused)
        asked = _named(self._names[next(self._turn) % len(self._names)])
        try:
            verdicts: list[Verdict] = ray.get(asked.reason.remote(samples, lora, rationale))
            return verdicts
        except PostError as error:  # which is Ray's own error as well, and tells the traceback of the other process
            ray.get(payer.give_back.remote(len(samples)))
            raise PostError(str(getattr(error, "cause", error))) from error
        except ray.exceptions.RayError as error:
            raise ReasonerError(f"the shared reasoner failed ({cause(error)})") from error

    @property
    def spent(self) -> float:
        """What all questions have cost until now, in the budget's unit."""
        import ray

        return float(ray.get(_named(self._payer).total.remote()))


class _Reasoning:
    """A process of the cluster that holds a reasoner."""

    def __init__(self, what: ReasonerSource) -> None:
        self._reasoner = open_reasoner(what)

    def facts(self) -> dict[str, Any]:
        names = ("id", "revision", "reads_pictures")
        return {name: getattr(self._reasoner, name) for name in names if hasattr(self._reasoner, name)}

    def reason(self, samples: Sequence[Sample], lora: LoraRef | None, rationale: bool) -> list[Verdict]:
        return self._reasoner.reason(samples, lora, rationale=rationale)


@lru_cache(maxsize=64)
def _named(name: str) -> Any:
    import ray

    return ray.get_actor(name)
