"""A component of spaCy: the sentiment of a document, and towards each of its entities. It knows no pictures.

    nlp.add_pipe("hybrid_mmsa", last=True)
    doc._.sentiment.sentiment.label, [(entity.text, entity._.sentiment.sentiment.label) for entity in doc.ents]

spaCy finds the component by entry point; nothing of ours need be imported. Answers are kept as JSON in
`doc.user_data`, so documents can be saved and sent to other processes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from ..analyzer import Analyzer, default_analyzer
from ..extras import needs
from ..types import Analysis, Mode, RowError, Sample

with needs("spacy", "a component of spaCy"):
    from spacy.language import Language
    from spacy.tokens import Doc, Span

__all__ = ["SentimentComponent", "make_component"]

KEY = "hybrid_mmsa"


class SentimentComponent:
    """Answers documents as posts of words alone, and their entities as targets.

    Args:
        analyzer: What answers; the default model where none is given.
        mode: As in `Analyzer.analyze`.
        entities: Whether the sentiment towards each entity is asked for as well, one answer more for each.
    """

    def __init__(self, analyzer: Analyzer | None = None, *, mode: Mode = "auto", entities: bool = True) -> None:
        self.analyzer = analyzer or default_analyzer()
        self.mode: Mode = mode
        self.entities = entities

    def __call__(self, doc: Doc) -> Doc:
        """The document with its answers; a blank one has none."""
        return next(self.pipe([doc]))

    def pipe(self, stream: Iterable[Doc], batch_size: int = 32) -> Iterator[Doc]:
        """Documents in their order, answered some at a time."""
        docs = iter(stream)
        while chunk := list(islice(docs, max(batch_size, 1))):
            places = [(doc, span) for doc in chunk for span in self._targets(doc)]
            posts = [Sample(text=doc.text, target=None if span is None else span.text) for doc, span in places]
            for (doc, span), answer in zip(places, self._answers(posts), strict=True):
                if isinstance(answer, Analysis):
                    doc.user_data[_key(span)] = answer.model_dump_json()
            yield from chunk

    def _targets(self, doc: Doc) -> list[Span | None]:
        return [None, *(doc.ents if self.entities else ())]

    def _answers(self, posts: list[Sample]) -> Iterator[Analysis | RowError]:
        return self.analyzer.stream(posts, mode=self.mode, explain="none")


def _key(place: Doc | Span | None) -> str:
    """Where an answer is kept in `Doc.user_data`."""
    return f"{KEY}:{place.start_char}:{place.end_char}" if isinstance(place, Span) else KEY


def _kept(place: Doc | Span) -> Analysis | None:
    doc = place.doc if isinstance(place, Span) else place
    written = doc.user_data.get(_key(place))
    return None if written is None else Analysis.model_validate_json(written)


@Language.factory(
    KEY, default_config={"model": "default", "mode": "auto", "entities": True}, assigns=["doc._.sentiment"]
)
def make_component(nlp: Language, name: str, model: str, mode: Mode, entities: bool) -> SentimentComponent:
    """The component as spaCy makes it from a pipeline's configuration.

    Args:
        nlp: The pipeline.
        name: The component's name in it.
        model: A bundled model's name, or its folder.
        mode: As in `SentimentComponent`.
        entities: As in `SentimentComponent`.
    """
    analyzer = default_analyzer() if model == "default" else Analyzer.from_pretrained(model)
    return SentimentComponent(analyzer, mode=mode, entities=entities)


for kind in (Doc, Span):
    kind.set_extension("sentiment", getter=_kept, force=True)
