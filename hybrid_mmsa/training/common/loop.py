"""One training loop for every tower: seeded batches, warm-up and cosine decay, resumable checkpoints, a JSON record.

Knows nothing of texts, pictures or labels. Checkpoints are safetensors with the optimiser's moments beside the
weights, so a killed run goes on at its last checkpoint with the same batches in the same order, and chance depends on
the seed and the step alone: it ends with the weights of a run that was never killed.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ...errors import InputError

__all__ = ["LoopConfig", "claim", "progress", "train"]

Batch = TypeVar("Batch")
CHECKPOINT = "checkpoint.safetensors"
RECIPE = "recipe.json"
MOMENTS = ("exp_avg", "exp_avg_sq", "step")
LOG_EVERY = 50
"""Steps between lines of progress where there is no terminal to draw a bar on."""


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """How one stage is trained. Rates are AdamW's; `warmup` is a share of all steps."""

    epochs: int
    learning_rate: float
    weight_decay: float = 0.01
    warmup: float = 0.1
    clip_norm: float = 1.0
    seed: int = 0
    checkpoint_every: int = 250
    averaging: float = 0.0
    """Decay of the exponential moving average of the weights that is kept in the end; 0 keeps the last weights."""


def claim(folder: Path, facts: dict[str, Any]) -> None:
    """Write down in `folder` what its run is, or check that the run standing there is the same.

    Args:
        folder: The stage's folder; made if need be.
        facts: Everything that decides the result: recipe, start, number of rows. JSON values.

    Raises:
        InputError: Another run stands there: going on with it would mix two recipes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, recipe = folder / RECIPE, json.loads(json.dumps(facts))
    if not path.exists():
        path.write_text(json.dumps(recipe, indent=1) + "\n", encoding="utf-8")
        return
    earlier = json.loads(path.read_text(encoding="utf-8"))
    changed = [key for key in recipe if earlier.get(key) != recipe[key]]
    if changed:
        raise InputError(f"{folder} holds a run of another {' and '.join(changed)}; name another folder or remove it")


def train(
    model: nn.Module,
    epochs: Sequence[Sequence[Batch]],
    loss: Callable[[nn.Module, Batch], Tensor],
    config: LoopConfig,
    folder: Path,
    *,
    record: dict[str, Any],
) -> None:
    """Train `model` in place on the batches of each epoch, or go on from the checkpoint in `folder`.

    Args:
        model: Only parameters with `requires_grad` are trained and kept in the checkpoint.
        epochs: The batches, already shuffled, one sequence per epoch. They must not depend on anything but the seed.
        loss: Scalar loss of the model on one batch.
        config: Rates, seed and how often to write a checkpoint (in steps).
        folder: Gets `checkpoint.safetensors` while training, `record.json` when done.
        record: What else to note in `record.json` (data, splits, versions).
    """
    folder.mkdir(parents=True, exist_ok=True)
    steps = [batch for epoch in epochs for batch in epoch]
    named = {n: p for n, p in model.named_parameters() if p.requires_grad}
    decayed = [p for p in named.values() if p.ndim > 1]
    plain = [p for p in named.values() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)
    average = {n: p.detach().clone() for n, p in named.items()} if config.averaging else {}
    done = _resume(folder / CHECKPOINT, named, average, optimiser)
    losses: list[float] = []
    started = time.monotonic()
    model.train()
    for number, batch in progress(steps, done, folder.name):
        rate = config.learning_rate * _schedule(number / len(steps), config.warmup)
        for group in optimiser.param_groups:
            group["lr"] = rate
        torch.manual_seed(config.seed * len(steps) + number)
        value = loss(model, batch)
        optimiser.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(named.values(), config.clip_norm)
        optimiser.step()
        for name, mean in average.items():
            mean.lerp_(named[name].detach(), 1 - config.averaging)
        losses.append(float(value.detach()))
        if (number + 1) % config.checkpoint_every == 0:
            _save(folder / CHECKPOINT, named, average, optimiser, number + 1)
    with torch.no_grad():
        for name, mean in average.items():
            named[name].copy_(mean)
    model.eval()
    window = max(1, len(losses) // 20)
    curve = [sum(losses[i : i + window]) / len(losses[i : i + window]) for i in range(0, len(losses), window)]
    facts = {**record, "loop": asdict(config), "steps": len(steps), "resumed_at": done, "loss_curve": curve}
    facts["seconds"] = round(time.monotonic() - started, 1)
    (folder / "record.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    (folder / CHECKPOINT).unlink(missing_ok=True)


def _schedule(progress: float, warmup: float) -> float:
    """Linear warm-up, then cosine decay to zero; `progress` in [0, 1)."""
    if progress < warmup:
        return progress / warmup
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))


def progress(steps: Sequence[Batch], done: int, name: str) -> Iterable[tuple[int, Batch]]:
    """The steps that are left with their numbers, how far they have come shown on standard error.

    Args:
        steps: All steps.
        done: Steps taken before.
        name: What they are steps of.
    """
    columns = [TextColumn("{task.description}"), TextColumn("{task.completed}/{task.total}")]
    console = Console(stderr=True)
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as progress:
        task = progress.add_task(name, total=len(steps), completed=done)
        for number in range(done, len(steps)):
            yield number, steps[number]
            progress.advance(task)
            if not console.is_terminal and (number + 1) % LOG_EVERY == 0:
                console.print(f"{name}: step {number + 1} of {len(steps)}")


def _save(
    path: Path, named: dict[str, nn.Parameter], average: dict[str, Tensor], optimiser: torch.optim.Optimizer, done: int
) -> None:
    tensors = {"done": torch.tensor(done)}
    for name, parameter in named.items():
        tensors[f"weight/{name}"] = parameter.detach()
        # A head that no row of this stage has a label for never gets a gradient, so it has no state.
        tensors |= {f"{key}/{name}": value for key, value in optimiser.state.get(parameter, {}).items()}
    tensors |= {f"average/{name}": mean for name, mean in average.items()}
    partial = path.with_suffix(".partial")
    save_file({k: v.contiguous() for k, v in tensors.items()}, partial)
    partial.replace(path)


def _resume(
    path: Path, named: dict[str, nn.Parameter], average: dict[str, Tensor], optimiser: torch.optim.Optimizer
) -> int:
    if not path.exists():
        return 0
    tensors = load_file(path)
    with torch.no_grad():
        for name, parameter in named.items():
            parameter.copy_(tensors[f"weight/{name}"])
            state = {k: tensors[f"{k}/{name}"].to(parameter.device) for k in MOMENTS if f"{k}/{name}" in tensors}
            if state:
                optimiser.state[parameter] = state
        for name, mean in average.items():
            mean.copy_(tensors[f"average/{name}"])
    return int(tensors["done"])
