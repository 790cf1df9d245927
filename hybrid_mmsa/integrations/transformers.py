"""The form of a Hugging Face pipeline: posts in, `[{"label": ..., "score": ...}]` out. It loads no model of a hub."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias, cast

from ..analyzer import Analyzer, default_analyzer
from ..errors import InputError
from ..extras import needs
from ..inputs import Row
from ..types import LABELS, Analysis, Mode, Sample

with needs("hf", "a Hugging Face pipeline"):
    import torch
    from transformers import PreTrainedConfig
    from transformers.pipelines import PIPELINE_REGISTRY, Pipeline

__all__ = ["TASK", "PostSentimentPipeline", "sentiment_pipeline"]

TASK = "post-sentiment"
"""The task as `transformers.pipeline` knows it."""

Scores: TypeAlias = "list[dict[str, str | float]]"


class _Model:
    """An analyzer with what a pipeline asks of a model: it has no device of its own."""

    def __init__(self, analyzer: Analyzer) -> None:
        self.analyzer = analyzer
        self.device = torch.device("cpu")
        self.config = PreTrainedConfig(id2label=dict(enumerate(LABELS)))

    def can_generate(self) -> bool:
        return False


class PostSentimentPipeline(Pipeline):
    """The sentiment of posts of text and picture, as pipelines of `transformers` say it.

    Called with a text, a mapping of a row's columns (`text`, `image`, `target`), or a list of these. `top_k`
    is how many labels come, likeliest first, all by default.
    """

    _load_tokenizer = _load_image_processor = _load_feature_extractor = _load_processor = False

    def __init__(self, model: Analyzer | _Model, **kwargs: Any) -> None:
        wrapped = model if isinstance(model, _Model) else _Model(model)
        super().__init__(wrapped, device=torch.device("cpu"), **{k: v for k, v in kwargs.items() if k != "device"})

    def __call__(self, inputs: Row | Iterable[Row], **kwargs: Any) -> Scores | list[Scores]:
        """The labels of one post, or of each of several, with their calibrated probabilities.

        Raises:
            InputError: A post cannot be read; its `index` names it.
        """
        _, forward, after = self._sanitize_parameters(**kwargs)
        one = isinstance(inputs, str | Mapping | Sample)
        posts = cast("Iterable[Row]", [inputs] if one else inputs)
        answers = self._forward(posts, **(self._forward_params | forward))
        scores = [self.postprocess(answer, **(self._postprocess_params | after)) for answer in answers]
        return scores[0] if one else scores

    def _sanitize_parameters(
        self, top_k: int | None = None, mode: Mode | None = None, adapter: str | None = None, **unknown: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if unknown:
            raise InputError(f"no such option: {', '.join(unknown)}; known are top_k, mode and adapter")
        forward = {"mode": mode, "adapter": adapter}
        return {}, {k: v for k, v in forward.items() if v is not None}, {} if top_k is None else {"top_k": top_k}

    def preprocess(self, post: Row) -> Row:
        """The post as it is: the analyzer reads it."""
        return post

    def _forward(self, posts: Iterable[Row], mode: Mode = "auto", adapter: str | None = None) -> list[Analysis]:
        answers: list[Analysis] = self.model.analyzer.analyze_batch(posts, adapter=adapter, mode=mode, explain="none")
        return answers

    def postprocess(self, answer: Analysis, top_k: int = len(LABELS)) -> Scores:
        """The answer's labels with their probabilities, the likeliest first."""
        ranked = sorted(answer.sentiment.probabilities.items(), key=lambda pair: -pair[1])
        return [{"label": label, "score": score} for label, score in ranked[:top_k]]


def sentiment_pipeline(analyzer: Analyzer | None = None, **options: Any) -> PostSentimentPipeline:
    """A pipeline around an analyzer, the default one if none is given; so is `pipeline(TASK, model=analyzer)`.

    Args:
        analyzer: What answers.
        options: `top_k`, `mode` and `adapter`, as calls take them.
    """
    return PostSentimentPipeline(model=analyzer or default_analyzer(), task=TASK, **options)


PIPELINE_REGISTRY.register_pipeline(TASK, pipeline_class=PostSentimentPipeline)
