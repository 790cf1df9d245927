"""Posts → verdicts by an open VLM in this process: label first from the logits, then, if asked, the written answer.

It knows nothing of the fast tier. Everything that reads or changes the model stands behind one lock, so that threads
see neither each other's adapter nor each other's tokenizer.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import LogitsProcessorList

from ....bundled import bundled_path
from ....errors import ArtefactError, PostError
from ....forks import Home, OpenLock
from ....types import LoraRef, Sample, Verdict
from ...config import ReasonerConfig
from ...hiding import verdicts_of
from ...prompt.answer import read_answer, verdict
from ...prompt.labels import LabelTokens, irony_tokens, label_probabilities, label_tokens
from ...prompt.prompts import Prompts
from ...prompt.question import Prompt
from .adapters import Adapters
from .asking import ask
from .beginning import Beginnings
from .loading import Vlm, memory_is_bounded, open_vlm
from .writing import Grammar, LabelFirst, NextLogits, closing_tokens

__all__ = ["TransformersReasoner"]

_PROBE = Sample(text="What a day!")
_UNLIKE = (Sample(text="What a day!", target="day"), Sample(text="So it goes.", target="it"))
"""Posts that share no word, to see what questions begin with."""


class TransformersReasoner:
    """A reasoner over any model that `AutoModelForImageTextToText` opens, such as LLaVA, Qwen-VL and SmolVLM.

    Language models of words alone (`AutoModelForCausalLM`) judge a post by its words.

    Args:
        config: The model's folder, its precision, the prompt and the limits. `max_rationale_tokens` is the number of
            written tokens after which an answer is brought to its end, which takes a few tokens more.
        vlm: The model where it is open already; by default the configuration's is opened.

    Attributes:
        id: Names the model in answers.
        revision: Of its weights, where known.
        reads_pictures: Whether it is shown the pictures of posts.
        config: What it was opened with.

    Raises:
        ArtefactError: The folder holds no such model, the prompt's label words begin with the same token, or the LoRA
            that the configuration names does not fit.
        ReasonerError: The model does not fit into memory.
    """

    def __init__(self, config: ReasonerConfig, vlm: Vlm | None = None) -> None:
        self.id, self.revision = config.id, config.revision
        self.config = config
        self._vlm = vlm or open_vlm(config)
        self.reads_pictures = self._vlm.sees
        self._lock, self._home = OpenLock(), Home()
        self._grammar = Grammar(self._vlm.tokenizer, self._vlm.vocabulary)
        self._labels: dict[str, LabelTokens] = {}
        self._prompts = Prompts(config.prompt)
        self._check(self._prompts.configured)
        self._adapters = Adapters(self._vlm.model, self._vlm.language, self._probe)
        self._beginnings = Beginnings(self._vlm.model, self._vlm.picture_token)
        self._own: LoraRef | None = None
        if config.lora is not None:
            self._own = LoraRef(name=config.lora, path=bundled_path("adapters", config.lora, "lora"))
            self.load(self._own)

    def load(self, lora: LoraRef) -> None:
        """Read an adapter and check it before it is needed; `reason` does the same at the adapter's first use.

        Raises:
            ArtefactError: It cannot be used: see `Adapters.load`.
        """
        self._home.check(self.id)
        with self._lock, memory_is_bounded():
            self._adapters.load(lora)
            self._prompt(lora)

    def reason(
        self, samples: Sequence[Sample], lora: LoraRef | None = None, *, rationale: bool = False
    ) -> list[Verdict]:
        """One verdict per post, in order; batches of posts of one kind, as many at a time as the configuration says.

        `Verdict.timings` hold a post's share of its batch in milliseconds: `prefill`, `decode` with a rationale, and
        `hiding` where the prompt asks for brief answers.

        Args:
            samples: Read posts.
            lora: The adapter to answer with, and its prompt if it has one; by default the configuration's, if it names
                one.
            rationale: Whether the model also writes, under the schema of `answer_schema`.

        Raises:
            ReasonerError: A batch took longer than the time-out, or memory ended.
            PostError: A post is longer than the context, or the model reads words alone and a post has none.
            ArtefactError: The adapter cannot be used.
        """
        self._home.check(self.id)
        lora = lora or self._own
        with self._lock, memory_is_bounded():
            self._adapters.use(lora)
            prompt = self._prompt(lora)
            return verdicts_of(
                self, prompt, samples, lambda some, why: self._judged(some, prompt, lora, why), rationale=rationale
            )

    def _judged(
        self, samples: Sequence[Sample], prompt: Prompt, lora: LoraRef | None, rationale: bool
    ) -> list[Verdict]:
        """What the model itself says of each post."""
        verdicts: dict[int, Verdict] = {}
        for asked, rows in self._batches(samples, prompt):
            some = [samples[row] for row in rows]
            brief = rationale and asked.brief
            answers = self._brief(asked, some, lora) if brief else self._answer(asked, some, lora, rationale)
            verdicts.update(zip(rows, answers, strict=True))
        return [verdicts[row] for row in range(len(samples))]

    def _batches(self, samples: Sequence[Sample], prompt: Prompt) -> Iterator[tuple[Prompt, list[int]]]:
        """Rows that may share a batch: asked with one prompt, all of them with a picture or none of them."""
        kinds: dict[tuple[str, bool], list[int]] = {}
        for row, sample in enumerate(samples):
            kinds.setdefault((prompt.for_sample(sample).hash, sample.image is not None), []).append(row)
        for rows in kinds.values():
            for start in range(0, len(rows), self.config.batch_size):
                yield prompt.for_sample(samples[rows[0]]), rows[start : start + self.config.batch_size]

    def _answer(
        self, prompt: Prompt, samples: Sequence[Sample], lora: LoraRef | None, rationale: bool
    ) -> list[Verdict]:
        """The verdicts on one batch: one `generate`, whose first logits are the prefill's."""
        labels, closing = self._labels[prompt.hash], closing_tokens(prompt)
        try:
            inputs = self._inputs(prompt, samples, labels)
        except (TypeError, ValueError) as error:  # such as a picture narrower than the model's processor takes
            raise PostError(f"the model's processor cannot read a post: {error}") from error
        room = self.config.max_rationale_tokens if rationale else 0
        length = inputs["input_ids"].shape[1]
        most = room + closing if rationale else 1
        if length + most > self._vlm.context:
            raise PostError(f"{length} tokens of prompt and post and {most} of answer exceed {self._vlm.context}")
        start = time.perf_counter()
        if self._vlm.resumes:
            inputs = self._resumed(inputs, prompt, labels, lora)
        step = LabelFirst(prompt, labels, start + self.config.timeout, self._grammar if rationale else None, room)
        with torch.inference_mode():
            ids = self._vlm.model.generate(**inputs, logits_processor=LogitsProcessorList([step]), max_new_tokens=most)
        done = time.perf_counter()
        probabilities = label_probabilities(step.label_logits)
        written = step.finish(ids[:, -1].tolist()) if rationale else []
        read = inputs["attention_mask"].sum(dim=1).tolist()
        timings = {"prefill": 1000 * (step.prefilled - start) / len(samples)}
        if rationale:
            timings["decode"] = 1000 * (done - step.prefilled) / len(samples)
        return [
            verdict(
                probabilities[n],
                read_answer(written[n], prompt, sample) if rationale else None,
                reasoner=self.id,
                prompt=prompt,
                lora=lora,
                sarcasm=step.lines[n].sarcasm if rationale else None,
                tokens=read[n] + (step.lines[n].tokens if rationale else 0),
                timings=timings,
            )
            for n, sample in enumerate(samples)
        ]

    def _brief(self, prompt: Prompt, samples: Sequence[Sample], lora: LoraRef | None) -> list[Verdict]:
        """Verdicts with P(sarcastic), read from logits: nothing is written.

        It takes one more prefill of the answers that begin with their labels.
        """
        verdicts = self._answer(prompt, samples, lora, rationale=False)
        start, found = time.perf_counter(), list(verdicts)
        for label in {each.label for each in verdicts}:
            rows = [row for row, each in enumerate(verdicts) if each.label == label]
            begun = irony_tokens(self._vlm.encode, prompt.labels[label])
            some = [samples[row] for row in rows]
            inputs = ask(self._vlm, prompt, some, [begun] * len(rows), image_size=self.config.image_size)
            if self._vlm.resumes:
                inputs = self._resumed(inputs, prompt, self._labels[prompt.hash], lora)
            step = NextLogits(start + self.config.timeout)
            with torch.inference_mode():
                self._vlm.model.generate(**inputs, logits_processor=LogitsProcessorList([step]), max_new_tokens=1)
            for row, logits in zip(rows, step.logits.float().cpu().numpy(), strict=True):
                found[row] = verdicts[row].model_copy(update={"sarcasm": self._grammar.share_of_true(begun, logits)})
        took = 1000 * (time.perf_counter() - start) / len(samples)
        return [each.model_copy(update={"timings": {**each.timings, "decode": took}}) for each in found]

    def _resumed(
        self, inputs: dict[str, Any], prompt: Prompt, labels: LabelTokens, lora: LoraRef | None
    ) -> dict[str, Any]:
        """A batch with keys and values of what all questions of its prompt begin with, read once for each adapter."""
        key = (prompt.hash, lora and Path(lora.path).resolve())
        with torch.inference_mode():
            if not self._beginnings.knows(key):
                self._beginnings.learn(key, self._inputs(prompt, _UNLIKE, labels))
            return self._beginnings.resume(key, inputs)

    def _inputs(self, prompt: Prompt, samples: Sequence[Sample], labels: LabelTokens) -> dict[str, Any]:
        """A batch as the model reads it: chats padded on the left, then the beginning of every answer."""
        answers = [labels.prefix] * len(samples)
        return ask(self._vlm, prompt, samples, answers, image_size=self.config.image_size)

    def _prompt(self, lora: LoraRef | None) -> Prompt:
        prompt = self._prompts.of(lora)
        self._check(prompt)
        return prompt

    def _check(self, prompt: Prompt) -> None:
        """The label words' tokens of a prompt and its partner, and that the model is told the instruction at all."""
        for each in (prompt, prompt.partner):
            if each is not None and each.hash not in self._labels:
                chat = each.messages(_PROBE)
                text = self._vlm.processor.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
                if chat[0]["content"][0]["text"] not in text:
                    raise ArtefactError(f"the chat template of {self.config.model} leaves out the system message")
                self._labels[each.hash] = label_tokens(self._vlm.encode, each.labels)

    def _probe(self) -> torch.Tensor:
        """The next token's logits after a fixed post, for the adapters' gate."""
        prompt = self._prompts.configured.for_sample(_PROBE)
        with torch.inference_mode():
            logits = self._vlm.model(**self._inputs(prompt, [_PROBE], self._labels[prompt.hash])).logits
        last: torch.Tensor = logits[0, -1].float()
        return last
