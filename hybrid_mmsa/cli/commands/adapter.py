"""`hybrid-mmsa adapter train | list | inspect`: arguments in, an adapter folder out. It holds no logic of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ...adapters import Adapter, resolve_adapter
from ...errors import ArtefactError, InputError
from ..terminal.console import emit, page
from ..terminal.options import AsJson, spread
from .adapter_heads import Heads, fit_heads
from .adapter_tuning import Tuning, tune_posts
from .models import bundled_models, card_opening

__all__ = ["adapter_app"]

adapter_app = typer.Typer(help="Adapters: fit the model to your own labelled posts.", no_args_is_help=True)


@adapter_app.command("train")
@spread("tuning", Tuning())
@spread("heads", Heads())
def train(
    posts: Annotated[Path, typer.Argument(metavar="POSTS", help="Labelled posts: .jsonl, .csv or .parquet.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FOLDER", help="The adapter's folder; names it too.")],
    fast: Annotated[
        bool,
        typer.Option(
            "--fast", help="Fit the fast tier: heads on a frozen encoder. Needs the extra `tune`. With --base: as well."
        ),
    ] = False,
    seed: Annotated[int | None, typer.Option("--seed", help="Draws the parts to train and to test on.")] = None,
    heads: Heads = Heads(),  # noqa: B008 - frozen
    tuning: Tuning = Tuning(),  # noqa: B008 - frozen
) -> None:
    """Fit an adapter to labelled posts, and measure it on a fifth of them.

    The columns are id, text, image and label: negative, neutral, positive, or
    1 to 5 stars; text_label, image_label, sarcastic and rationale are used
    where they are there. All posts are checked first. Near-duplicates stay on
    one side. --fast fits the fast tier; --base (or --recipe) tunes a LoRA
    adapter for a vision-language model, and needs the extra `train`.

    For example:
        hybrid-mmsa adapter train posts.jsonl --fast -o adapters/mine
        hybrid-mmsa adapter train few.jsonl --fast --few-shot -o adapters/mine
        hybrid-mmsa adapter train posts.jsonl --base smolvlm-500m -o adapters/mine
        hybrid-mmsa adapter train posts.jsonl --recipe qwen2.5-vl-3b-mvsa -o adapters/mine
    """
    _check_out(out)
    if tuning.wanted:
        heads.refuse_beside("--base")
        tune_posts(posts, out, tuning, fast=fast, seed=seed)
    elif fast:
        tuning.refuse_beside("--fast")
        fit_heads(posts, out, heads, seed=seed or 0)
    else:
        raise InputError(
            "say what to train: --base MODEL tunes a LoRA adapter, --fast fits the heads of the fast tier",
            field="--fast",
        )


@adapter_app.command("list")
def list_adapters(
    folder: Annotated[Path, typer.Argument(help="Folder that holds adapters.")] = Path("adapters"),
    as_json: AsJson = False,
) -> None:
    """List the adapters of a folder, and the bundled ones.

    For example:
        hybrid-mmsa adapter list
    """
    bundled = {adapter.hash: adapter for adapter in bundled_models()}
    own = [Adapter.load(file.parent) for file in sorted(folder.glob("*/adapter.json"))]
    for adapter in [*bundled.values(), *(a for a in own if a.hash not in bundled)]:
        if as_json:
            emit(json.dumps(_facts(adapter), ensure_ascii=False))
        else:
            page().print(f"{adapter.name}  (encoder {adapter.encoder}, {adapter.hash[:12]})", soft_wrap=True)
            page().print(card_opening(adapter.card) or "It has no card.", soft_wrap=True)


@adapter_app.command("inspect")
def inspect(
    adapter: Annotated[str, typer.Argument(metavar="NAME_OR_PATH", help="A bundled adapter's name, or a folder.")],
    as_json: AsJson = False,
) -> None:
    """Check an adapter's files against their hashes, and show what it is.

    For example:
        hybrid-mmsa adapter inspect adapters/mine
    """
    found = Adapter.load(resolve_adapter(adapter))
    if as_json:
        emit(json.dumps(_facts(found), ensure_ascii=False))
        return
    for name, value in _facts(found).items():
        if name != "card":
            shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            page().print(f"{name}: {shown}", soft_wrap=True)
    if found.card:
        page().print("\n" + found.card, soft_wrap=True)


def _facts(adapter: Adapter) -> dict[str, Any]:
    names = sorted({name.rsplit(".", 1)[0] for name in adapter.head.arrays if not name.startswith("fusion.")})
    return {
        "name": adapter.name,
        "hash": adapter.hash,
        "encoder": adapter.encoder,
        "encoder_hash": adapter.encoder_hash,
        "heads": names,
        "strategy": adapter.head.strategy,
        "temperatures": adapter.calibration.temperatures,
        "router": adapter.router.to_dict()["thresholds"],
        "lora": adapter.lora is not None,
        "ready": adapter.made_with.get("ready", True),
        "made_with": dict(adapter.made_with),
        "card": adapter.card,
    }


def _check_out(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is there already; name another folder", field="-o")
    try:
        bundled = resolve_adapter(out.name)
    except ArtefactError:
        return
    raise InputError(f"{out.name!r} is the name of the bundled adapter in {bundled}; name another", field="-o")
