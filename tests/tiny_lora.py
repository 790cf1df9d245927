"""LoRA adapters for small VLMs, with random weights, as PEFT writes them."""

import json
import warnings

import torch
from peft import LoraConfig, PeftModel
from safetensors.torch import load_file, save_file
from transformers import LlavaForConditionalGeneration

LANGUAGE = r".*language_model\..*\.(q_proj|v_proj|o_proj|up_proj)"
EVERYWHERE = ["q_proj", "v_proj"]  # the vision tower has layers of these names too


def write_lora(model_folder, folder, seed=0, strength=0.1, targets=LANGUAGE):
    """A LoRA for a LLaVA's folder; `strength` 0 is one that was never trained and changes nothing."""
    model = LlavaForConditionalGeneration.from_pretrained(model_folder)
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
