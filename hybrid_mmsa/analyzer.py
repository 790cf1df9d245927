"""The whole way of a post, top to bottom: inputs → encoders → fusion → calibration → routing → reasoning → Analysis.

Where senses are asked for, words and faces in pictures join the answer between calibration and routing.

Knows nothing of file formats or servers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from typing import Any, get_args

import numpy as np

from .adapters import Adapter
from .analysis import FastAnswers, Stopwatch, compose_analyses
from .bounds.deadline import Deadline
from .encoders import PostMap
from .errors import EncoderError, InputError
from .explain import Evidence, find_all
from .foreign import translated
from .fusion import affect_vectors
from .inputs import FOREIGN, Row, check_choice, each_row, numbered_rows, read_row, read_sample, sample_of
from .model import ModelParts
from .reasoning import Verdicts, ask_about_deferred, unseen_by
from .routing import conflict
from .senses import InPictures, read_pictures
from .types import Analysis, ExplainLevel, Features, FloatArray, ImageSource, Mode, RowError, Sample, TaskArrays

__all__ = ["Analyzer", "analyze", "default_analyzer"]

STREAM_BATCH = 32


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    """How the posts of one call are to be answered."""

    adapter: Adapter
    mode: Mode
    explain: ExplainLevel
    ask_reasoner: bool = True

    @property
    def rationale(self) -> bool:
        """Whether the reasoner writes as well: where it will be read."""
        return self.explain == "full" or (self.mode == "deep" and self.explain != "none")


class Analyzer(ModelParts):
    """Answers posts. Safe to share between threads; load it once, with `from_pretrained` or from open parts.

    A context manager, which closes what `from_pretrained` opened. It can be pickled where it can be opened again: in
    another process it opens the same model from the same folder.
    """

    def analyze(
        self,
        text: str | None = None,
        image: ImageSource | None = None,
        *,
        target: str | None = None,
        adapter: str | None = None,
        mode: Mode = "auto",
        explain: ExplainLevel = "modality",
    ) -> Analysis:
        """What one post of text, picture or both feels.

        Args:
            text: The post's words.
            image: The picture: path, bytes, file object, PIL image, numpy array or `data:` URI; never a URL.
            target: Ask for the sentiment towards this person or thing, named in the text.
            adapter: Name of a loaded or bundled adapter to answer instead of the default.
            mode: `fast` never defers, `deep` always does, `auto` follows the policy.
            explain: `modality` says how much each side counts; `full` also which words and regions, for about four
                times the time; `none` explains nothing.

        Raises:
            InputError: Neither text nor picture, one that cannot be used, or an unknown option.
            ArtefactError: The bundled adapter that was named does not fit the model.
            EncoderError: The encoder failed.
            ClosedError: The analyzer is closed.
        """
        call = self._call(adapter, mode, explain)
        (answer,) = self._answer([read_sample(Sample(text=text, image=image, target=target), self._limits)], call)
        if isinstance(answer, EncoderError):
            raise answer
        return answer

    async def aanalyze(
        self,
        text: str | None = None,
        image: ImageSource | None = None,
        *,
        target: str | None = None,
        adapter: str | None = None,
        mode: Mode = "auto",
        explain: ExplainLevel = "modality",
    ) -> Analysis:
        """`analyze` in a thread, while the event loop goes on; arguments and errors as there."""
        import asyncio  # whoever calls this has it; most programs do not, and it takes a tenth of their start

        return await asyncio.to_thread(
            self.analyze, text, image, target=target, adapter=adapter, mode=mode, explain=explain
        )

    def analyze_batch(
        self,
        samples: Iterable[Row],
        *,
        adapter: str | None = None,
        mode: Mode = "auto",
        explain: ExplainLevel = "modality",
    ) -> list[Analysis]:
        """Answers in the order of `samples`. All are read first: `InputError.index` names a bad one before any work.

        Args:
            samples: Texts, samples, or mappings or named tuples in the row format.
            adapter: As in `analyze`.
            mode: As in `analyze`.
            explain: As in `analyze`.

        Raises:
            InputError: As in `analyze`.
            EncoderError: The encoder failed; its `index` names the post.
        """
        call, posts = self._call(adapter, mode, explain), self._read(samples)
        answers: list[Analysis] = []
        for start in range(0, len(posts), STREAM_BATCH):
            for answer in self._answer(posts[start : start + STREAM_BATCH], call):
                if isinstance(answer, EncoderError):
                    raise answer.at(len(answers))
                answers.append(answer)
        return answers

    def stream(
        self,
        rows: Iterable[Row | RowError | tuple[int, Row | RowError]],
        *,
        adapter: str | None = None,
        mode: Mode = "auto",
        explain: ExplainLevel = "modality",
        ask_reasoner: bool = True,
        batch: int = STREAM_BATCH,
    ) -> Iterator[Analysis | RowError]:
        """Answers in the order of `rows`, a few at a time; a bad row becomes a `RowError` and the others go on.

        An error of the iterator `rows` itself is passed on, and `ClosedError` is raised where the analyzer is closed
        meanwhile.

        Args:
            rows: Texts, samples, mappings or named tuples in the row format, or `RowError`s of a reader, each alone or
                as `(line, row)`.
            adapter: As in `analyze`.
            mode: As in `analyze`.
            explain: As in `analyze`.
            ask_reasoner: False leaves the reasoner out of this call: deferred posts keep their fast answers, to be
                asked about later, as a server does.
            batch: Posts that are read and answered together. Many texts are answered faster, since those of like length
                are encoded together; pictures are held decoded meanwhile.
        """
        call = replace(self._call(adapter, mode, explain), ask_reasoner=ask_reasoner)
        if type(batch) is not int or batch < 1:
            raise InputError(f"found {batch!r}; wanted a whole number of posts from 1 on", field="batch")
        return self._stream(numbered_rows(rows), call, batch)

    def posteriors(self, samples: Iterable[Row], *, adapter: str | None = None) -> TaskArrays:
        """Calibrated probabilities per task, float32 `[n, classes]`; see `types.Task`. For measuring."""
        call = self._call(adapter)
        return call.adapter.posteriors(self._checked.encode(self._read(samples)))

    def embed(self, samples: Iterable[Row]) -> FloatArray:
        """A vector per post in one space of words and pictures, float32 `[n, d]` of length 1: for search and likeness.

        The dot product of two vectors says how well they go together, whichever side each is of. A post of both sides
        is the mean of its two vectors, scaled to length 1. Targets are not read.

        Raises:
            InputError: A post cannot be read; `InputError.index` names it, before any work.
            ArtefactError: The model has no such space, or one that finds too little of what it should.
        """
        call, posts = self._call(), self._read(samples)
        return call.adapter.embed(self._checked.encode([Sample(text=s.text, image=s.image) for s in posts]))

    def affect(self, samples: Iterable[Row], *, adapter: str | None = None) -> FloatArray:
        """What each post feels as a vector, float32 `[n, len(AFFECT)]` of length 1: for posts that feel alike.

        The dot product of two vectors says how alike two posts feel, whatever they are about; see
        `fusion.AFFECT` for what its numbers are.

        Raises:
            InputError: A post cannot be read; `InputError.index` names it, before any work.
        """
        posteriors = self.posteriors(samples, adapter=adapter)
        return affect_vectors(posteriors, conflict(posteriors))

    def _call(self, adapter: str | None = None, mode: Mode = "auto", explain: ExplainLevel = "modality") -> _Call:
        self._check_open()
        # A caller's own kind of string may raise anything.
        with translated(lambda cause: InputError(f"an option of the call cannot be read ({cause})")):
            return _Call(
                adapter=self._adapters.get(adapter),
                mode=check_choice("mode", mode, get_args(Mode)),
                explain=check_choice("explain", explain, get_args(ExplainLevel)),
            )

    def _read(self, samples: Iterable[Row]) -> list[Sample]:
        posts = []
        for index, row in enumerate(each_row(samples)):
            try:
                posts.append(read_sample(sample_of(row), self._limits))
            except InputError as error:
                raise error.at(index) from error
        return posts

    def _stream(self, rows: Iterator[tuple[int, Any]], call: _Call, batch: int) -> Iterator[Analysis | RowError]:
        while chunk := [(line, read_row(line, row, self._limits)) for line, row in islice(rows, batch)]:
            answers = iter(self._answer([row for _, row in chunk if isinstance(row, Sample)], call))
            for line, row in chunk:
                answer = row if isinstance(row, RowError) else next(answers)
                yield RowError(line=line, id=row.id, error=str(answer)) if isinstance(answer, EncoderError) else answer

    def _answer(self, samples: Sequence[Sample], call: _Call) -> list[Analysis | EncoderError]:
        """Fast answers, verdicts on the deferred ones, evidence, and what is composed of all three.

        A post that cannot be encoded has its error in its place.
        """
        self._check_open()  # a stream may go on after `close`
        watch = Stopwatch(len(samples))
        deadline = Deadline(self._limits.max_post_seconds * max(len(samples), 1))
        in_full = call.explain == "full"  # then the encoder keeps its reading, which a memory for posts could not
        encoder = self._checked.uncached if in_full else self._checked
        encoded = encoder.encode_each(samples, deadline, keep=in_full)
        watch.lap("encode")
        if encoded.features is None:
            return [*encoded.failures.values()]
        posts = [samples[i] for i in encoded.rows]
        in_pictures = self._read_pictures(posts, encoded.features, call, deadline)
        watch.lap("senses", recorded=in_pictures is not None)
        fast = self._fast_answers(posts, encoded.features, in_pictures, call)
        watch.lap("decide")
        verdicts = self._ask_deferred(fast, call, deadline)
        watch.lap("reason", recorded=bool(verdicts.by_row or verdicts.warnings))
        evidence = self._find_evidence(fast, encoded.maps, call, deadline)
        watch.lap("explain", recorded=bool(evidence))
        analyses = iter(
            compose_analyses(
                fast, verdicts, evidence, reasoner=self._reasoner_id, explain=call.explain, timings=watch.laps
            )
        )
        return [encoded.failures[i] if i in encoded.failures else next(analyses) for i in range(len(samples))]

    def _read_pictures(
        self, posts: Sequence[Sample], features: Features, call: _Call, deadline: Deadline
    ) -> InPictures | None:
        """What the senses read, where any were asked for."""
        if self._readers is None:
            return None
        return read_pictures(
            self._readers,
            posts,
            call.adapter.sides(features).target,
            encoder=self._checked,
            judge=call.adapter.posteriors,
            poolings=call.adapter.senses,
            limits=self._limits,
            deadline=deadline,
        )

    def _fast_answers(
        self, posts: Sequence[Sample], features: Features, in_pictures: InPictures | None, call: _Call
    ) -> FastAnswers:
        adapter = call.adapter
        posteriors, sides = adapter.posteriors(features), adapter.sides(features)
        sides_alone = posteriors["sentiment"]
        if in_pictures is not None:
            posteriors["sentiment"] = in_pictures.joined(range(len(posts)), sides_alone, sides.text)
        gain_from = adapter.gain_from(self._reasoner_id, posts, unseen_by(self._reasoner))
        return FastAnswers(
            adapter=adapter,
            samples=posts,
            features=features,
            sides=sides,
            posteriors=posteriors,
            sides_alone=sides_alone,
            conflict=conflict(posteriors),
            routes=adapter.router.decide(
                posteriors,
                features,
                call.mode,
                self._policy,
                keep_below=gain_from,
                foreign=np.array([FOREIGN in post.warnings for post in posts], dtype=bool),
            ),
            in_pictures=in_pictures,
            senses={} if self._readers is None else self._readers.ids,
        )

    def _ask_deferred(self, fast: FastAnswers, call: _Call, deadline: Deadline) -> Verdicts:
        return ask_about_deferred(
            self._reasoner if call.ask_reasoner else None,
            fast.samples,
            fast.routes,
            call.adapter.lora,
            rationale=call.rationale,
            deadline=deadline,
        )

    def _find_evidence(
        self, fast: FastAnswers, kept: Sequence[PostMap | None], call: _Call, deadline: Deadline
    ) -> Sequence[Evidence]:
        if call.explain != "full":
            return ()
        encoder, adapter, target = self._checked.uncached, call.adapter, fast.sides.target
        if fast.in_pictures is None or not fast.in_pictures.any_counted:
            samples, features = fast.samples, fast.features
            return find_all(encoder, adapter.posteriors, adapter.prior(), samples, features, target, kept, deadline)
        evidence: list[Evidence] = []
        for row, sample in enumerate(fast.samples):  # what is in its picture belongs to each post's own judge
            judge, prior = fast.in_pictures.judge(row, adapter.posteriors), fast.prior(row)
            features = fast.features.take([row])
            evidence += find_all(encoder, judge, prior, [sample], features, target[[row]], [kept[row]], deadline)
        return evidence


@cache
def default_analyzer() -> Analyzer:
    """The default model, loaded at the first call and kept: what everything uses that is given no analyzer."""
    return Analyzer.from_pretrained()


def analyze(
    text: str | None = None,
    image: ImageSource | None = None,
    *,
    target: str | None = None,
    adapter: str | None = None,
    mode: Mode = "auto",
    explain: ExplainLevel = "modality",
) -> Analysis:
    """`Analyzer.analyze` of `default_analyzer()`."""
    return default_analyzer().analyze(text, image, target=target, adapter=adapter, mode=mode, explain=explain)
