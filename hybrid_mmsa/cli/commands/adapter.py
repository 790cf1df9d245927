"""`hybrid-mmsa adapter train | list | inspect | export`: arguments in, an adapter folder out.

It holds no logic of its own. Under `accelerate launch`, `adapter train --base` runs once per GPU; one process prints
and writes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ...adapters import Adapter, check_new_folder, resolve_adapter
from ...data import PostsFile
from ...errors import ArtefactError, InputError
from ...extras import needs
from ...foreign import translated
from ...fusion import Strategy
from ..terminal.adapter_lines import adapter_lines, towers_misfit
from ..terminal.console import emit, page, say, tell_written
from ..terminal.options import DETECTED, POSTS_HELP, AsJson, Force, ReadingOptions, WrittenAsJson, with_options
from ..terminal.progress import Advance, progress
from ..terminal.settings import Settings, with_settings
from .models import bundled_models, card_opening

__all__ = ["adapter_app"]

adapter_app = typer.Typer(
    help="Fit the model to your own labelled posts; list, check and export adapters.", no_args_is_help=True
)


@dataclass(frozen=True, slots=True)
class HeadOptions:
    """Options of `adapter train --fast`."""

    few_shot: Annotated[
        bool | None,
        typer.Option(
            "--few-shot/--no-few-shot",
            help="--fast: stay close to the bundled heads; chosen by itself where a label has 64 posts or fewer.",
            show_default=False,
        ),
    ] = None
    encoder: Annotated[
        str,
        typer.Option(
            "--encoder",
            metavar="NAME",
            help="--fast: compact, open_clip:ARCHITECTURE/WEIGHTS or hf:TEXT+timm:PICTURE; local files only.",
        ),
    ] = "compact"
    strategy: Annotated[Strategy, typer.Option("--strategy", help="--fast: how words and picture are joined.")] = (
        "gated"
    )
    features: Annotated[
        Path | None,
        typer.Option("--features", metavar="FOLDER", help="--fast: keep the encoder's features here, for other runs."),
    ] = None
    before: Annotated[
        str | None,
        typer.Option(
            "--before",
            metavar="NAME_OR_PATH",
            help="--fast: a version before, which it is compared with; with --force, the one that is replaced.",
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class TuningOptions:
    """Options of `adapter train --base`."""

    base: Annotated[
        str | None,
        typer.Option(
            "--base", metavar="MODEL", help="Tune a LoRA adapter for this model: a pulled preset, or a folder."
        ),
    ] = None
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            metavar="NAME_OR_FILE",
            help="Settings of the training: a bundled recipe's name, or a TOML file.",
        ),
    ] = None
    settings: Settings = None
    teacher: Annotated[
        Path | None,
        typer.Option("--teacher", metavar="FILE", help="Another reasoner's verdicts to learn reasons from (.jsonl)."),
    ] = None
    run: Annotated[
        Path | None,
        typer.Option("--run", metavar="FOLDER", help="Folder for checkpoints and the log; default: FOLDER.run"),
    ] = None
    model: Annotated[
        str,
        typer.Option("--model", metavar="NAME_OR_PATH", help="--base: the model whose fast tier it is used with."),
    ] = "default"


@adapter_app.command("train")
@with_options("tuning", TuningOptions())
@with_options("heads", HeadOptions())
@with_options("reading", DETECTED)
def train(
    posts: Annotated[Path, typer.Argument(metavar="POSTS", help=f"Labelled posts: {POSTS_HELP}.")],
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="FOLDER", help="The adapter's folder; its name is the adapter's.")
    ],
    fast: Annotated[
        bool,
        typer.Option(
            "--fast", help="Fit the fast tier: heads on a frozen encoder. Needs the extra `tune`. With --base: as well."
        ),
    ] = False,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of the split into training and test parts.")] = None,
    force: Force = False,
    as_json: WrittenAsJson = False,
    heads: HeadOptions = HeadOptions(),
    tuning: TuningOptions = TuningOptions(),
    reading: ReadingOptions = DETECTED,
) -> None:
    """Fit an adapter to labelled posts, and measure it on a fifth of them.

    The columns are id, text, image and label: negative, neutral, positive, or
    1 to 5 stars; text_label, image_label, sarcastic and rationale are used
    where a post has them. All posts are checked first. Near-duplicates stay in
    one part. --fast fits the fast tier; --base (or --recipe) tunes a LoRA
    adapter for a vision-language model, and needs the extra `train`.

    For example:
        hybrid-mmsa adapter train posts.jsonl --fast -o adapters/mine
        hybrid-mmsa adapter train more.jsonl --fast -o adapters/mine --force
        hybrid-mmsa adapter train reviews.xlsx --fast -o adapters/mine --map text=Comment
        hybrid-mmsa adapter train posts.jsonl --base smolvlm-500m -o adapters/mine
        hybrid-mmsa adapter train posts.jsonl --recipe qwen2.5-vl-3b-mvsa -o adapters/mine
    """
    try:
        check_new_folder(out, force=force)
    except InputError as error:
        raise InputError(error.message, field="-o") from error
    rows = reading.open(posts, labels=True)
    if tuning.base is not None or tuning.recipe is not None:
        if heads != HeadOptions():
            raise InputError(
                "--few-shot, --encoder, --strategy, --features and --before have no use beside --base", field="--base"
            )
        lines, use = _tune(rows, out, tuning, fast=fast, seed=seed)
    elif fast:
        if tuning != TuningOptions():
            raise InputError(
                "--set, --teacher, --run and --model have no use beside --fast without --base", field="--fast"
            )
        lines, use = _fit_heads(rows, out, heads, seed=seed or 0, force=force)
    else:
        raise InputError(
            "say what to train: --base MODEL tunes a LoRA adapter, --fast fits the heads of the fast tier",
            field="--fast",
        )
    if lines:  # of several processes one prints
        _tell_fitted(out, lines, use, as_json)


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
    verbose: Annotated[bool, typer.Option("--verbose", help="Also how it was made, and its card.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check an adapter's files and towers; show what it is, what it was fitted to, and its figures.

    The exit code is 1 if its towers are not those of this installation.

    For example:
        hybrid-mmsa adapter inspect adapters/mine
    """
    folder = resolve_adapter(adapter)
    loaded = Adapter.load(folder)
    misfit = towers_misfit(folder)
    if as_json:
        emit(json.dumps({**_facts(loaded), "towers_misfit": misfit}, ensure_ascii=False))
        raise typer.Exit(0 if misfit is None else 1)
    with translated(lambda cause: ArtefactError(f"{folder}: what adapter.json says cannot be shown ({cause})")):
        lines = list(adapter_lines(loaded, folder, misfit))
    page().print("\n".join(lines), soft_wrap=True)
    if verbose:
        made = {name: value for name, value in _facts(loaded)["made_with"].items() if name != "figures"}
        for name, value in {"temperatures": loaded.calibration.temperatures, **made}.items():
            page().print(f"{name}: {value if isinstance(value, str) else json.dumps(value)}", soft_wrap=True)
        page().print("\n" + (loaded.card or "It has no card."), soft_wrap=True)
    raise typer.Exit(0 if misfit is None else 1)


@adapter_app.command("export")
def export(
    adapter: Annotated[str, typer.Argument(metavar="NAME_OR_PATH", help="The adapter: its folder or bundled name.")],
    form: Annotated[
        Literal["peft", "merged", "gguf"],
        typer.Option(
            "--format",
            help="peft: a LoRA folder for vLLM, SGLang and PEFT; merged: a model with the LoRA in its weights; gguf: an"
            " adapter for llama.cpp.",
        ),
    ],
    base: Annotated[
        str, typer.Option("--base", metavar="MODEL", help="The model it was trained on: preset or folder.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FOLDER", help="Folder to write; it must not exist.")],
    with_base: Annotated[
        bool,
        typer.Option("--with-base", help="gguf: write the base too (LLaVA), and try the adapter on it in llama.cpp."),
    ] = False,
    as_json: WrittenAsJson = False,
) -> None:
    """Write an adapter's LoRA for other programs, and check that its answers stay the same.

    For example:
        hybrid-mmsa adapter export adapters/mine --format merged --base qwen2.5-vl-3b -o mine-merged
        hybrid-mmsa adapter export adapters/mine --format peft --base qwen2.5-vl-3b -o mine-lora
    """
    with needs("train", "exporting an adapter"):
        from ...training.lora.export import Export, export_lora

        lines = export_lora(Export(adapter, base, out, form, with_base))
    tell_written(f"wrote {out}", [out], as_json=as_json, format=form, checked=lines)
    for line in () if as_json else lines:
        say(line)


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
        "ready": adapter.ready,
        "made_with": {name: value for name, value in adapter.made_with.items() if name != "post_digests"},
        "card": adapter.card,
    }


def _tell_fitted(out: Path, lines: list[str], use: str, as_json: bool) -> None:
    """The figures of an adapter that was written, and how it is used."""
    if not as_json:
        page().print("\n".join(lines), soft_wrap=True)
    facts = _facts(Adapter.load(out)) if as_json else {}
    tell_written(f"wrote {out}; use it with {use}", [out], as_json=as_json, **facts)


def _fit_heads(posts: PostsFile, out: Path, options: HeadOptions, *, seed: int, force: bool) -> tuple[list[str], str]:
    """Read the posts, show the plan, fit the fast tier; the figures, and how it is used."""
    with needs("tune", "training an adapter"):
        from ...training.heads.adapting import least_posts, plan_adapter, train_adapter
        from ...training.posts.labelled_file import read_labelled_file

        with progress("posts read", lambda: sum(1 for _ in posts.raw_rows())) as advance:
            own = read_labelled_file(posts, least=least_posts(options.few_shot), advance=advance)
        plan = plan_adapter(
            own,
            out,
            encoder=options.encoder,
            few_shot=options.few_shot,
            strategy=options.strategy,
            seed=seed,
            before=None if options.before is None else resolve_adapter(options.before),
            force=force,
        )
        for line in plan.lines():
            say(line)
        with progress("posts encoded", lambda: len(own.samples)) as advance:
            figures = train_adapter(plan, features=options.features, advance=advance)
    return list(figures.lines()), f"--model {out}"


def _tune(
    posts: PostsFile, out: Path, options: TuningOptions, *, fast: bool, seed: int | None
) -> tuple[list[str], str]:
    """Read the posts, show the plan, tune a LoRA adapter; the figures where this process prints, and how it is used."""
    with needs("train", "tuning an adapter"):
        from ...training.common.processes import place
        from ...training.lora.plan import LEAST_TUNED, plan_tuning
        from ...training.lora.recipe import TuningRecipe, load_recipe
        from ...training.posts.labelled_file import read_labelled_file

        leads = place().leads
        recipe = TuningRecipe() if options.recipe is None else load_recipe(options.recipe)
        recipe = with_settings(recipe, options.settings or ())
        recipe = recipe if options.base is None else replace(recipe, base=options.base)
        recipe = recipe if seed is None else replace(recipe, seed=seed)

        def bar(name: str, total: Callable[[], int], done: int = 0) -> AbstractContextManager[Advance]:
            return progress(name, total, done) if leads else nullcontext(lambda: None)

        with bar("posts read", lambda: sum(1 for _ in posts.raw_rows())) as advance:
            own = read_labelled_file(posts, least=LEAST_TUNED, advance=advance)
        plan = plan_tuning(
            own, out, recipe, run=options.run, teacher=options.teacher, fast=options.model, fit_fast=fast
        )
        for line in plan.lines() if leads else ():
            say(line)
        from ...training.lora.tune import tune

        outcome = tune(plan, counting=lambda name, total, done: bar(name, lambda: total, done))
    lines = [] if outcome is None else list(outcome.lines())
    return lines, f"--model {out} --reasoner {recipe.base}"
