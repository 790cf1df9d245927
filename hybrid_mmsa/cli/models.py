"""`hybrid-mmsa models list`: what is bundled. It holds no logic of its own."""

from __future__ import annotations

import json

import typer

from ..adapters import Adapter
from ..bundled import bundled_path
from .console import emit, page
from .options import AsJson

__all__ = ["bundled_models", "card_opening", "models_app"]

models_app = typer.Typer(help="The models at hand.")


@models_app.callback()
def _group() -> None:
    pass


@models_app.command("list")
def list_models(as_json: AsJson = False) -> None:
    """List the bundled models, each with the opening of its card.

    For example:
        hybrid-mmsa models list
    """
    console = page()
    for adapter in bundled_models():
        if as_json:
            facts = {"name": adapter.name, "encoder": adapter.encoder, "hash": adapter.hash, "card": adapter.card}
            emit(json.dumps(facts, ensure_ascii=False))
        else:
            console.print(f"{adapter.name}  (encoder {adapter.encoder}, {adapter.hash[:12]})")
            console.print(card_opening(adapter.card) or "It has no card.")


def bundled_models() -> list[Adapter]:
    """Every bundled adapter, checked against its hashes, by name."""
    return [Adapter.load(file.parent) for file in sorted(bundled_path("adapters").glob("*/adapter.json"))]


def card_opening(card: str) -> str:
    """The first paragraph of a model card, headings left out."""
    paragraphs = [p.strip() for p in card.split("\n\n")]
    return next((" ".join(p.split()) for p in paragraphs if p and not p.startswith(("#", "---"))), "")
