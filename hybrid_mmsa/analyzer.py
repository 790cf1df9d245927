"""The whole way of a post, top to bottom: inputs → encoders → fusion → calibration → routing → reasoning → Analysis.

Knows nothing of file formats or servers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import TypeAlias, get_args

from .adapters import Adapter, resolve_adapter
from .analysis import Answer, compose_analysis
from .encoders import Encoder, open_encoder
from .errors import ArtefactError, InputError
from .explain import find_all
from .inputs import check_choice, read_row, read_sample
from .reasoning import Reasoner, ReasonerConfig, ask_about_deferred, open_reasoner
from .routing import Policy
from .types import Analysis, ExplainLevel, FloatArray, ImageSource, Mode, RowError, Sample, TaskArrays

__all__ = ["Analyzer", "Row", "analyze"]

STREAM_BATCH = 32
Row: TypeAlias = "Sample | Mapping[str, object] | RowError"


class Analyzer:
    """Answers posts. Safe to share between threads; load it once.

    Args:
        encoder: Turns posts into features.
        adapters: Fitted parts by name; the first answers unless a call names another.
        reasoner: Answers deferred posts; without one the fast answer stands and says so.
        policy: What may be deferred; `None` uses the thresholds the adapter was fitted with.

    Raises:
        ArtefactError: An adapter was fitted to another encoder, or two have one name.
    """

    def __init__(
        self,
        encoder: Encoder,
        adapters: Sequence[Adapter],
        *,
        reasoner: Reasoner | None = None,
        policy: Policy | None = None,
    ) -> None:
        for adapter in adapters:
            adapter.check_encoder(encoder.name, encoder.hash)
            adapter.check_router()
            adapter.router.level(policy)  # what cannot be promised is said now
        self.encoder = encoder
        self.adapters = {adapter.name: adapter for adapter in adapters}
        if len(self.adapters) < len(adapters):
            raise ArtefactError(f"adapters must have different names, found {', '.join(a.name for a in adapters)}")
        self.default = adapters[0].name
        self.reasoner = reasoner
        self.policy = policy

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path = "default",
        *,
        reasoner: str | Path | ReasonerConfig | Reasoner | None = None,
        adapters: Sequence[str | Path] = (),
        policy: Policy | None = None,
        threads: int | None = None,
    ) -> Analyzer:
        """Load a model: a bundled adapter's name or a folder, and further adapters to choose from per call.

        Args:
            name_or_path: The adapter that answers by default.
            reasoner: What answers deferred posts, see `open_reasoner`: a pulled preset's name, a model's folder, a
                configuration or its `.toml` file, recorded verdicts (`.jsonl`), or a reasoner. None by default.
            adapters: More adapters, fitted to the same encoder or holding a LoRA adapter alone.
            policy: See `Analyzer`.
            threads: Threads per operator; default 1. Run posts side by side rather than one post faster.

        Raises:
            ArtefactError: No such adapter, a damaged file, one fitted to another encoder, or a model not pulled.
            InputError: No such reasoner.
            MissingExtraError: The reasoner's packages are not installed.
        """
        folders = [resolve_adapter(name) for name in (name_or_path, *adapters)]
        first = Adapter.load(folders[0])
        loaded = [first, *(Adapter.load(folder, first) for folder in folders[1:])]
        encoder = open_encoder(first.encoder, folders[0], threads=threads or 1)
        loras = [adapter.lora for adapter in loaded if adapter.lora is not None]
        opened = None if reasoner is None else open_reasoner(reasoner, loras)
        return cls(encoder, loaded, reasoner=opened, policy=policy)

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
            adapter: Name of a loaded adapter to answer instead of the default.
            mode: `fast` never defers, `deep` always does, `auto` follows the policy.
            explain: `modality` says how much each side counts; `full` also which words and regions (about 100 ms
                of one core, up to 400 of a long text); `none` explains nothing.

        Raises:
            InputError: Neither text nor picture, one that cannot be used, or an unknown option.
        """
        return self._answer([self._read(Sample(text=text, image=image, target=target))], adapter, mode, explain)[0]

    def analyze_batch(
        self,
        samples: Sequence[Sample],
        *,
        adapter: str | None = None,
        mode: Mode = "auto",
        explain: ExplainLevel = "modality",
    ) -> list[Analysis]:
        """Answers in the order of `samples`. All are read first: `InputError.index` names a bad one before any work."""
        read = [self._read(sample, i) for i, sample in enumerate(samples)]
        return [
            a
            for start in range(0, len(read), STREAM_BATCH)
            for a in self._answer(read[start : start + STREAM_BATCH], adapter, mode, explain)
        ]

    def stream(
        self,
        rows: Iterable[Row | tuple[int, Row]],
        *,
        adapter: str | None = None,
        mode: Mode = "auto",
        explain: ExplainLevel = "modality",
    ) -> Iterator[Analysis | RowError]:
        """Answers in the order of `rows`, a few at a time; a bad row becomes a `RowError` and the others go on.

        Args:
            rows: Samples, mappings in the row format, or `RowError`s of a reader, each alone or as `(line, row)`.
            adapter: As in `analyze`.
            mode: As in `analyze`.
            explain: As in `analyze`.
        """
        numbered = (row if isinstance(row, tuple) else (i, row) for i, row in enumerate(rows, 1))
        while chunk := [read_row(line, row) for line, row in islice(numbered, STREAM_BATCH)]:
            answers = iter(self._answer([r for r in chunk if isinstance(r, Sample)], adapter, mode, explain))
            yield from (row if isinstance(row, RowError) else next(answers) for row in chunk)

    def posteriors(self, samples: Sequence[Sample], *, adapter: str | None = None) -> TaskArrays:
        """Calibrated probabilities per task, float32 `[n, classes]`; see `types.Task`. For measuring."""
        chosen = self._adapter(adapter)
        return chosen.posteriors(self.encoder.encode([self._read(sample, i) for i, sample in enumerate(samples)]))

    def embed(self, samples: Sequence[Sample]) -> FloatArray:
        """A vector per post in one space of words and pictures, float32 `[n, d]` of length 1: for search and likeness.

        The dot product of two vectors says how well they go together, whichever side each is of. A post of both sides
        is the mean of its two vectors, scaled to length 1. Targets are not read.

        Raises:
            InputError: A post cannot be read; `InputError.index` names it, before any work.
            ArtefactError: The model has no such space, or one that finds too little of what it should.
        """
        read = [self._read(sample, i) for i, sample in enumerate(samples)]
        return self.adapters[self.default].embed(self.encoder.encode([Sample(s.text, s.image) for s in read]))

    def _answer(self, samples: Sequence[Sample], name: str | None, mode: Mode, explain: ExplainLevel) -> list[Analysis]:
        check_choice("mode", mode, get_args(Mode))
        check_choice("explain", explain, get_args(ExplainLevel))
        adapter = self._adapter(name)
        started = perf_counter()
        features = self.encoder.encode(samples)
        encoded = perf_counter()
        posteriors = adapter.posteriors(features)
        reasoner = self.reasoner.id if self.reasoner is not None else None
        routes = adapter.router.decide(posteriors, features, mode, self.policy, keep_below=adapter.gain_from(reasoner))
        decided = perf_counter()
        written = explain == "full" or (mode == "deep" and explain != "none")
        verdicts, warnings = ask_about_deferred(self.reasoner, samples, routes, adapter.lora, rationale=written)
        reasoned = perf_counter()
        share = 1000 / max(len(samples), 1)
        timings = {"encode": (encoded - started) * share, "decide": (decided - encoded) * share}
        if verdicts or warnings:
            timings["reason"] = (reasoned - decided) * share
        prior, evidence = adapter.prior(), []
        if explain == "full":
            evidence = find_all(self.encoder, adapter.posteriors, prior, samples, features)
            timings["explain"] = (perf_counter() - reasoned) * share
        said = (verdicts, warnings, timings, prior, evidence)
        ready = bool(adapter.made_with.get("ready", True))
        answer = Answer(samples, features, posteriors, routes, *said, adapter.router, adapter.pooling, ready)
        provenance = adapter.provenance()
        return [
            compose_analysis(answer, i, provenance, explain=explain, reasoner=reasoner) for i in range(len(samples))
        ]

    def _adapter(self, name: str | None) -> Adapter:
        if name is not None and name not in self.adapters:
            raise InputError(f"no adapter {name!r} is loaded; loaded are {', '.join(self.adapters)}", field="adapter")
        return self.adapters[name or self.default]

    def _read(self, sample: Sample, index: int | None = None) -> Sample:
        try:
            return read_sample(sample)
        except InputError as error:
            raise error if index is None else error.at(index) from None


@cache
def _default() -> Analyzer:
    return Analyzer.from_pretrained()


def analyze(
    text: str | None = None,
    image: ImageSource | None = None,
    *,
    target: str | None = None,
    mode: Mode = "auto",
    explain: ExplainLevel = "modality",
) -> Analysis:
    """`Analyzer.analyze` of one default analyzer, loaded at the first call and kept."""
    return _default().analyze(text, image, target=target, mode=mode, explain=explain)
