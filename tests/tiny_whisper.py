"""A Whisper model of 32 numbers a token, in CTranslate2's format, that says the same words whatever it hears.

Its weights are written and not learnt: each place of the decoder has a number of its own, and the last layer makes of
it the token of that place. What the words are is no proof of hearing; that a model is opened, run and timed is.
"""

import json

import numpy as np
from ctranslate2.specs import WhisperSpec
from ctranslate2.specs.common_spec import Conv1DSpec, EmbeddingsSpec, LayerNormSpec, LinearSpec
from ctranslate2.specs.model_spec import LayerSpec
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

WIDTH = 32
SPECIAL = [
    *("<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|translate|>", "<|transcribe|>", "<|startoflm|>"),
    *("<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"),
]
TIMES = [f"<|{n * 0.02:.2f}|>" for n in range(1501)]


def write_tiny_whisper(folder, words, seconds):
    """A model that says `words`, each of which begins with a blank, within the first `seconds` of what it hears."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    spelt = [word for word in dict.fromkeys(word.replace(" ", "Ġ") for word in words) if word not in letters]
    vocabulary = [*letters, *spelt, *SPECIAL, *TIMES]
    place = {token: n for n, token in enumerate(vocabulary)}
    script = ["<|0.00|>", *(word.replace(" ", "Ġ") for word in words), f"<|{seconds:.2f}|>", "<|endoftext|>"]
    spec = WhisperSpec(1, 1, 1, 1)
    fill(spec.encoder, np.random.default_rng(0))
    fill(spec.decoder, np.random.default_rng(1))
    spec.encoder.conv1.weight = random(0, WIDTH, 80, 3)
    spec.encoder.position_encodings.encodings = random(1, 1500, WIDTH)
    spec.decoder.position_encodings.encodings = np.eye(448, WIDTH, dtype=np.float32)
    spec.decoder.embeddings.weight = np.zeros((len(vocabulary), WIDTH), np.float32)
    spec.decoder.projection.weight = np.zeros((len(vocabulary), WIDTH), np.float32)
    spec.decoder.projection.bias = np.zeros(len(vocabulary), np.float32)
    for at, token in enumerate(script):
        spec.decoder.projection.weight[place[token], at] = 10
    for part in (spec.decoder.layer[0].self_attention.linear[-1], spec.decoder.layer[0].attention.linear[-1]):
        part.weight = np.zeros_like(part.weight)
    spec.decoder.layer[0].ffn.linear_1.weight = np.zeros((WIDTH, 4 * WIDTH), np.float32)
    spec.config.alignment_heads, spec.config.lang_ids = [[0, 0]], [place["<|en|>"]]
    spec.config.suppress_ids, spec.config.suppress_ids_begin = [], []
    spec.register_vocabulary(vocabulary)
    spec.validate()
    folder.mkdir()
    spec.save(str(folder))
    tokenizer = Tokenizer(models.BPE({token: n for token, n in place.items() if n < len(letters) + len(spelt)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([*SPECIAL, *TIMES])
    tokenizer.save(str(folder / "tokenizer.json"))
    assert json.loads((folder / "config.json").read_text())
    return folder


def random(seed, *shape):
    return (0.1 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def fill(spec, chance):
    """Random weights wherever a layer has some."""
    for name, value in vars(spec).items():
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, LayerNormSpec):
                part.gamma, part.beta = np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)
            elif isinstance(part, Conv1DSpec):
                part.weight = random(int(chance.integers(1000)), WIDTH, WIDTH, 3)
                part.bias = np.zeros(WIDTH, np.float32)
            elif isinstance(part, LinearSpec):
                out, into = shape_of(name, value)
                part.weight = random(int(chance.integers(1000)), out, into)
                part.bias = np.zeros(out, np.float32)
            elif isinstance(part, LayerSpec) and not isinstance(part, EmbeddingsSpec):
                fill(part, chance)
    attention = getattr(spec, "linear", None)
    if attention is not None:
        sizes = (3, 1) if len(attention) == 2 else (1, 2, 1)  # a decoder asks one side and is answered by the other
        for part, size in zip(attention, sizes, strict=True):
            part.weight, part.bias = random(7, size * WIDTH, WIDTH), np.zeros(size * WIDTH, np.float32)


def shape_of(name, value):
    return {"linear_0": (4 * WIDTH, WIDTH), "linear_1": (WIDTH, 4 * WIDTH)}.get(name, (WIDTH, WIDTH))
