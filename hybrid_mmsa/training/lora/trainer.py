"""TRL's SFTTrainer as this package trains: own batches, loss and measure, nothing sent anywhere. Knows no recipe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import trl
from accelerate.utils import gather_object
from torch.nn import functional

from ... import metrics
from ...reasoning.prompt.labels import label_probabilities
from ...types import LABELS, FloatArray
from .examples import IGNORED, Batch, Examples
from .turns import Turn

__all__ = ["AnswerTrainer", "answer_loss"]

_library: Any = trl  # it does not say what it exports
_Trainer: Any = _library.SFTTrainer


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
        outputs = model(**read, use_cache=False, logits_to_keep=kept)
        loss = answer_loss(outputs.logits, labels[:, start:], column - start, self._label_weight)
        return (loss, outputs) if return_outputs else loss

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Log-loss and accuracy of the label on the calibration part; every GPU works on its share."""
        probabilities = self._label_posteriors()
        found = {
            f"{metric_key_prefix}_nll": metrics.nll(self._gold, probabilities),
            f"{metric_key_prefix}_accuracy": float((probabilities.argmax(1) == self._gold).mean()),
        }
        self.log(found)
        self.control: Any = self.callback_handler.on_evaluate(self.args, self.state, self.control, found)
        return found

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """The adapter has a card of its own."""

    def _send_telemetry(self) -> None:
        """Nothing leaves this machine."""

    def _label_posteriors(self) -> FloatArray:
        """Probabilities `[n, 3]` of the calibration part, from the logits the reasoner reads."""
        rank, size = self.accelerator.process_index, self.accelerator.num_processes
        training = self.model.training
        self.model.eval()
        found: list[tuple[int, list[float]]] = []
        with torch.inference_mode(), self.compute_loss_context_manager():
            for rows in self._looks[rank::size]:
                inputs, tokens = self._held.question(rows)
                logits = self.model(**inputs, use_cache=False, logits_to_keep=1).logits[:, -1, tokens]
                found += zip(rows, label_probabilities(logits.float().cpu().numpy()).tolist(), strict=True)
        self.model.train(training)
        by_row = dict(gather_object(found))
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
    said = logits[:, :-1].float()
    decided = functional.cross_entropy(said[:, column], labels[:, column])
    rest = labels.clone()
    rest[:, column] = IGNORED
    others = functional.cross_entropy(said.flatten(0, 1), rest.flatten(), ignore_index=IGNORED, reduction="sum")
    count = (rest != IGNORED).sum().clamp(min=1)
    return label_weight * decided + (1 - label_weight) * others / count


def turns_of(row: dict[str, Any]) -> list[Turn]:
    """The turns of one row of the data set."""
    return [Turn(*turn) for turn in zip(row["row"], row["reasons"], row["variant"], strict=True)]


def first_batch(examples: Examples, row: dict[str, Any]) -> Batch:
    """The micro-batch of one row of the data set, to be looked at."""
    return examples.batch(turns_of(row))
