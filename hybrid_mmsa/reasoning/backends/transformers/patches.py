"""MobileNetV2 as the picture side of a LLaVA: its last feature map, one row per patch. Knows no weights and no prompt.

Importing this module makes the model type known to the transformers library, so that a folder whose `config.json`
names it is opened like any other LLaVA, without code of its own.
"""

from __future__ import annotations

from typing import Any

import torch
import transformers
from transformers.modeling_outputs import BaseModelOutputWithPooling

__all__ = ["PATCH_PIXELS", "MobileNetPatches", "MobileNetPatchesConfig"]

_library: Any = transformers  # its classes are annotated only in part
_Config: Any = _library.MobileNetV2Config
_Model: Any = _library.MobileNetV2Model

PATCH_PIXELS = 32
"""Pixels of a picture's side that one row of the feature map stands for."""


class MobileNetPatchesConfig(_Config):  # type: ignore[misc]
    """MobileNetV2's configuration, with what a LLaVA asks of a picture side.

    Attributes:
        hidden_size: Channels of the last feature map.
    """

    model_type = "mobilenet_v2_patches"
    hidden_size: int = 1280


class MobileNetPatches(_Model):  # type: ignore[misc]
    """Pixels → patches: what a vision transformer gives a LLaVA, from a convolutional network."""

    config_class = MobileNetPatchesConfig

    def __init__(self, config: Any) -> None:
        super().__init__(config, add_pooling_layer=False)

    def train(self, mode: bool = True) -> MobileNetPatches:
        """Stay as it is: tuning the language model beside it must not move its batch norms."""
        super().train(False)
        return self

    def forward(self, pixel_values: torch.Tensor, **_: Any) -> Any:
        """The last feature map.

        Args:
            pixel_values: `[n, 3, side, side]`, scaled as the processor does.

        Returns:
            `last_hidden_state` `[n, patches, 1280]`, row by row from the top left; it is the only one of the
            `hidden_states`.
        """
        features = super().forward(pixel_values, return_dict=True).last_hidden_state
        patches = features.flatten(2).transpose(1, 2)
        return BaseModelOutputWithPooling(last_hidden_state=patches, hidden_states=(patches,))


_library.AutoConfig.register(MobileNetPatchesConfig.model_type, MobileNetPatchesConfig, exist_ok=True)
_library.AutoModel.register(MobileNetPatchesConfig, MobileNetPatches, exist_ok=True)
