"""LoRA adapters for small VLMs, with random weights or trained ones, as PEFT writes them."""

import json
import random
import warnings
from dataclasses import replace
from itertools import takewhile

import torch
from peft import LoraConfig, PeftModel
from safetensors.torch import load_file, save_file
from tiny_vlm import PARTS, answer_loss, rendered, seen
from transformers import LlavaForConditionalGeneration, LlavaProcessor

from hybrid_mmsa.reasoning.prompt.prompts import load_prompt

LABEL = PARTS[0]  # the part of an answer that is the label's token

LANGUAGE = r".*language_model\..*\.(q_proj|v_proj|o_proj|up_proj)"
EVERYWHERE = ["q_proj", "v_proj"]  # the vision tower has layers of these names too


def write_lora(model_folder, folder, seed=0, strength=0.1, targets=LANGUAGE, kind=LlavaForConditionalGeneration):
    """A LoRA for a LLaVA's folder, or another `kind`'s; `strength` 0 is one that was never trained."""
    model = kind.from_pretrained(model_folder)
    torch.manual_seed(seed)
    with warnings.catch_warnings():  # PEFT asks the model for a property under its deprecated name
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        adapter = PeftModel(model, LoraConfig(r=8, lora_alpha=16, target_modules=targets))
    with torch.no_grad():
        for name, weights in adapter.named_parameters():
            if "lora_B" in name:
                weights.normal_(std=strength) if strength else weights.zero_()
    adapter.save_pretrained(folder)
    return folder


def rename_keys(folder, change):
    """Write the adapter's weights again under the keys `change` gives; a key of `None` is left out."""
    path = folder / "adapter_model.safetensors"
    renamed = {change(key): weights for key, weights in load_file(path).items()}
    save_file({key: weights for key, weights in renamed.items() if key}, path)


def edit_config(folder, **changes):
    """Write other values into the adapter's configuration."""
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def train_lora(model_folder, folder, posts, steps=50, rate=4e-3):
    """A LoRA that has really learned: what to answer to these posts, from the label's token alone."""
    model = LlavaForConditionalGeneration.from_pretrained(model_folder)
    processor = LlavaProcessor.from_pretrained(model_folder)
    prompt = load_prompt("sentiment")
    features = seen(model, processor, posts)
    torch.manual_seed(0)
    with warnings.catch_warnings():  # PEFT asks the model for a property under its deprecated name
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        adapter = PeftModel(model, LoraConfig(r=8, lora_alpha=16, target_modules=LANGUAGE))
    rows = [rendered(post, prompt, processor) for post in posts]
    opening = [column[0] for column in takewhile(lambda c: len(set(c)) == 1, zip(*(t for t, _ in rows), strict=False))]
    rows = [(told[len(opening) :], said) for told, said in rows]
    learned = [weights for name, weights in adapter.named_parameters() if "lora_" in name]
    optimiser, chance = torch.optim.AdamW(learned, lr=rate), random.Random(0)
    for _ in range(steps):
        picked = chance.sample(range(len(rows)), 32)
        loss = answer_loss(model, opening, [rows[n] for n in picked], features[picked], LABEL)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    adapter.save_pretrained(folder)
    return folder


def turned(post):
    """The same post where glad is sad and sad is glad."""
    other = {"negative": "positive", "neutral": "neutral", "positive": "negative"}[post.sample.label]
    return replace(post, sample=replace(post.sample, label=other))
