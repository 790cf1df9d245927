"""A plan → an adapter folder: trained, measured beside its base and the fast tier, saved. Knows no command line."""

from __future__ import annotations

import gc
import hashlib
import json
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import torch

from ...adapters import LORA, Adapter
from ...artefacts import LORA_CONFIG
from ...encoders import Encoder, moved_name
from ...model import open_model
from ...reasoning import open_reasoner, presets
from ...reasoning.backends.transformers.loading import open_vlm
from ...reasoning.models.store import weight_hashes
from ...types import LoraRef
from ..common.loop import claim
from ..heads.adapting import fit_fast_tier
from .card import card, made_with
from .examples import Examples
from .measure import Readiness, TuningFigures, ask_all, figures_of, fit_pooled, judge
from .plan import TuningPlan
from .start import find_lora
from .trainer import HeldOut, LearningCurve, quietly, steps_done, train_lora

__all__ = ["Counting", "Outcome", "tune"]

MOST_LOOKED_AT = 400
"""Posts of the calibration part that a look asks about, evenly taken, so that looks cost little beside the steps."""

Counting: TypeAlias = "Callable[[str, int, int], AbstractContextManager[Callable[[], None]]]"
"""Opens a context for something that is counted: its name in the plural, how many there are, how many are done
already. Yields what to call after each."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it."""

    curve: LearningCurve
    figures: TuningFigures
    readiness: Readiness

    def lines(self) -> list[str]:
        """For people."""
        state = "ready" if self.readiness.ready else f"not ready: {'; '.join(self.readiness.causes)}"
        return [*self.figures.lines(), "", f"The adapter is {state}."]


def tune(
    plan: TuningPlan,
    *,
    counting: Counting = lambda *_: nullcontext(lambda: None),
    callbacks: Sequence[Any] = (),
) -> Outcome | None:
    """Train, measure and save an adapter; a killed run goes on where it stopped.

    Args:
        plan: What to do.
        counting: Shows how far it has come.
        callbacks: The trainer's, such as one that stops it.

    Returns:
        What came of it; `None` in a process that does not lead.

    Raises:
        InputError: The run's folder holds a run of another plan, or what would be learnt is not the answers.
        ArtefactError: The adapter does not fit the base, or changes more or less than it should.
        ReasonerError: Memory ended.
    """
    if plan.place.leads:
        claim(plan.run, _facts(plan))
    curve = _train(plan, counting, callbacks)
    if not plan.place.leads:
        return None
    _name_base(plan)
    fast, encoder = _fast_tier(plan)
    lora = LoraRef(name=plan.out.name, path=plan.run / LORA, prompt=plan.prompt_file)
    calibration, test = plan.part("calibration"), plan.part("test")
    with quietly():
        reasoner = open_reasoner(plan.base, [lora])  # which refuses an adapter that changes nothing
    with counting("posts asked about", len(calibration) + 2 * len(test), 0) as advance:
        known = ask_all(reasoner, calibration, lora, advance)
        base = ask_all(reasoner, test, None, advance)
        tuned = ask_all(reasoner, test, lora, advance)
    fitted = fit_pooled(replace(fast, name=plan.out.name), encoder, calibration, known)
    figures = figures_of(fitted, encoder, test, base, tuned)
    outcome = Outcome(curve, figures, judge(figures))
    start = {"name": fast.name, "hash": fast.hash, "fitted": plan.fit_fast}
    made = made_with(plan, curve, figures, outcome.readiness, start)
    described = card(plan, curve, figures, outcome.readiness)
    replace(fitted, lora=lora, made_with=made, card=described).save_whole(plan.out)
    return outcome


def _train(plan: TuningPlan, counting: Counting, callbacks: Sequence[Any]) -> LearningCurve:
    """The trained LoRA in the run's folder; the model is let go of afterwards."""
    with quietly(), counting("steps", plan.course.steps, steps_done(plan.run)) as advance:
        vlm = open_vlm(plan.base)
        if plan.device.type == "cpu":
            vlm.model.set_attn_implementation("eager")  # twice as fast there and back as a fused kernel, for short rows
        for module in vlm.model.modules():
            # On some CPUs the first answer packs 4-bit layers, and nothing is learnt through packed ones.
            if hasattr(module, "support_avx512bf16_for_cpu"):
                module.support_avx512bf16_for_cpu = False
        size = plan.base.image_size
        learning = Examples(vlm, plan.prompt, plan.part("train"), teacher=plan.teacher, image_size=size)
        calibration = plan.part("calibration")
        looked_at = calibration[:: math.ceil(len(calibration) / MOST_LOOKED_AT)]
        held = HeldOut(looked_at, Examples(vlm, plan.prompt, looked_at, image_size=size))
        curve = train_lora(learning, held, plan.course, plan.recipe, plan.run, advance=advance, callbacks=callbacks)
    del vlm, learning, held
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return curve


def _fast_tier(plan: TuningPlan) -> tuple[Adapter, Encoder]:
    model = open_model(plan.fast)
    adapter = model.adapter
    if plan.fit_fast:
        adapter = fit_fast_tier(plan.posts, plan.parts, model.encoder, name=plan.out.name, start=adapter)
    return replace(adapter, encoder=moved_name(adapter.encoder, model.folder, plan.out)), model.encoder


def _facts(plan: TuningPlan) -> dict[str, Any]:
    """What decides the run: going on with another's would mix two."""
    teacher = {id_: verdict.model_dump(mode="json") for id_, verdict in plan.teacher.items()}
    return {
        "recipe": asdict(plan.recipe),
        "posts": plan.posts.sha256,
        "base": weight_hashes(Path(plan.base.model)),
        "start": weight_hashes(find_lora(plan.recipe.start)) if plan.recipe.start else {},
        "prompt": plan.prompt.hash,
        "teacher": hashlib.sha256(json.dumps(teacher, sort_keys=True).encode()).hexdigest(),
        "processes": plan.place.size,
    }


def _name_base(plan: TuningPlan) -> None:
    """Name the base in the LoRA's configuration as others know it: no path of this machine; lists in one order."""
    path = plan.run / LORA / LORA_CONFIG
    config = json.loads(path.read_text(encoding="utf-8"))
    preset = presets().get(plan.recipe.base)
    config["base_model_name_or_path"] = preset.repository if preset else plan.base.id
    config["revision"] = plan.base.revision
    if isinstance(config["target_modules"], list):
        config["target_modules"].sort()
    path.write_text(json.dumps(config, indent=1, sort_keys=True) + "\n", encoding="utf-8")
