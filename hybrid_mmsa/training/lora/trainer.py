"""A model, examples and a course → LoRA weights in a folder, trained by TRL's SFTTrainer. Knows no evaluation.

Batches, loss and measure are our own, and nothing is sent anywhere. The run's folder holds checkpoints as the trainer
writes them (opened by nobody but the run itself), `recipe.json`, `log.jsonl` with a line per step, and in the end
`lora/` and `done.json`. A killed run goes on.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trl
from accelerate.utils import gather_object
from datasets import Dataset
from peft import LoraConfig, set_peft_model_state_dict
from torch.nn import functional
from transformers import EarlyStoppingCallback, PrinterCallback, TrainerCallback
from transformers.utils import logging

from ... import metrics
from ...adapters import LORA
from ...artefacts import LORA_CONFIG, LORA_WEIGHTS
from ...errors import ArtefactError
from ...reasoning.backends.transformers.beginning import beginning_first, read_beginning, repeated, shared_beginning
from ...reasoning.backends.transformers.loading import memory_is_bounded
from ...reasoning.prompt.labels import label_probabilities
from ...types import LABELS, FloatArray, Sample
from ..common.device import multiplies_bf16
from ..common.freed import give_back_freed
from .checks import check_frozen, check_learnt, frozen_print, language_linears
from .examples import IGNORED, Examples
from .recipe import TuningRecipe
from .start import read_start
from .turns import Course, Turn

__all__ = [
    "AnswerTrainer",
    "HeldOut",
    "LearningCurve",
    "answer_loss",
    "quietly",
    "steps_done",
    "train_lora",
]

_library: Any = trl  # it does not say what it exports
_remarks: Any = logging
_Trainer: Any = _library.SFTTrainer
LOG, DONE = "log.jsonl", "done.json"
STATE = "trainer_state.json"
STEPS_OF_FREED = 25
"""Steps after which what was freed is given back."""


class AnswerTrainer(_Trainer):  # type: ignore[misc]
    """Learns answers, the label weighing as much as all that follows it; measured by the label's log-loss.

    Args:
        learning: Batches of the training part.
        held: Questions about the calibration part.
        looks: Row numbers of the calibration part in batches of one kind.
        gold: Its class indices, int64 `[n]`.
        label_weight: Weight of the label's token in the loss.
        options: What `SFTTrainer` takes. `train_dataset` has the columns `row`, `reasons` and `variant`, a micro-batch
            per row.
    """

    loss_is_scaled_for_ga = False  # the loss is a mean over the micro-batch

    def __init__(
        self,
        *,
        learning: Examples,
        held: Examples,
        looks: Sequence[Sequence[int]],
        gold: Sequence[int],
        label_weight: float,
        **options: Any,
    ) -> None:
        self._learning = learning
        self._held = held
        self._looks = looks
        self._gold = np.asarray(gold, dtype=np.int64)
        self._label_weight = label_weight
        super().__init__(data_collator=self.collate, **options)

    def collate(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """One micro-batch of the data set as the model reads it, its labels and the place of its answers beside it."""
        batch = self._learning.batch(turns_of(rows[0]))
        return {**batch.inputs, "labels": batch.labels, "answer_start": batch.start, "label_column": batch.column}

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The loss of one micro-batch, see `answer_loss`."""
        read = dict(inputs)
        labels, start, column = (read.pop(name) for name in ("labels", "answer_start", "label_column"))
        kept = labels.shape[1] - start + 1  # the token before the answer gives the answer's first
        outputs = self._read(model, read, kept)
        loss = answer_loss(outputs.logits, labels[:, start:], column - start, self._label_weight)
        return (loss, outputs) if return_outputs else loss

    def _read(self, model: Any, inputs: dict[str, Any], kept: int) -> Any:
        """The model's outputs for the last `kept` columns; what all rows begin with, up to a picture, is read once."""
        vlm = self._learning.vlm
        shareable = vlm.resumes and not self.args.activation_checkpointing
        if shareable and (shared := shared_beginning(inputs, kept, vlm.picture_token)):
            rows = beginning_first(inputs, shared)
            ids = rows["input_ids"]
            if (states := read_beginning(model, ids[0, :shared])) is not None:
                own = {"input_ids": ids[:, shared:], "position_ids": rows["position_ids"][:, shared:]}
                return model(
                    **{**inputs, **own, "attention_mask": rows["attention_mask"]},
                    past_key_values=repeated(states, len(ids), shared),
                    logits_to_keep=kept,
                )
        return model(**inputs, use_cache=False, logits_to_keep=kept)

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Log-loss and accuracy of the label on the calibration part; every GPU works on its share."""
        probabilities = self._label_posteriors()
        measures = {
            f"{metric_key_prefix}_nll": metrics.nll(self._gold, probabilities),
            f"{metric_key_prefix}_accuracy": float((probabilities.argmax(1) == self._gold).mean()),
        }
        self.log(measures)
        self.control: Any = self.callback_handler.on_evaluate(self.args, self.state, self.control, measures)
        return measures

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """The adapter has a card of its own."""

    def _send_telemetry(self) -> None:
        """Nothing leaves this machine."""

    def _label_posteriors(self) -> FloatArray:
        """Probabilities `[n, 3]` of the calibration part, from the logits the reasoner reads."""
        rank, size = self.accelerator.process_index, self.accelerator.num_processes
        training = self.model.training
        self.model.eval()
        by_rank: list[tuple[int, list[float]]] = []
        with torch.inference_mode(), self.compute_loss_context_manager():
            for rows in self._looks[rank::size]:
                inputs, tokens = self._held.question(rows)
                logits = self._read(self.model, inputs, 1).logits[:, -1, tokens]
                by_rank += zip(rows, label_probabilities(logits.float().cpu().numpy()).tolist(), strict=True)
        self.model.train(training)
        by_row = dict(gather_object(by_rank))
        probabilities = np.empty((len(self._gold), len(LABELS)), dtype=np.float32)
        for row, values in by_row.items():
            probabilities[row] = values
        return probabilities


def answer_loss(logits: torch.Tensor, labels: torch.Tensor, column: int, label_weight: float) -> torch.Tensor:
    """Cross-entropy of the label's token and of the rest of the answer, weighted.

    Args:
        logits: `[n, width + 1, vocabulary]`: from the token before the answer to the answer's last.
        labels: `[n, width]`: the answer's tokens, `IGNORED` where nothing is learnt.
        column: Where in the answer the label is decided.
        label_weight: Weight of the label; the rest has what is left.
    """
    predicted = logits[:, :-1].float()
    decided = functional.cross_entropy(predicted[:, column], labels[:, column])
    rest = labels.clone()
    rest[:, column] = IGNORED
    others = functional.cross_entropy(predicted.flatten(0, 1), rest.flatten(), ignore_index=IGNORED, reduction="sum")
    count = (rest != IGNORED).sum().clamp(min=1)
    return label_weight * decided + (1 - label_weight) * others / count


def turns_of(row: dict[str, Any]) -> list[Turn]:
    """The turns of one row of the data set."""
    return [Turn(*turn) for turn in zip(row["row"], row["reasons"], row["variant"], strict=True)]


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """The calibration part, which says when to stop.

    Attributes:
        samples: Its posts.
        examples: Questions about them.
    """

    samples: Sequence[Sample]
    examples: Examples


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """How training went.

    Attributes:
        steps: How many were taken.
        best: The step whose weights were kept.
        looks: Step, log-loss and accuracy of the label on the calibration part; step 0 is the base, or the LoRA that
            was gone on from.
        trained: Numbers that were trained.
    """

    steps: int
    best: int
    looks: tuple[tuple[int, float, float], ...]
    trained: int


def train_lora(
    learning: Examples,
    held: HeldOut,
    course: Course,
    recipe: TuningRecipe,
    folder: Path,
    *,
    advance: Callable[[], None] = lambda: None,
    callbacks: Sequence[Any] = (),
) -> LearningCurve:
    """Train, or go on where a killed run stopped; the LoRA lies in `folder/lora` afterwards.

    Args:
        learning: Batches of the training part. Its model is changed: adapters stand in its layers afterwards.
        held: The calibration part.
        course: The order of the turns.
        recipe: Rates and shapes.
        folder: The run's folder.
        advance: Called after every step, those of an earlier run not counted.
        callbacks: The trainer's, such as one that stops it.

    Raises:
        InputError: What would be learnt is not the answers, or there is nothing to begin at (`read_start`).
        ArtefactError: More than the language model's LoRA would be trained, or something else changed.
        ReasonerError: Memory ended.
    """
    if (folder / DONE).is_file():
        return _curve_of(json.loads((folder / DONE).read_text(encoding="utf-8")))
    vlm = learning.vlm
    turns = [
        {name: [getattr(turn, name) for turn in batch] for name in ("row", "reasons", "variant")}
        for batch in course.batches
    ]
    check_learnt(vlm, learning.batch(turns_of(turns[0])))
    before = frozen_print(vlm)
    checkpoint = _newest_checkpoint(folder)
    with quietly(), memory_is_bounded():
        options = _arguments(recipe, course, folder, vlm.model.device, begins=checkpoint is None)
        watching = [EarlyStoppingCallback(recipe.patience), _Journal(folder / LOG, advance), _Frees(), *callbacks]
        start = read_start(recipe, vlm) if checkpoint is None else {}
        trainer = _trainer(learning, held, turns, recipe, args=options, callbacks=watching)
        trained = check_frozen(vlm, trainer.model)
        if start:
            set_peft_model_state_dict(trainer.model, start)
        trainer.train(resume_from_checkpoint=checkpoint and str(checkpoint))
        if frozen_print(vlm) != before:
            raise ArtefactError("weights outside of the language model changed in training: the adapter is not kept")
        return _finish(trainer, folder, trained)


def _trainer(
    learning: Examples, held: HeldOut, turns: list[dict[str, Any]], recipe: TuningRecipe, **options: Any
) -> AnswerTrainer:
    vlm = learning.vlm
    trainer = AnswerTrainer(
        learning=learning,
        held=held.examples,
        looks=_looks(held.samples, recipe.micro_batch),
        gold=[LABELS.index(sample.label) for sample in held.samples if sample.label],
        label_weight=recipe.label_weight,
        model=vlm.model,
        train_dataset=Dataset.from_list(turns),
        eval_dataset=Dataset.from_list(turns[:1]),  # the trainer wants one; the calibration part is asked instead
        processing_class=vlm.processor if vlm.sees else vlm.tokenizer,
        peft_config=LoraConfig(
            r=recipe.rank,
            lora_alpha=recipe.alpha,
            lora_dropout=recipe.dropout,
            target_modules=language_linears(vlm),
            task_type="CAUSAL_LM",
        ),
        **options,
    )
    trainer.remove_callback(PrinterCallback)  # the journal keeps what it would print
    return trainer


def _finish(trainer: AnswerTrainer, folder: Path, trained: int) -> LearningCurve:
    state = trainer.state
    looks = [(e["step"], e["eval_nll"], e["eval_accuracy"]) for e in state.log_history if "eval_nll" in e]
    done = {"steps": state.global_step, "best": state.best_global_step, "looks": looks, "trained": trained}
    if trainer.args.should_save:
        trainer.model.save_pretrained(folder / LORA, safe_serialization=True)
        for file in (folder / LORA).iterdir():
            if file.name not in (LORA_WEIGHTS, LORA_CONFIG):
                file.unlink()  # such as PEFT's own card
        (folder / DONE).write_text(json.dumps(done) + "\n", encoding="utf-8")
        for checkpoint in folder.glob("checkpoint-*"):
            shutil.rmtree(checkpoint)
    trainer.accelerator.wait_for_everyone()
    return _curve_of(done)


def _curve_of(done: dict[str, Any]) -> LearningCurve:
    looks = tuple((int(step), float(nll), float(accuracy)) for step, nll, accuracy in done["looks"])
    return LearningCurve(int(done["steps"]), int(done["best"] or 0), looks, int(done["trained"]))


def _arguments(recipe: TuningRecipe, course: Course, folder: Path, device: torch.device, *, begins: bool) -> Any:
    on_cpu = device.type == "cpu"
    arguments = _library.SFTConfig(
        output_dir=str(folder),
        max_steps=course.steps,
        per_device_train_batch_size=1,  # a row of the data set is a micro-batch
        gradient_accumulation_steps=course.accumulate,
        train_sampling_strategy="sequential",
        remove_unused_columns=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        warmup_steps=int(recipe.warmup * course.steps),  # whole steps: the first of a short run shall count
        lr_scheduler_type="cosine",
        max_grad_norm=recipe.clip_norm,
        eval_strategy="steps",
        eval_steps=recipe.evaluate_every,
        eval_on_start=begins,
        save_strategy="steps",
        save_steps=recipe.evaluate_every,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="eval_nll",
        greater_is_better=False,
        restore_callback_states_from_checkpoint=True,
        logging_steps=1,
        activation_checkpointing=recipe.checkpointing,
        activation_checkpointing_kwargs={"use_reentrant": False},
        ddp_find_unused_parameters=False,  # every trained weight is used by every post
        dataloader_pin_memory=False,  # batches are made where the model is
        use_cpu=on_cpu,
        bf16=multiplies_bf16() if on_cpu else torch.cuda.is_bf16_supported(),
        seed=recipe.seed,
        report_to="none",
        disable_tqdm=True,
    )
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1  # the model lies on one; several are used through `accelerate launch`
    return arguments


def _looks(samples: Sequence[Sample], size: int) -> list[list[int]]:
    """Row numbers of posts that may be asked about together, some at a time."""
    kinds: dict[tuple[bool, bool], list[int]] = {}
    for row, sample in enumerate(samples):
        kinds.setdefault((sample.image is not None, bool(sample.target)), []).append(row)
    return [rows[start : start + size] for rows in kinds.values() for start in range(0, len(rows), size)]


def steps_done(folder: Path) -> int:
    """How many steps of a run are safe in a checkpoint."""
    checkpoint = _newest_checkpoint(folder)
    return 0 if checkpoint is None else _step_in(checkpoint)


def _newest_checkpoint(folder: Path) -> Path | None:
    """The last checkpoint that is whole: its state is written last, so one that a kill cut off has none."""
    return max((path for path in folder.glob("checkpoint-*") if _step_in(path)), key=_step_in, default=None)


def _step_in(checkpoint: Path) -> int:
    try:
        return int(json.loads((checkpoint / STATE).read_text(encoding="utf-8"))["global_step"])
    except (OSError, ValueError, KeyError):
        return 0


class _Frees(TrainerCallback):  # type: ignore[misc]  # an Any to mypy, which does not read transformers
    """Gives freed memory back every now and then, see `common.freed`."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Every so many steps."""
        if state.global_step % STEPS_OF_FREED == 0:
            give_back_freed()

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """After every look, whose batches are of other sizes."""
        give_back_freed()


class _Journal(TrainerCallback):  # type: ignore[misc]  # an Any to mypy, which does not read transformers
    """A line of JSON per step and per look; lines after the checkpoint a run goes on from are dropped.

    Args:
        path: The file.
        advance: Called after every step.
    """

    def __init__(self, path: Path, advance: Callable[[], None]) -> None:
        self._path = path
        self._advance = advance

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Keep the lines up to the step that is gone on from."""
        if state.is_world_process_zero:
            lines = self._path.read_text(encoding="utf-8").splitlines() if self._path.is_file() else []
            kept = [line for line in lines if _step_of(line) <= state.global_step and state.global_step]
            self._path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Write what the trainer logs."""
        if state.is_world_process_zero and logs:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": state.global_step, **logs}) + "\n")

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Count the step."""
        self._advance()


def _step_of(line: str) -> float:
    """The step of a line; a line that a kill cut off belongs to none."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")


@contextmanager
def quietly() -> Iterator[None]:
    """Keep the libraries' remarks and bars from whoever trains, who has ours; errors come through."""
    level, bars = _remarks.get_verbosity(), _remarks.is_progress_bar_enabled()
    _remarks.set_verbosity_error()
    _remarks.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            # PEFT asks the model for a property under its deprecated name.
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
            yield
    finally:
        _remarks.set_verbosity(level)
        if bars:
            _remarks.enable_progress_bar()
