"""The llama.cpp reasoner: a GGUF model, with its picture side or without, answers posts here. Knows no server.

A chat goes through the model's own template, the tokens that every answer begins with are put behind it, and the label
is read from the logits of the next token. Only where a rationale is asked for does the model go on to write, under a
grammar made of the answer's schema; an answer that would hold nothing but label and irony is read from logits whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

import llama_cpp
import numpy as np

from ...bundled import bundled_path
from ...errors import ArtefactError, InputError, ReasonerError
from ...forks import Home, OpenLock
from ...types import LABELS, Label, LoraRef, Sample, Verdict
from ..config import ReasonerConfig
from ..hiding import verdicts_of
from ..prompt.answer import Answer, answer_schema, read_answer, verdict
from ..prompt.chat_text import ChatText
from ..prompt.labels import ANSWER_START, LabelTokens, irony_tokens, label_probabilities, label_tokens, share
from ..prompt.prompts import Prompt, Prompts
from .gguf_context import GgufContext
from .gguf_writing import ENDING, write_json

__all__ = ["LlamaCppReasoner"]

NO_EFFECT = 1e-6  # a LoRA that moves no logit by more does nothing
IRONY = 16
"""Tokens that suffice to get from a label to where an answer says whether the post is ironic."""


class LlamaCppReasoner:
    """Answers posts with one llama.cpp context. Safe to share between threads: they take turns, post by post.

    What a prompt begins with like the one before is not read again. An adapter is a GGUF file, or a folder as PEFT
    saves it, which is translated; each is loaded at first use, stays in memory, and is set for a post under the same
    lock that the post is answered under.

    Args:
        config: `model` and `mmproj` are GGUF files, and without `mmproj` the model reads words alone; `lora` answers
            where no other is asked for; `timeout` counts from the moment a post's turn comes.

    Attributes:
        id: Names the model in answers.
        revision: Of its weights, where known.
        reads_pictures: Whether it is shown the pictures of posts.
        config: What it was opened with.

    Raises:
        InputError: `device` asks for a GPU that this llama.cpp cannot use.
        ArtefactError: A file cannot be read, or the tokenizer cannot tell the prompt's label words apart.
    """

    def __init__(self, config: ReasonerConfig) -> None:
        if config.device not in {"auto", "cpu"} and not llama_cpp.llama_supports_gpu_offload():
            raise InputError(f"device {config.device!r}: this llama-cpp-python is built for the CPU", field="device")
        self.id, self.revision = config.id, config.revision
        self.reads_pictures = config.mmproj is not None
        self.config = config
        self._lock, self._home = OpenLock(), Home()
        self._closed = False
        gpu = config.device != "cpu"
        self._context = GgufContext(
            Path(config.model), config.mmproj, context=config.context, threads=config.threads, gpu=gpu
        )
        self._chat = _chat(self._context)
        self._prompts = Prompts(config.prompt)
        self._labels: dict[str, LabelTokens] = {}
        self._probed: set[Path] = set()
        self._tokens(self._prompts.configured)
        self._own: LoraRef | None = None
        if config.lora is not None:
            self._own = LoraRef(name=config.lora, path=bundled_path("adapters", config.lora, "lora"))
            self.load(self._own)

    def close(self) -> None:
        """Free the model; the reasoner answers no more. A post that is being answered is answered first."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._context.close()

    def load(self, lora: LoraRef) -> None:
        """Read an adapter now, not at its first post, and see that it does something.

        Raises:
            ArtefactError: It cannot be translated to GGUF, is not this model's, or changes nothing.
            ReasonerError: The reasoner is closed.
        """
        self._home.check(self.id)
        with self._opened():
            self._use_adapter(lora, self._tokens(self._prompts.of(lora)))

    def reason(
        self, samples: Sequence[Sample], lora: LoraRef | None = None, *, rationale: bool = False
    ) -> list[Verdict]:
        """One verdict per post, in order; see `Reasoner.reason`.

        Raises:
            ReasonerError: Out of time, llama.cpp failed, or the reasoner is closed.
            PostError: No room in the context, or a post has no words that the model could read.
            ArtefactError: The adapter cannot be translated to GGUF, is not this model's, or changes nothing.
        """
        self._home.check(self.id)
        lora = lora or self._own
        prompt = self._prompts.of(lora)
        return verdicts_of(
            self, prompt, samples, lambda some, why: self._judged(some, prompt, lora, why), rationale=rationale
        )

    def _judged(
        self, samples: Sequence[Sample], prompt: Prompt, lora: LoraRef | None, rationale: bool
    ) -> list[Verdict]:
        return [self._judge(sample, prompt.for_sample(sample), lora, rationale) for sample in samples]

    def _judge(self, sample: Sample, prompt: Prompt, lora: LoraRef | None, rationale: bool) -> Verdict:
        text, pictures = self._chat(
            prompt.messages(sample, image_size=self.config.image_size, pictures=self.reads_pictures)
        )
        room = (IRONY if prompt.brief else self.config.max_rationale_tokens + ENDING) if rationale else 0
        with self._opened(), self._context.limit(self.config.timeout):
            tokens = self._tokens(prompt)
            self._use_adapter(lora, tokens)
            started = perf_counter()
            logits, read = self._context.prefill(text, pictures, tokens.prefix, room)
            timings = {"prefill": 1000 * (perf_counter() - started)}
            probabilities = label_probabilities(logits[None], tokens)[0]
            label = LABELS[int(probabilities.argmax())]
            answer, sarcasm, count = None, None, 0
            if rationale:
                started = perf_counter()
                if prompt.brief:
                    sarcasm = self._irony(text, pictures, prompt, label)
                else:
                    answer, sarcasm, count = self._write(sample, prompt, label, tokens)
                timings["decode"] = 1000 * (perf_counter() - started)
        return verdict(
            probabilities,
            answer,
            reasoner=self.id,
            prompt=prompt,
            lora=lora,
            sarcasm=sarcasm,
            tokens=read + count,
            timings=timings,
        )

    @contextmanager
    def _opened(self) -> Iterator[None]:
        """The model for one thread alone; what stood in freed memory is not asked."""
        with self._lock:
            if self._closed:
                raise ReasonerError(f"{self.id} is closed")
            yield

    def _irony(self, text: str, pictures: Sequence[object], prompt: Prompt, label: Label) -> float | None:
        """P(sarcastic) of an answer that begins with a label: read on from the prompt, which is still in memory."""
        begun = irony_tokens(self._context.tokens, prompt.labels[label])
        logits, _ = self._context.prefill(text, pictures, begun, 0)
        space = "" if b"".join(map(self._context.piece, begun)).endswith(b" ") else " "
        true, false = (logits[self._beginnings(space, word)] for word in ("true", "false"))
        return share(true, false)

    def _beginnings(self, space: str, word: str) -> list[int]:
        """The tokens that begin a word, after a space that is still to come or after none."""
        wanted = [space + word[:length] for length in range(1, len(word) + 1)]
        # Some tokenizers put a space before a text by themselves.
        cut = [(text, self._context.tokens(spelled)) for text in wanted for spelled in (text, text.lstrip())]
        found = {ids[0] for text, ids in cut if len(ids) == 1 and self._context.piece(ids[0]) == text.encode()}
        return sorted(found)

    def _write(
        self, sample: Sample, prompt: Prompt, label: Label, tokens: LabelTokens
    ) -> tuple[Answer, float | None, int]:
        """The answer to the label the logits chose, P(sarcastic) where it shows, and the number of tokens written."""
        schema = answer_schema(prompt, label=prompt.labels[label])
        start = [*tokens.prefix, tokens.ids[label]]
        written = write_json(self._context, schema, start, self.config.max_rationale_tokens)
        return read_answer(written.text, prompt, sample), written.sarcasm, written.tokens

    def _tokens(self, prompt: Prompt) -> LabelTokens:
        if prompt.id not in self._labels:
            self._labels[prompt.id] = label_tokens(self._context.tokens, prompt.labels)
        return self._labels[prompt.id]

    def _use_adapter(self, lora: LoraRef | None, tokens: LabelTokens) -> None:
        """Set the adapter; at its first use, refuse one that changes nothing."""
        path = None if lora is None else lora.path
        if path is not None and path not in self._probed:
            probes = []
            for each in (None, path):
                self._context.use_adapter(each)
                probes.append(self._context.prefill(ANSWER_START, (), tokens.prefix, 0)[0])
            if not np.abs(probes[0] - probes[1]).max() >= NO_EFFECT:  # which numbers that are none are not either
                raise ArtefactError(f"the adapter {path} changes nothing: it is untrained, or not this model's")
            self._probed.add(path)
        self._context.use_adapter(path)


def _chat(context: GgufContext) -> ChatText:
    template = context.llama.metadata.get("tokenizer.chat_template")
    if not template:
        raise ArtefactError("the GGUF file carries no chat template: convert the model again, with its template")
    bos, eos = (context.special_text(token) for token in (context.llama.token_bos(), context.llama.token_eos()))
    return ChatText(template, bos=bos, eos=eos, marker=context.marker)
