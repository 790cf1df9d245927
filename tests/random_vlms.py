"""VLMs of other families, tiny and with random weights, as folders: for shapes, processors and chat templates."""

from unittest.mock import patch

from tiny_vlm import END, PAD, corpus, make_tokenizer, save
from transformers import (
    GotOcr2ImageProcessor,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessor,
    Idefics3Processor,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLProcessor,
    InternVLVideoProcessor,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
    SmolVLMImageProcessor,
    SmolVLMProcessor,
    SmolVLMVideoProcessor,
)
from transformers.models.smolvlm import processing_smolvlm

QWEN_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
INTERN_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<IMG_CONTEXT>\n{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SMOL_CHAT = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}:"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %} {{ part['text'] }}{% endif %}"
    "{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "bos_token_id": None,
    "eos_token_id": END,
    "pad_token_id": PAD,
}


def qwen_words(posts, prompt):
    """The tokenizer of a Qwen-VL, and which of its tokens stand for pictures and films, as its configuration says."""
    tokenizer = make_tokenizer(corpus(posts, prompt))
    special = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    tokenizer.add_special_tokens({"additional_special_tokens": special})
    names = ("vision_start_token_id", "vision_end_token_id", "image_token_id", "video_token_id")
    return tokenizer, dict(zip(names, tokenizer.convert_tokens_to_ids(special), strict=True))


def qwen_vl(folder, posts, prompt):
    """A Qwen2.5-VL."""
    tokenizer, places = qwen_words(posts, prompt)
    text = {
        **TEXT,
        "vocab_size": len(tokenizer),
        "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2]},
    }
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 2,
        "out_hidden_size": 32,
        "fullatt_block_indexes": [1],
    }
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, **places)
    pictures = Qwen2VLImageProcessor(size={"shortest_edge": 28 * 28, "longest_edge": 112 * 112})
    processor = Qwen2_5_VLProcessor(pictures, tokenizer, Qwen2VLVideoProcessor(), chat_template=QWEN_CHAT)
    return save(folder, Qwen2_5_VLForConditionalGeneration(config), processor)


def smol_sizes(tokenizer):
    """Sizes of an Idefics3 and of a SmolVLM2, which are built alike."""
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 56,
        "patch_size": 14,
    }
    return {
        "text_config": {**TEXT, "model_type": "llama", "vocab_size": len(tokenizer)},
        "vision_config": vision,
        "image_token_id": tokenizer.convert_tokens_to_ids("<image>"),
        "scale_factor": 2,
        "pad_token_id": PAD,
    }


def smol_vlm(folder, posts, prompt):
    """An Idefics3, as which the first SmolVLM was published."""
    tokenizer = make_tokenizer(corpus(posts, prompt))
    tokenizer.add_special_tokens(
        {"additional_special_tokens": ["<fake_token_around_image>", "<end_of_utterance>", "<global-img>"]}
    )
    pictures = Idefics3ImageProcessor(size={"longest_edge": 56}, max_image_size={"longest_edge": 56})
    processor = Idefics3Processor(pictures, tokenizer, image_seq_len=4, chat_template=SMOL_CHAT)
    config = Idefics3Config(**smol_sizes(tokenizer))
    return save(folder, Idefics3ForConditionalGeneration(config), processor)


def smol_vlm2(folder, posts, prompt):
    """A SmolVLM2, which has classes of its own and a processor of films."""
    tokenizer = make_tokenizer(corpus(posts, prompt))
    tokenizer.add_special_tokens(
        {"additional_special_tokens": ["<fake_token_around_image>", "<end_of_utterance>", "<global-img>", "<video>"]}
    )
    sizes = {"size": {"longest_edge": 56}, "max_image_size": {"longest_edge": 56}}
    parts = (SmolVLMImageProcessor(**sizes), tokenizer, SmolVLMVideoProcessor(**sizes))
    with patch.object(processing_smolvlm, "num2words", str):  # without it none is made; only films need it
        processor = SmolVLMProcessor(*parts, image_seq_len=4, chat_template=SMOL_CHAT)
    config = SmolVLMConfig(**smol_sizes(tokenizer))
    return save(folder, SmolVLMForConditionalGeneration(config), processor)


def qwen3_vl(folder, posts, prompt):
    """A Qwen3-VL: pictures enter several layers of its language model."""
    tokenizer, places = qwen_words(posts, prompt)
    rope = {"rope_type": "default", "mrope_section": [2, 1, 1], "mrope_interleaved": True}
    text = {**TEXT, "head_dim": 8, "vocab_size": len(tokenizer), "rope_parameters": rope}
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 2,
        "out_hidden_size": 32,
        "num_position_embeddings": 64,
        "deepstack_visual_indexes": [0],
    }
    config = Qwen3VLConfig(text_config=text, vision_config=vision, **places)
    pictures = Qwen2VLImageProcessor(size={"shortest_edge": 32 * 32, "longest_edge": 128 * 128}, patch_size=16)
    processor = Qwen3VLProcessor(pictures, tokenizer, Qwen3VLVideoProcessor(), chat_template=QWEN_CHAT)
    return save(folder, Qwen3VLForConditionalGeneration(config), processor)


def intern_vl(folder, posts, prompt):
    """An InternVL, which reads a picture in tiles."""
    tokenizer = make_tokenizer(corpus(posts, prompt))
    named = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
    tokenizer.add_special_tokens({"additional_special_tokens": [*named.values()]})
    tokenizer = type(tokenizer)(
        tokenizer_object=tokenizer.backend_tokenizer,
        pad_token=tokenizer.pad_token,
        eos_token=tokenizer.eos_token,
        extra_special_tokens=named,
    )
    pictures = GotOcr2ImageProcessor(size={"height": 56, "width": 56}, min_patches=1, max_patches=2)
    processor = InternVLProcessor(
        pictures, tokenizer, InternVLVideoProcessor(), image_seq_length=4, chat_template=INTERN_CHAT
    )
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": (56, 56),
        "patch_size": (14, 14),
    }
    config = InternVLConfig(
        text_config={**TEXT, "model_type": "qwen2", "vocab_size": len(tokenizer)},
        vision_config=vision,
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=4,
        tie_word_embeddings=False,
    )
    return save(folder, InternVLForConditionalGeneration(config), processor)


FAMILIES = (qwen_vl, qwen3_vl, smol_vlm, smol_vlm2, intern_vl)
