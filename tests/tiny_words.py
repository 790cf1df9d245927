"""A language model of words alone, and a model store that holds `smol`: both made of the tests' small VLM."""

import shutil

from tiny_vlm import CHAT
from transformers import AutoTokenizer, LlamaForCausalLM, LlavaForConditionalGeneration

from hybrid_mmsa.reasoning import presets
from hybrid_mmsa.reasoning.models.store import Pulled, file_hashes, write_manifest

OPENED = 'backend = "transformers"\nmodel = "."\nid = "{name}"\nprompt = "{prompt}"\ndevice = "cpu"\n{more}\n'


def words_alone(vlm, folder):
    """The VLM's language model as a folder of its own, which says that it is asked with the prompt `smol`."""
    whole = LlavaForConditionalGeneration.from_pretrained(vlm)
    model = LlamaForCausalLM(whole.config.text_config)
    model.model.load_state_dict(whole.model.language_model.state_dict())
    model.lm_head.load_state_dict(whole.lm_head.state_dict())
    model.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(vlm)
    tokenizer.chat_template = CHAT
    tokenizer.save_pretrained(folder)
    (folder / "reasoner.toml").write_text(OPENED.format(name="words", prompt="smol", more=""))
    return folder


def store_with_smol(vlm, home):
    """A model store (`HYBRID_MMSA_HOME`) in which the small VLM lies as `smol`, so that documents can be followed."""
    folder = shutil.copytree(vlm, home / "models" / "smol")
    more = "timeout = 600\nmax_rationale_tokens = 60"
    (folder / "reasoner.toml").write_text(OPENED.format(name="smol", prompt="sentiment", more=more))
    preset = presets()["smol"]
    files = file_hashes(folder)
    write_manifest(folder, Pulled(name="smol", repository="nobody", revision=preset.revision, files=files))
    return home
