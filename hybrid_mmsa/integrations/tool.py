"""A plain function for agents: what a post feels, as plain values. LangChain, LlamaIndex and others wrap it as it is.

Its name, its docstring and its annotations are what a model reads; `TOOL_SCHEMA` is the same as JSON Schema, in the
form of the chat APIs. It imports none of these libraries.
"""

# Annotations stay values in this file: LlamaIndex takes them as they stand, and cannot look up what a string names.

from inspect import cleandoc
from types import MappingProxyType
from typing import Annotated, Any, cast

from pydantic import Field, TypeAdapter

from ..analyzer import default_analyzer
from ..types import Analysis

__all__ = ["TOOL_SCHEMA", "analyze_post", "summary"]


def analyze_post(
    text: Annotated[str, Field(description="The post's words, in English.")],
    target: Annotated[
        str | None, Field(description="A person or thing that the text names, to ask for the sentiment towards it.")
    ] = None,
) -> dict[str, Any]:
    """Say what a post feels (negative, neutral or positive), how sure that is, and why.

    Where `needs_review` is true, a person should read the post, for the `reasons` given.
    """
    return summary(default_analyzer().analyze(text, target=target))


def summary(answer: Analysis) -> dict[str, Any]:
    """What an agent needs of an answer, as JSON holds it."""
    return {
        "id": answer.id,
        "label": answer.sentiment.label,
        "probabilities": {label: round(p, 4) for label, p in answer.sentiment.probabilities.items()},
        "sarcasm": None if answer.sarcasm is None else round(answer.sarcasm, 4),
        "conflict": None if answer.conflict is None else round(answer.conflict, 4),
        "needs_review": bool(answer.needs_review),
        "p_error": None if answer.route.p_error is None else round(answer.route.p_error, 4),
        "reasons": list(answer.route.reasons),
        "explanation": None if answer.explanation is None else answer.explanation.text,
        "warnings": list(answer.warnings),
    }


TOOL_SCHEMA: MappingProxyType[str, Any] = MappingProxyType(
    {
        "name": "analyze_post",
        "description": cleandoc(str(analyze_post.__doc__)),
        "parameters": TypeAdapter(cast(Any, analyze_post)).json_schema(),
    }
)
"""The function as chat APIs take it: name, description, and the parameters as JSON Schema."""
