"""A page to try a model in the browser, made by Gradio. It knows no HTML."""

from __future__ import annotations

from PIL.Image import Image

from ..analyzer import Analyzer, default_analyzer
from ..errors import InputError
from ..extras import needs

with needs("gradio", "the page to try a model"):
    import gradio

__all__ = ["demo_page"]


def demo_page(analyzer: Analyzer | None = None) -> gradio.Interface:
    """The page: words and a picture in, label and explanation out; `demo_page().launch()` serves it on this machine.

    Args:
        analyzer: What answers; the default model where none is given.
    """
    model = analyzer or default_analyzer()

    def answer(text: str, picture: Image | None) -> tuple[dict[str, float], str]:
        try:
            found = model.analyze(text or None, picture)
        except InputError as error:
            raise gradio.Error(str(error), print_exception=False) from error
        return {
            label: p for label, p in found.sentiment.probabilities.items()
        }, found.explanation.text if found.explanation else ""

    return gradio.Interface(
        answer,
        [gradio.Textbox(label="Words", lines=3), gradio.Image(type="pil", label="Picture")],
        [gradio.Label(label="Sentiment"), gradio.Textbox(label="Why")],
        title="hybrid_mmsa",
        flagging_mode="never",
        analytics_enabled=False,
    )
