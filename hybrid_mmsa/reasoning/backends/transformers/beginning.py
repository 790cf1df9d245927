"""What questions begin with alike is read once. For models whose places count up by one, see `Vlm.resumes`.

A question about a short post is for the most part the same as every other: the instruction and the form of a chat. Keys
and values of its first tokens depend on nothing that follows them, so one row of them serves all.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

__all__ = ["Beginnings", "beginning_first", "read_beginning", "repeated", "shared_beginning"]

MOST_REMEMBERED = 16
"""Beginnings in memory: one for each prompt and adapter in use."""


def shared_beginning(inputs: Mapping[str, Any], kept: int, picture: int | None = None) -> int:
    """How many tokens all rows begin with alike; never so many that one of the last `kept` columns is among them.

    Args:
        inputs: `input_ids` and `attention_mask` `[n, length]`, padded on the left.
        kept: Columns at the end whose logits are wanted, and so must be read with each row.
        picture: The token that stands for a part of a picture: alike in all rows, and no two need mean the same.
    """
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    starts = mask.argmax(dim=1)
    shortest = int((ids.shape[1] - starts).min()) - kept
    columns = starts[:, None] + torch.arange(max(shortest, 0), device=ids.device)
    rows = ids.gather(1, columns)
    alike = (rows == rows[:1]).all(dim=0)
    if picture is not None:
        alike &= (rows[:1] != picture).all(dim=0)
    return int(alike.to(torch.int64).cumprod(dim=0).sum())


def beginning_first(inputs: Mapping[str, Any], length: int) -> dict[str, torch.Tensor]:
    """The same rows with their first `length` tokens in the first columns, padding behind them, and each one's place.

    Args:
        inputs: As in `shared_beginning`; each row has more than `length` tokens.
        length: Tokens that all rows begin with.

    Returns:
        `input_ids`, `attention_mask` and `position_ids`, int64 `[n, length of the longest row]`.
    """
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    width = ids.shape[1]
    starts = mask.argmax(dim=1)[:, None]
    columns = torch.arange(width, device=ids.device)[None].expand(len(ids), width)
    # The first tokens come from where the row starts; every later column holds what it held.
    source = torch.where(columns < length, starts + columns, columns)
    hidden = (columns >= length) & (columns < starts + length)
    moved = mask.gather(1, source).masked_fill(hidden, 0)
    places = (moved.cumsum(dim=1) - 1).clamp(min=0)
    return {"input_ids": ids.gather(1, source), "attention_mask": moved, "position_ids": places}


def read_beginning(model: Any, ids: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]] | None:
    """Keys and values `[1, heads, length, size]` of a beginning `[length]`, by layer.

    `None` where a layer keeps less than all of them, as layers with a sliding window do.
    """
    layers = model(input_ids=ids[None], use_cache=True, logits_to_keep=1).past_key_values.layers
    if any(type(layer) is not DynamicLayer for layer in layers):
        return None
    return [(layer.keys, layer.values) for layer in layers]


def repeated(states: list[tuple[torch.Tensor, torch.Tensor]], rows: int, length: int) -> DynamicCache:
    """The first `length` tokens' keys and values as a cache of so many rows that begin with them."""
    cache = DynamicCache()
    for number, (keys, values) in enumerate(states):
        first = [part[:, :, :length].expand(rows, -1, -1, -1) for part in (keys, values)]
        cache.update(*first, number)
    return cache


@dataclass(frozen=True, slots=True, eq=False)
class Beginnings:
    """Beginnings that were read before, the latest ones.

    Attributes:
        model: What reads them.
        picture: See `shared_beginning`. A beginning ends where a picture stands.
    """

    model: Any
    picture: int | None = None
    _read: dict[Hashable, tuple[torch.Tensor, list[tuple[torch.Tensor, torch.Tensor]]]] = field(default_factory=dict)

    def knows(self, key: Hashable) -> bool:
        """Whether a beginning of this name was learnt."""
        return key in self._read

    def learn(self, key: Hashable, inputs: Mapping[str, Any]) -> None:
        """Read what two or more questions begin with, and remember it.

        Args:
            key: All that a beginning depends on but the tokens: the adapter, and the prompt for its name.
            inputs: Questions that differ in their posts alone, none of which has a picture.
        """
        length = shared_beginning(inputs, 1, self.picture)
        ids = beginning_first(inputs, length)["input_ids"][0, :length]
        states = read_beginning(self.model, ids) if length else None
        while len(self._read) >= MOST_REMEMBERED:
            del self._read[next(iter(self._read))]
        self._read[key] = (ids, states) if states else (ids[:0], [])

    def resume(self, key: Hashable, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The same questions with the cache of their beginning, for `generate`, which reads the last column anew.

        Args:
            key: Of a beginning that was learnt.
            inputs: As in `shared_beginning`, and what the model is shown beside.
        """
        ids, states = self._read[key]
        length = min(shared_beginning(inputs, 1), len(ids))
        first = beginning_first(inputs, length)["input_ids"][0, :length]
        length = int((first == ids[:length]).to(torch.int64).cumprod(dim=0).sum())
        if not length:
            return dict(inputs)
        rows = beginning_first(inputs, length)
        count = len(rows["input_ids"])
        return {
            **inputs,
            "input_ids": rows["input_ids"],
            "attention_mask": rows["attention_mask"],
            "past_key_values": repeated(states, count, length),
        }
