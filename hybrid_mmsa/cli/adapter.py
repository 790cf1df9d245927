"""`hybrid-mmsa adapter train | list | inspect`: arguments in, an adapter folder out. It holds no logic of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from ..adapters import Adapter, resolve_adapter
from ..errors import ArtefactError, InputError, MissingExtraError
from ..fusion import Strategy
from .console import emit, page, say
from .models import bundled_models, card_opening
from .options import AsJson
from .progress import progress

__all__ = ["adapter_app"]

adapter_app = typer.Typer(help="Adapters: fit the model to your own labelled posts.", no_args_is_help=True)


@adapter_app.command("train")
def train(
    posts: Annotated[Path, typer.Argument(metavar="POSTS", help="Labelled posts: .jsonl, .csv or .parquet.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FOLDER", help="The adapter's folder; names it too.")],
    fast: Annotated[
        bool, typer.Option("--fast", help="Fit the fast tier: heads on a frozen encoder. Needs the extra `tune`.")
    ] = False,
    few_shot: Annotated[
        bool, typer.Option("--few-shot", help="For 8 to 64 posts of a label: hold on to the bundled heads.")
    ] = False,
    encoder: Annotated[
        str,
        typer.Option(
            "--encoder",
            metavar="NAME",
            help="compact, open_clip:ARCHITECTURE/WEIGHTS or hf:TEXT+timm:PICTURE; local files only.",
        ),
    ] = "compact",
    strategy: Annotated[Strategy, typer.Option("--strategy", help="How words and picture are joined.")] = "gated",
    features: Annotated[
        Path | None,
        typer.Option("--features", metavar="FOLDER", help="Keep what the encoder saw here, for other runs."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Draws the parts to train and to test on.")] = 0,
) -> None:
    """Fit an adapter to labelled posts, and measure it on a fifth of them.

    The columns are id, text, image and label (negative, neutral, positive);
    text_label, image_label and sarcastic are used where they are there.
    All posts are checked first. Near-duplicates stay on one side.

    For example:
        hybrid-mmsa adapter train posts.jsonl --fast -o adapters/mine
        hybrid-mmsa adapter train few.jsonl --fast --few-shot -o adapters/mine
    """
    if not fast:
        raise InputError("say what to train: --fast fits the heads of the fast tier", field="--fast")
    _check_out(out)
    with _tuning():
        from ..training.adapting import plan_adapter, train_adapter
        from ..training.frozen import FEW_SHOT, FrozenConfig
        from ..training.labelled_file import read_labelled_file

        with progress("posts read", lambda: sum(1 for _ in posts.open("rb"))) as advance:
            own = read_labelled_file(posts, least=(FEW_SHOT if few_shot else FrozenConfig()).least, advance=advance)
        plan = plan_adapter(own, out, encoder=encoder, few_shot=few_shot, strategy=strategy, seed=seed)
        for line in plan.lines():
            say(line)
        with progress("posts encoded", lambda: len(own.samples)) as advance:
            figures = train_adapter(plan, features=features, advance=advance)
    page().print("\n".join(figures.lines()), soft_wrap=True)
    say(f"wrote {out}; use it with --model {out}")


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


@contextmanager
def _tuning() -> Iterator[None]:
    """Names the extra where a package that fitting needs is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("scipy", "sklearn"):
            raise
        raise MissingExtraError("training an adapter", "tune") from error
