"""`hybrid-mmsa train text | image | fusion | left-out | vlm | align`: arguments in, models out.

A recipe's settings stand in its config class alone: `--set` reads their names and types from there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, TypeVar

import typer
from rich.table import Table

from ...data import read_posts
from ...encoders import open_encoder
from ...encoders.compact import PICTURE_TOWER
from ...errors import ArtefactError, InputError
from ...extras import needs
from ...fusion import Space, usable_space
from ...model import open_model
from ...reasoning import RecordedReasoner
from ...types import IntArray, Sample
from ..terminal.console import page, say
from ..terminal.options import DETECTED, POSTS_HELP, ReadingOptions, with_options
from ..terminal.progress import progress
from ..terminal.settings import Settings, with_settings

if TYPE_CHECKING:
    from ...training.heads.strategies import Evidence

__all__ = ["Corpora", "check_folder", "train_app"]

Config = TypeVar("Config")
LEAST_LABELLED = 8
"""Posts that every label which occurs must have, to train a projector on."""
Joining: TypeAlias = Literal["early", "late", "attention", "gated", "all"]

train_app = typer.Typer(
    help="Train the fast tier, and let a language model see. An interrupted run continues where it stopped. Needs the"
    " extra `train`; heads on a frozen encoder need `tune` alone.",
    no_args_is_help=True,
)

Corpora = Annotated[Path, typer.Option("--data", metavar="FOLDER", help="The folder that holds the corpora.")]
Runs = Annotated[Path, typer.Option("--runs", metavar="FOLDER", help="Folder for stages, checkpoints and records.")]


@train_app.command("text")
def train_text(
    data: Corpora,
    runs: Runs,
    start: Annotated[
        Path, typer.Option("--start", metavar="FOLDER", help="all-mpnet-base-v2 as transformers saves it.")
    ],
    held_out: Annotated[
        list[Path] | None,
        typer.Option("--held-out", metavar="FILE", help="Posts whose texts must not be trained on; may be repeated."),
    ] = None,
    settings: Settings = None,
) -> None:
    """Tune a teacher on many corpora, and distil the text tower from it.

    For example:
        hybrid-mmsa train text --data corpora --start all-mpnet-base-v2 --runs runs/text --held-out mine.jsonl
    """
    check_folder(data)
    for name in ("config.json", "tokenizer.json"):
        if not (start / name).is_file():
            raise InputError(f"{start} is no transformers model: it has no {name}", field="--start")
    texts = [row.text for path in held_out or () for _, row in read_posts(path) if isinstance(row, Sample) and row.text]
    with needs("train", "training"):
        from ...training.towers import text

        text.train_text(data, start, runs, with_settings(text.TextConfig(), settings or ()), held_out=texts)


@train_app.command("image")
def train_image(
    data: Corpora,
    runs: Runs,
    start: Annotated[
        Path, typer.Option("--start", metavar="FILE", help="ImageNet weights of EfficientNet-Lite0 to start from.")
    ],
    settings: Settings = None,
) -> None:
    """Fine-tune the image tower.

    For example:
        hybrid-mmsa train image --data corpora --start efficientnet-lite0.pth --runs runs/image
    """
    check_folder(data)
    if not start.is_file():
        raise InputError(f"there is no file {start}", field="--start")
    with needs("train", "training"):
        from ...training.towers import image

        image.train_image(data, start, runs, with_settings(image.ImageConfig(), settings or ()))


@dataclass(frozen=True, slots=True)
class Sources:
    """What a head is fitted on: options of `train fusion`."""

    text_runs: Annotated[
        Path | None, typer.Option("--text-runs", metavar="FOLDER", help="The --runs of `train text`.")
    ] = None
    image_runs: Annotated[
        Path | None, typer.Option("--image-runs", metavar="FOLDER", help="The --runs of `train image`.")
    ] = None
    encoder: Annotated[
        str | None,
        typer.Option(
            "--encoder",
            metavar="NAME",
            help="Instead of trained towers, a frozen encoder: compact, open_clip:ARCHITECTURE/WEIGHTS, "
            "hf:TEXT+timm:PICTURE.",
        ),
    ] = None
    distil: Annotated[
        Path | None,
        typer.Option(
            "--distil",
            metavar="VERDICTS",
            help="With --encoder: a reasoner's verdicts on the posts (.jsonl, with the post's id), labelled or not.",
        ),
    ] = None
    lora: Annotated[
        Literal["text", "image", "both"] | None,
        typer.Option("--lora", help="With --encoder open_clip:… or hf:…: tune LoRA on that tower, or on both, first."),
    ] = None

    def runs(self) -> tuple[Path, Path] | None:
        """The runs of both towers; None where there is an encoder instead."""
        if self.encoder is not None:
            if self.text_runs or self.image_runs:
                raise InputError("either an encoder or the runs of trained towers, not both", field="--encoder")
            return None
        if self.distil is not None:
            raise InputError("verdicts are taught to heads on a frozen encoder: name one", field="--encoder")
        if self.lora is not None:
            raise InputError("LoRA is tuned on the towers of an encoder: name one", field="--encoder")
        if self.text_runs is None or self.image_runs is None:
            raise InputError("wanted --text-runs and --image-runs, or --encoder", field="--text-runs")
        finished = (
            ("--text-runs", self.text_runs, "student/tower.safetensors"),
            ("--image-runs", self.image_runs, "oof.json"),
        )
        for field, runs, last in finished:
            if not (runs / last).is_file():
                raise InputError(f"{runs} is no finished run: it has no {last}", field=field)
        return self.text_runs, self.image_runs


@train_app.command("fusion")
@with_options("sources", Sources())
def train_fusion(
    data: Corpora,
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="FOLDER", help="The model's folder; its name is the model's.")
    ],
    strategy: Annotated[
        Joining,
        typer.Option("--strategy", help="How words and picture are joined; all: compare the four and write no model."),
    ] = "gated",
    towers: Annotated[
        Path | None,
        typer.Option("--towers", metavar="FOLDER", help="Folder for the int8 towers; default: the model's folder."),
    ] = None,
    settings: Settings = None,
    sources: Sources = Sources(),
) -> None:
    """Fit head, calibration and router on trained towers, exported to int8, or on a frozen encoder.

    The result is a model: pass its folder as --model to other commands.
    With --distil, the fast tier learns a reasoner's verdicts on your posts.
    With --lora, the encoder's towers are tuned too: a few small matrices, which
    are kept in the model's folder.

    For example:
        hybrid-mmsa train fusion --data corpora --text-runs runs/text --image-runs runs/image -o my-model
        hybrid-mmsa train fusion --data corpora --encoder open_clip:ViT-B-32/clip.safetensors -o my-clip
        hybrid-mmsa train fusion --data mine --encoder compact --distil verdicts.jsonl -o my-model
    """
    check_folder(data)
    runs = sources.runs()
    if runs is None:
        extra, fit = ("tune", _frozen) if sources.lora is None else ("train", _tuned)
        with needs(extra, "training"):
            fit(data, sources, out, strategy, settings or ())
        return
    with needs("train", "training"):
        from ...training.heads import fusion

        if strategy == "all":
            _compare(*fusion.held_out_evidence(data, fusion.TowerRuns(*runs), out, towers=towers))
            return
        config = _joining(with_settings(fusion.FusionConfig(), settings or ()), strategy)
        fusion.train_fusion(data, fusion.TowerRuns(*runs), out, towers=towers, config=config)


def _frozen(data: Path, sources: Sources, out: Path, strategy: Joining, settings: Sequence[str]) -> None:
    from ...training.heads import frozen_posts
    from ...training.heads.frozen import FrozenConfig

    config, encoder = with_settings(FrozenConfig(), settings), sources.encoder or ""
    verdicts = None if sources.distil is None else RecordedReasoner.load(sources.distil).verdicts
    if verdicts is not None and strategy == "all":
        raise InputError("strategies are compared on gold labels: leave --distil out", field="--distil")
    with progress("posts", lambda: frozen_posts.count_posts(data, verdicts or {})) as advance:
        if strategy == "all":
            evidence, folds = frozen_posts.frozen_evidence(data, encoder, out, config=config, advance=advance)
        else:
            joining = _joining(config, strategy)
            fitted = frozen_posts.train_frozen(data, encoder, out, config=joining, verdicts=verdicts, advance=advance)
    if strategy == "all":
        _compare(evidence, folds)
    elif taught := fitted.made_with["taught"]:
        say(
            f"taught by {taught['reasoner']}: {taught['posts']} training posts of {taught['verdicts']} verdicts, "
            f"{taught['labelled_too']} of them labelled too"
        )


def _tuned(data: Path, sources: Sources, out: Path, strategy: Joining, settings: Sequence[str]) -> None:
    from ...training.heads import frozen_posts, tower_lora

    if strategy == "all" or sources.distil is not None:
        raise InputError("with --lora, one strategy is fitted, to gold labels alone", field="--lora")
    config = with_settings(tower_lora.LoraConfig(), settings)
    config = replace(config, frozen=_joining(config.frozen, strategy))
    encoder, sides = sources.encoder or "", sources.lora or "both"
    # Every post is encoded twice: by the towers as they were, and as they are in the end.
    with progress("posts", lambda: 2 * frozen_posts.count_posts(data)) as advance:
        fitted = tower_lora.train_with_lora(data, encoder, sides, out, config=config, advance=advance)
    for head, loss in fitted.made_with["log_loss_left_out"].items():
        say(f"{head}: log-loss on held-out posts {loss['frozen']:.3f} before, {loss['lora']:.3f} with LoRA")


def _joining(config: Config, strategy: Joining) -> Config:
    recipe: Any = config
    changed: Config = replace(recipe, joining=replace(recipe.joining, strategy=strategy))
    return changed


def _compare(evidence: Evidence, folds: IntArray) -> None:
    """Print the strategies side by side."""
    from ...training.heads.strategies import compare_strategies

    title = f"{len(evidence.labels)} training posts, each judged by a head fitted without it; in %"
    table = Table(title=title, box=None, padding=(0, 2, 0, 0))
    for heading in ("strategy", "accuracy", "F1", "log-loss", "words", "picture", "gain over one side"):
        table.add_column(heading, no_wrap=True)
    table.caption = "F1 weighted; words, picture: accuracy with the other side hidden"
    for row in compare_strategies(evidence, folds):
        shares = (row.accuracy, row.weighted_f1, row.text_alone, row.image_alone)
        accuracy, f1, words, picture = (f"{100 * share:.1f}" for share in shares)
        gain = f"{100 * row.gain.value:+.1f} ({100 * row.gain.low:+.1f}, {100 * row.gain.high:+.1f})"
        table.add_row(row.strategy, accuracy, f1, f"{row.log_loss:.4f}", words, picture, gain)
    page().print(table)


@train_app.command("left-out")
def train_left_out(
    data: Corpora,
    towers: Annotated[Path, typer.Option("--towers", metavar="FOLDER", help="The exported towers: a model's towers/.")],
    runs: Runs,
    settings: Settings = None,
) -> None:
    """Fit what full explanations estimate of a text with a word left out.

    A new text tower needs it anew. Without it, a full explanation reads the text
    again without each of its words, which takes several times as long.

    For example:
        hybrid-mmsa train left-out --data corpora --towers my-model/towers --runs runs/left-out
    """
    check_folder(data)
    if not (towers / "compact.json").is_file():
        raise InputError(f"{towers} holds no towers: it has no compact.json", field="--towers")
    with needs("train", "training"):
        from ...training.towers import left_out

        config = with_settings(left_out.LeftOutConfig(), settings or ())
        with progress("texts", lambda: config.texts) as advance:
            left_out.train_left_out(data, towers, runs, config, advance)


@train_app.command("vlm")
@with_options("reading", DETECTED)
def train_vlm(
    posts: Annotated[Path, typer.Argument(metavar="POSTS", help=f"Labelled posts, some with pictures: {POSTS_HELP}.")],
    base: Annotated[
        Path, typer.Option("--base", metavar="FOLDER", help="A language model's folder, as transformers saves it.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FOLDER", help="The model's folder; it must not exist.")],
    runs: Runs,
    tower: Annotated[
        Path | None,
        typer.Option(
            "--tower",
            metavar="PATH",
            help="A picture tower: a vision model's folder, or an ONNX file; the bundled one by default.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", metavar="FOLDER", help="Holds captioned photos (photos/SET): more to learn to see from."
        ),
    ] = None,
    lora: Annotated[
        str | None,
        typer.Option(
            "--lora",
            metavar="NAME_OR_PATH",
            help="A LoRA of the language model that it will answer with (a bundled one by itself); left as it is.",
        ),
    ] = None,
    settings: Settings = None,
    reading: ReadingOptions = DETECTED,
) -> None:
    """Let a language model see: a vision-language model (LLaVA) of it and a picture tower.

    The projector between the two is trained, and nothing else: on the posts'
    labels, asked for as the reasoner asks, on what pictures say alone
    (image_label), and on captions. Some posts and photos are held out, to see
    what is right with a post's own picture, with another post's and with none.

    For example:
        hybrid-mmsa train vlm posts.jsonl --base my-language-model -o my-vlm --runs runs/vlm
    """
    _check_vlm(base, out, data)
    rows = reading.open(posts, labels=True)
    with needs("train", "training"):
        from ...training.posts.labelled_file import read_labelled_file
        from ...training.vlm import stage

        config = with_settings(stage.VlmConfig(), settings or ())
        with progress("posts", lambda: sum(1 for _ in rows.raw_rows())) as advance:
            labelled = read_labelled_file(rows, least=LEAST_LABELLED, advance=advance)
        sources = stage.VlmSources(base, tower or PICTURE_TOWER, labelled, data, lora)
        record = stage.train_vlm(
            sources, out, runs, config, counting=lambda name, total, done: progress(name, lambda: total, done)
        )
    _show_seen(record["held_out"])
    say(f"wrote {out}; use it with {stage.used_with(sources, out)}")


def _check_vlm(base: Path, out: Path, data: Path | None) -> None:
    """Refuse what cannot be begun with, before anything is read."""
    if data is not None:
        check_folder(data)
    if not (base / "config.json").is_file():
        raise InputError(f"{base} is no transformers model: it has no config.json", field="--base")
    if out.exists():
        raise InputError(f"{out} is there already; name another folder", field="-o")


def _show_seen(found: Mapping[str, Any]) -> None:
    """What is right on held-out posts, by the picture that is shown."""
    table = Table(title="held-out posts; right, in %, by the picture that is shown", box=None, padding=(0, 2, 0, 0))
    for heading in ("posts with", "posts", "their own", "another post's", "none"):
        table.add_column(heading, no_wrap=True)
    for kind, figures in found.items():
        if kind != "captions":
            shown = (figures.get(name) for name in ("own", "another", "none"))
            shares = ("–" if each is None else f"{100 * each['accuracy']:.1f}" for each in shown)
            table.add_row(kind, str(figures["posts"]), *shares)
    page().print(table)
    if told := found.get("captions"):
        page().print(
            f"log-loss of a word of a held-out caption: {told['own']:.3f} with its own photo, "
            f"{told['another']:.3f} with another"
        )


@train_app.command("align")
def train_align(
    data: Corpora,
    encoder: Annotated[
        str | None,
        typer.Option("--encoder", metavar="NAME", help="Whose features are aligned; with -o, the model's own."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            metavar="FOLDER",
            help="The model that gets the space; without it, the space is only measured.",
        ),
    ] = None,
    settings: Settings = None,
) -> None:
    """Fit one space of words and pictures on captioned photos, and measure it on 200 held out.

    The photos stand in FOLDER/photos/SET, captions in captions.jsonl beside them
    ({"image": ..., "captions": [...]}), names of what they show in labels.jsonl
    ({"image": ..., "label": ...}); of one name a few are taken. Search and
    likeness (`hybrid-mmsa embed`) use the space only if it finds five times as
    much as chance.

    For example:
        hybrid-mmsa train align --data corpora -o my-model
        hybrid-mmsa train align --data corpora --encoder open_clip:ViT-B-32/clip.safetensors
    """
    check_folder(data)
    model = None if out is None else open_model(out)
    opened = open_encoder(encoder or "compact", Path.cwd()) if model is None else model.encoder
    if model is not None and encoder is not None and open_encoder(encoder, Path.cwd()).hash != opened.hash:
        actual = f"the model in {out} has the encoder {model.adapter.encoder}"
        raise InputError(f"{actual}, not {encoder}", field="--encoder")
    with needs("train", "training"):
        from ...training.space import align

        config = with_settings(align.AlignConfig(), settings or ())
        kept = None if out is None else out.with_name(f"{out.name}.features")
        with progress("pictures and sentences", lambda: align.count_photos(data, config)) as advance:
            space = align.train_align(data, opened, config=config, kept=kept, advance=advance)
    if model is not None:
        replace(model.adapter, space=space).save(model.folder)
    _show_recall(space)
    try:
        usable_space(space, model.adapter.name if model else opened.name, opened.hash)
    except ArtefactError as error:
        say(f"note: {error}")


def _show_recall(space: Space) -> None:
    """What the space finds among the held-out pairs, in %."""
    page().print(
        f"{space.facts['held_out']['photos']} held-out photos, each with one caption; in %, with 95 % intervals"
    )
    for way in ("words_to_picture", "picture_to_words", "chance"):
        recall = space.facts["recall"][way]
        page().print(f"{way.replace('_', ' '):18}" + "".join(f"  {k.upper()} {_percent(v)}" for k, v in recall.items()))


def _percent(share: Sequence[float] | float) -> str:
    if isinstance(share, float):
        return f"{100 * share:.1f}"
    value, low, high = (f"{100 * x:.1f}" for x in share)
    return f"{value} [{low}, {high}]"


def check_folder(data: Path) -> None:
    """Raise `InputError` unless there is such a folder."""
    if not data.is_dir():
        raise InputError(f"there is no folder {data}", field="--data")
