"""What was planned, trained and measured → the card and the facts of an adapter. Knows no model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ...reasoning import presets
from ..common.model_card import CardResult, front_matter
from ..common.provenance import made_now
from .measure import Readiness, TuningFigures
from .plan import TuningPlan
from .trainer import LearningCurve

__all__ = ["card", "made_with"]

PACKAGES = ("peft", "torch", "transformers", "trl")


def made_with(
    plan: TuningPlan, curve: LearningCurve, figures: TuningFigures, readiness: Readiness, fast: Mapping[str, Any]
) -> dict[str, Any]:
    """The facts for `adapter.json`; `ready` among them."""
    return {
        **made_now(),
        "packages": {name: version(name) for name in PACKAGES},
        "ready": readiness.ready,
        "not_ready": list(readiness.causes),
        "posts_sha256": plan.posts.sha256,
        "parts": {name: len(plan.part(name)) for name in ("train", "calibration", "test")},
        "base": {"id": plan.base.id, "revision": plan.base.revision, "quantise": plan.base.quantise},
        "prompt": plan.prompt.id,
        # A path is this machine's.
        "recipe": {
            name: Path(value).name if name == "start" else value
            for name, value in asdict(plan.recipe).items()
            if name not in ("base", "prompt")
        },
        "teacher": len(plan.teacher),
        "fast": dict(fast),
        "curve": asdict(curve),
        "figures": figures.to_dict(),
    }


def card(plan: TuningPlan, curve: LearningCurve, figures: TuningFigures, readiness: Readiness) -> str:
    """The card, Markdown."""
    verdict = (
        "It is ready: the adapter beats its base and the cascade beats the fast tier, both by more than chance."
        if readiness.ready
        else f"**It is not ready**, and answers carry a warning: {'; '.join(readiness.causes)}."
    )
    preset = next((p for p in presets().values() if p.name == plan.base.id), None)
    licence = preset.licence if preset else "see the model's own folder"
    looks = [f"| {step} | {nll:.3f} | {accuracy:.3f} |" for step, nll, accuracy in curve.looks]
    return front_matter(plan.out.name, _measured(figures), base=preset.repository if preset else None) + "\n".join(
        [
            f"# {plan.out.name}",
            "",
            f"A LoRA adapter for `{plan.base.id}`, fitted to {len(plan.parts.train)} labelled posts. {verdict}",
            "",
            "## Data and terms",
            "",
            *(f"- {line}" for line in plan.lines()),
            f"- SHA-256 of the file: `{plan.posts.sha256}`",
            f"- Terms of the posts: {plan.recipe.terms or 'not stated'}",
            f"- Licence of the base, which holds for the adapter too: {licence}",
            "",
            "## Figures",
            "",
            "95 % intervals: bootstrap over posts. `cascade` is what `analyze` answers by itself: it asks about posts",
            "where that was found to help.",
            "",
            *figures.lines(),
            "",
            "## Learning curve",
            "",
            f"{curve.steps} steps were taken; the weights of step {curve.best} are kept. On the calibration part:",
            "",
            "| step | log-loss of the label | accuracy |",
            "|---|---|---|",
            *looks,
            "",
            "## Limits",
            "",
            f"- It was trained and measured with the prompt `{plan.prompt.id}` and the base "
            + (f"in {plan.base.quantise}" if plan.base.quantise else "as it is")
            + "; with another prompt, precision or base its figures are others.",
            "- The calibration part said when to stop and fitted the pooling; the test part did neither.",
            "- The figures are of posts of the same file; other posts may differ from them.",
            "- It writes no rationale: words that decide are found by hiding them."
            if plan.prompt.brief
            else "- Rationales that it writes follow the posts' own columns, a teacher, or sentences composed from "
            "them; they were not checked.",
            "",
        ]
    )


def _measured(figures: TuningFigures) -> list[CardResult]:
    """The figures of what was made: the adapter by itself, and the cascade."""
    return [
        CardResult(
            dataset=f"test posts of the same file ({system})",
            metric=metric,
            value=round(interval.value, 3),
            note=f"[{interval.low:.3f}, {interval.high:.3f}], n = {figures.n}",
        )
        for metric, by_system in (("accuracy", figures.accuracy), ("macro F1", figures.macro_f1))
        for system, interval in by_system.items()
        if system in ("adapter", "cascade")
    ]
