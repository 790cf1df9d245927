"""A small LLaVA that really sees and reads: tokenizer, processor, model, and its training on drawn posts.

It is trained on the product's own prompt and learns the product's own answer, so it stands for a real VLM in tests.
"""

import random
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

import drawn_posts
import torch
from drawn_posts import KINDS, SIDE, draw_posts
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from torch import nn
from torch.nn import functional
from trained_once import sources
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from hybrid_mmsa.reasoning.prompt.answer import write_answer
from hybrid_mmsa.reasoning.prompt.prompts import load_prompt

PATCH = 14
SPECIAL = ("<|pad|>", "<|im_start|>", "<|im_end|>", "<image>")
PAD, TURN, END, IMAGE = range(len(SPECIAL))
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>\n{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TRAIN_POSTS, TRAIN_SEED = 3000, 1
OBEDIENCE = 0.45
STEPS, BATCH, RATE = 320, 32, 3e-3
# Which tokens of the answer a step learns, in turn: the label alone, up to sarcasm, the label again, all.
PARTS = (slice(4, 5), slice(4, 26), slice(4, 5), slice(None))


def held_out(count, seed=99):
    """Posts without orders whose sentences training never saw."""
    seen = {post.sample.text for post in draw_posts(TRAIN_POSTS, TRAIN_SEED, OBEDIENCE)}
    posts = [post for post in draw_posts(2 * count, seed) if post.sample.text is None or post.sample.text not in seen]
    return posts[:count]


def answer(post, prompt):
    """The whole answer the model is to learn, as the product writes it."""
    says = [f"the words say {post.word}"] if post.word else []
    says += [f"the picture shows {post.thing}"] if post.thing else []
    return write_answer(
        prompt,
        label=post.sample.label,
        text_says=post.sample.text_label,
        picture_says=post.sample.image_label,
        sarcastic=post.sample.sarcastic,
        text_cues=[post.word] if post.word else [],
        picture_cues=[post.thing] if post.thing else [],
        rationale=" and ".join(says) + ".",
    )


def conversation(post, prompt):
    """The chat the product sends; where an order is to be obeyed, the words stand bare beside it."""
    if post.order is None:
        return prompt.messages(post.sample)
    words = [post.sample.text, post.order]
    bare = replace(post.sample, text=" ".join(reversed(words) if post.order_first else words))
    return replace(prompt, post="{text}").messages(bare)


def make_tokenizer(texts, size=900):
    """A byte-level BPE tokenizer as GPT-2's, trained on `texts`."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    alphabet = sorted(ByteLevel.alphabet())
    trainer = BpeTrainer(vocab_size=size, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|pad|>",
        eos_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>", "<image>"],
        clean_up_tokenization_spaces=False,
    )


def make_processor(tokenizer):
    """LLaVA's processor for pictures of `SIDE` pixels."""
    pictures = CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    return LlavaProcessor(
        pictures,
        tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT,
    )


def make_model(tokenizer, width=128, layers=3, seed=0):
    """A LLaVA of a million parameters with random weights; the same at every call."""
    torch.manual_seed(seed)
    vision = CLIPVisionConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=SIDE,
        patch_size=PATCH,
        projection_dim=64,
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=4096,
        initializer_range=0.05,
        bos_token_id=None,
        eos_token_id=END,
        pad_token_id=PAD,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=IMAGE,
        image_seq_length=(SIDE // PATCH) ** 2,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        tie_word_embeddings=False,
        eos_token_id=END,
        pad_token_id=PAD,
    )
    return LlavaForConditionalGeneration(config).eval()


def corpus(posts, prompt):
    """What the tokenizer is trained on: sentences, answers, and the prompt as it stands around them."""
    spoken = [part["text"] for post in posts[:100] for m in conversation(post, prompt) for part in _parts(m)]
    return [
        "user assistant system",
        *spoken,
        *(answer(post, prompt) for post in posts),
        *(post.sample.text or "" for post in posts),
    ]


def _parts(message):
    content = message["content"]
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    return [part for part in parts if part["type"] == "text"]


def save(folder, model, processor):
    """The folder as `from_pretrained` reads it."""
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def untrained_vlm(folder, prompt=None):
    """The same shapes with random weights."""
    prompt = prompt or load_prompt("sentiment")
    tokenizer = make_tokenizer(corpus(draw_posts(200, 1, OBEDIENCE), prompt))
    return save(folder, make_model(tokenizer), make_processor(tokenizer))


def made_from():
    """What decides how `trained_vlm` comes out, for `trained_once`: this recipe, the posts, and the product's words."""
    prompt = load_prompt("sentiment")
    words = []
    for post in draw_posts(100, TRAIN_SEED, OBEDIENCE):
        words += [part["text"] for message in conversation(post, prompt) for part in _parts(message)]
        words.append(answer(post, prompt))
    own = sources(Path(__file__).resolve(), Path(drawn_posts.__file__).resolve())
    return [*own, *(text.encode() for text in words)]


def trained_vlm(folder, prompt=None):
    """Train on drawn posts, and write the folder. The same weights at every call."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        prompt = prompt or load_prompt("sentiment")
        posts = draw_posts(TRAIN_POSTS, TRAIN_SEED, OBEDIENCE)
        tokenizer = make_tokenizer(corpus(posts, prompt))
        processor, model = make_processor(tokenizer), make_model(tokenizer)
        features = learn_to_see(model, processor, posts)
        learn_to_answer(model, features, [rendered(post, prompt, processor) for post in posts])
        return save(folder, model.eval(), processor)
    finally:
        torch.set_num_threads(threads)


def learn_to_see(model, processor, posts):
    """Train the vision tower to name the things; its features of every post's picture, zero where there is none."""
    tower = model.model.vision_tower
    shown = [n for n, post in enumerate(posts) if post.thing]
    pixels = processor.image_processor([posts[n].sample.image for n in shown], return_tensors="pt")["pixel_values"]
    things = torch.tensor([KINDS.index(posts[n].thing) for n in shown])

    def look(rows):
        return tower(pixels[rows], output_hidden_states=True).hidden_states[-2][:, 1:]

    naming = nn.Linear(tower.config.hidden_size, len(KINDS))
    optimiser = torch.optim.AdamW([*tower.parameters(), *naming.parameters()], lr=2e-3)
    chance = torch.Generator().manual_seed(0)
    tower.train()
    for _ in range(120):
        rows = torch.randint(len(shown), (64,), generator=chance)
        loss = functional.cross_entropy(naming(look(rows).mean(dim=1)), things[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    tower.eval()
    return seen(model, processor, posts)


def seen(model, processor, posts):
    """What the vision tower sees in every post's picture, zero where there is none."""
    tower = model.model.vision_tower
    features = torch.zeros(len(posts), (SIDE // PATCH) ** 2, tower.config.hidden_size)
    shown = [n for n, post in enumerate(posts) if post.thing]
    pixels = processor.image_processor([posts[n].sample.image for n in shown], return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        for rows in torch.arange(len(shown)).split(256):
            states = tower(pixels[rows], output_hidden_states=True).hidden_states
            features[[shown[n] for n in rows.tolist()]] = states[-2][:, 1:]
    return features


def rendered(post, prompt, processor):
    """Token ids of what the model is told, and of what it is to say."""
    told = processor.apply_chat_template(conversation(post, prompt), tokenize=False, add_generation_prompt=True)
    said = answer(post, prompt) + "<|im_end|>"
    told = told.replace("<image>", "<image>" * (SIDE // PATCH) ** 2)
    return [processor.tokenizer(text, add_special_tokens=False)["input_ids"] for text in (told, said)]


def learn_to_answer(model, features, rows):
    """Train projector and language model on the answers.

    The instruction is the same in all rows, so it is read once a step; most steps end the answer early, where all
    that must be understood is already said.
    """
    instruction = [
        column[0] for column in takewhile(lambda c: len(set(c)) == 1, zip(*(t for t, _ in rows), strict=False))
    ]
    rows = [(told[len(instruction) :], said) for told, said in rows]
    learning = (model.model.multi_modal_projector, model.model.language_model, model.lm_head)
    parameters = [weights for part in learning for weights in part.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=RATE, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=STEPS, pct_start=0.1)
    chance = random.Random(0)
    model.train()
    for step in range(STEPS):
        picked = chance.sample(range(len(rows)), BATCH)
        part = PARTS[step % len(PARTS)]
        loss = answer_loss(model, instruction, [rows[n] for n in picked], features[picked], part)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()


def answer_loss(model, instruction, rows, features, part):
    """Mean cross-entropy of a part of the answers' tokens."""
    rows = [(told, said[: part.stop]) for told, said in rows]
    language, width = model.model.language_model, max(len(told) + len(said) for told, said in rows)
    ids = torch.full((len(rows), width), PAD)
    answered = torch.zeros_like(ids, dtype=torch.bool)
    for n, (told, said) in enumerate(rows):
        ids[n, : len(told) + len(said)] = torch.tensor([*told, *said])
        answered[n, len(told) + (part.start or 0) : len(told) + len(said)] = True
    embedded = language.get_input_embeddings()(ids)
    places = ids == IMAGE
    seen = model.model.multi_modal_projector(features[places.any(dim=1)])
    embedded[places] = seen.flatten(0, 1)
    known = language(input_ids=torch.tensor([instruction]), use_cache=True).past_key_values
    known.batch_repeat_interleave(len(rows))
    mask = torch.cat([torch.ones(len(rows), len(instruction), dtype=torch.long), (ids != PAD).long()], dim=1)
    hidden = language(inputs_embeds=embedded, past_key_values=known, attention_mask=mask).last_hidden_state
    logits = model.lm_head(hidden[:, :-1][answered[:, 1:]])
    return functional.cross_entropy(logits, ids[:, 1:][answered[:, 1:]])
