"""A checked file of posts and a recipe → what is going to be done, before any weights are read. Trains nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from ...adapters import Adapter, resolve_adapter
from ...bundled import bundled_path
from ...errors import InputError
from ...reasoning import ReasonerConfig, RecordedReasoner, load_prompt
from ...reasoning.backends.transformers.loading import Vlm, open_shape
from ...reasoning.prompt.question import Prompt
from ...types import LABELS, Sample, Verdict
from ..common.processes import Place, place
from ..posts.labelled_file import LabelledFile, Parts, part_posts
from ..routing.router import LEAST_POSTS
from .base import PATIENCE, find_base
from .estimate import Estimate, estimate
from .examples import Examples
from .recipe import TuningRecipe
from .start import read_start
from .turns import Course, Turn, plan_course

__all__ = ["LEAST_TUNED", "TuningPlan", "plan_tuning"]

LEAST_TUNED = 8
"""Posts that every label which occurs must have."""
MOST_HELD = 1000
"""About how many posts of a large file calibrate, and as many test: more would be asked about at every look."""


@dataclass(frozen=True, slots=True, eq=False)
class TuningPlan:
    """What is going to be done.

    Attributes:
        posts, parts: The posts, and what each is for.
        out: The adapter's folder; its name is the adapter's.
        run: Where checkpoints and the log are kept.
        recipe: How the adapter is trained.
        base: The model as a reasoner opens it, quantised as it is trained.
        prompt, prompt_file: What is asked with.
        teacher: A teacher's verdicts by post id; empty without one.
        fast: The adapter that gives the fast tier.
        fit_fast: Whether new heads are fitted for it on the same posts.
        course: The order of the turns.
        estimate: Memory and time.
        place: This process among those that train together.
    """

    posts: LabelledFile
    parts: Parts
    out: Path
    run: Path
    recipe: TuningRecipe
    base: ReasonerConfig
    prompt: Prompt
    prompt_file: Path
    teacher: Mapping[str, Verdict]
    fast: str
    fit_fast: bool
    course: Course
    estimate: Estimate
    place: Place

    @property
    def device(self) -> torch.device:
        """Where this process trains."""
        return torch.device(self.base.device)

    def part(self, name: str) -> list[Sample]:
        """The raw posts of `train`, `calibration` or `test`."""
        return [self.posts.samples[i] for i in getattr(self.parts, name)]

    def lines(self) -> list[str]:
        """The plan for people."""
        samples, recipe, parts = self.posts.samples, self.recipe, self.parts
        sides = Counter((bool(s.text), s.image is not None) for s in samples)
        twins = len(self.posts.keys) - len(set(self.posts.keys))
        taught = sum(s.text_label is not None or s.image_label is not None or bool(s.rationale) for s in samples)
        form = "QLoRA (NF4, double quantisation)" if recipe.quantise == "4bit" else "LoRA"
        lines = [
            f"{len(samples)} posts: {', '.join(f'{self.posts.counts[label]} {label}' for label in LABELS)}",
            f"{sides[True, True]} with words and picture, {sides[True, False]} words alone, "
            f"{sides[False, True]} pictures alone; {twins} near-duplicates, none apart from its twin",
            f"{len(parts.train)} to train on, {len(parts.calibration)} to calibrate on and to say when to stop, "
            f"{len(parts.test)} to test on",
            f"{taught} say what a side alone says or why; {len(self.teacher)} verdicts of a teacher",
            f"{form} of rank {recipe.rank} in the language model of {self.base.id}, on {self.base.device}"
            + (f", {self.place.size} processes" if self.place.size > 1 else ""),
            f"{self.course.steps} steps of {recipe.batch_size} posts, a look at the calibration part every "
            f"{recipe.evaluate_every}",
            *self.estimate.lines(),
            f"fast tier: {self.fast}" + (", its heads fitted to the same posts" if self.fit_fast else ""),
        ]
        if len(parts.calibration) < LEAST_POSTS:
            lines.append(
                f"{len(parts.calibration)} posts to calibrate on are too few for a pooling, which needs {LEAST_POSTS}: "
                "the adapter will answer in mode deep only, and will not be called ready"
            )
        chain = max(Counter(self.posts.keys).values())
        if chain > len(samples) / 5:
            lines.append(f"{chain} posts are one chain of near-duplicates: the file says less than its length")
        absent = [label for label in LABELS if not self.posts.counts[label]]
        return lines + [f"no post is {label}: the adapter will hardly ever say so" for label in absent]


def plan_tuning(
    posts: LabelledFile,
    out: Path,
    recipe: TuningRecipe,
    *,
    run: Path | None = None,
    teacher: Path | None = None,
    fast: str = "default",
    fit_fast: bool = False,
    parts: Parts | None = None,
) -> TuningPlan:
    """Part the posts, find the model, order the turns, estimate.

    Args:
        posts: Checked posts.
        out: The adapter's folder.
        recipe: With a base.
        run: Where checkpoints and the log are kept; by default beside the adapter's folder.
        teacher: Verdicts of another reasoner, JSON lines with the posts' ids.
        fast: The adapter that gives the fast tier.
        fit_fast: Fit new heads for it on the same posts.
        parts: What each post is for, where the posts come with a split of their own.

    Raises:
        InputError: No base, no such prompt, a LoRA to go on from that does not fit the recipe, posts too few for three
            parts, or one too long for the model.
        ArtefactError: The base is not on this machine, or is no vision-language model; or no such fast tier.
    """
    if not recipe.base:
        raise InputError("no model is named: --base takes a preset's name or a model's folder", field="--base")
    parts = parts or part_posts(
        posts, calibration=True, calibration_posts=LEAST_POSTS, most=MOST_HELD, seed=recipe.seed
    )
    _check_parts(posts, parts)
    Adapter.load(resolve_adapter(fast))  # which is needed after the training only
    here = place()
    base = _reasoner_of(recipe, here)
    prompt = load_prompt(base.prompt)  # whose error names the bundled ones
    is_file = Path(base.prompt).suffix == ".toml"
    prompt_file = Path(base.prompt) if is_file else bundled_path("prompts", f"{base.prompt}.toml")
    if prompt.shows_pictures:
        raise InputError(f"{prompt_file} shows pictures, which an adapter's folder does not carry", field="prompt")
    known = {} if teacher is None else _teacher(teacher, posts)
    samples = [posts.samples[i] for i in parts.train]
    shape = open_shape(base)
    if not shape.sees and (silent := sum(not sample.text for sample in posts.samples)):
        raise InputError(f"{base.id} reads no pictures, and {silent} posts have no words", field="posts")
    read_start(recipe, shape)
    _check_lengths(posts, shape, Examples(shape, prompt, posts.samples, teacher=known, image_size=base.image_size))
    examples = Examples(shape, prompt, samples, teacher=known, image_size=base.image_size)
    telling = {row for row in range(len(samples)) if examples.target(Turn(row, reasons=True, variant=0)).tells}
    course = plan_course(samples, recipe, here.size, telling)
    rough = estimate(shape, examples, course, recipe, posts=len(samples), device=torch.device(base.device))
    folder = run or out.with_name(f"{out.name}.run")
    return TuningPlan(
        posts, parts, out, folder, recipe, base, prompt, prompt_file, known, fast, fit_fast, course, rough, here
    )


def _check_parts(posts: LabelledFile, parts: Parts) -> None:
    """Every part has posts, and no near-duplicate of one stands in another."""
    rows = {name: getattr(parts, name) for name in ("train", "calibration", "test")}
    if empty := [name for name, part in rows.items() if not len(part)]:
        raise InputError(f"{len(posts.samples)} posts leave none for {' and '.join(empty)}", field="posts")
    keys = {name: {posts.keys[i] for i in part} for name, part in rows.items()}
    for one, other in (("train", "calibration"), ("train", "test"), ("calibration", "test")):
        if shared := keys[one] & keys[other]:
            raise InputError(f"{len(shared)} near-duplicates stand in both {one} and {other}", field="posts")
    if len({posts.samples[i].label for i in parts.train}) < 2:
        raise InputError("the posts to train on have one label; near-duplicates take the others away", field="posts")


def _check_lengths(posts: LabelledFile, shape: Vlm, examples: Examples) -> None:
    """No post has more words than the model reads. Few bytes of them need not be counted: a token has one at least."""
    for row, sample in enumerate(posts.samples):
        words = (sample.text, sample.target, sample.rationale)
        if sum(len((each or "").encode()) for each in words) <= shape.context // 4:
            continue
        try:
            examples.batch([Turn(row, reasons=True, variant=0)])
        except InputError as error:
            raise InputError(f"line {posts.lines[row]}: {error.message}", field="posts") from error


def _reasoner_of(recipe: TuningRecipe, here: Place) -> ReasonerConfig:
    """The base as it is trained, measured, and later answers."""
    config = find_base(recipe.base)
    changes = {
        "prompt": recipe.prompt or config.prompt,
        "quantise": "4bit" if recipe.quantise == "4bit" else None,
        "device": f"cuda:{here.local}" if torch.cuda.is_available() else "cpu",
        "batch_size": max(8, recipe.micro_batch),
        "timeout": max(PATIENCE, config.timeout),
        "image_size": recipe.image_size or config.image_size,
    }
    return config.model_copy(update=changes)


def _teacher(path: Path, posts: LabelledFile) -> Mapping[str, Verdict]:
    """Verdicts on posts of the file; ids must tell its posts apart."""
    ids = Counter(sample.id for sample in posts.samples if sample.id is not None)
    if twice := [id_ for id_, n in ids.items() if n > 1]:
        raise InputError(f"{len(twice)} ids stand more than once, such as {twice[0]!r}", field="id")
    known = {id_: v for id_, v in RecordedReasoner.load(path).verdicts.items() if id_ in ids}
    if not known:
        raise InputError(f"{path} holds no verdict on these posts: the ids do not meet", field="--teacher")
    return known
