"""The server reasoner: an OpenAI-compatible server (vLLM, SGLang, llama-server) answers posts. Runs no model itself.

The answer's schema makes it begin with the label, and the label's probabilities are read from the log-probabilities of
the token at which its word begins. A server lists only the likeliest tokens there, see `token_shares`.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from time import monotonic, perf_counter, sleep
from typing import Any, TypeVar
from urllib.parse import urlsplit

import openai

from ...errors import HybridError, InputError, ReasonerError
from ...foreign import translated
from ...types import LABELS, FloatArray, LoraRef, Sample, Verdict
from ..config import ReasonerConfig
from ..hiding import verdicts_of
from ..prompt.answer import answer_schema, read_answer, read_label, verdict
from ..prompt.prompts import Prompt, Prompts
from ..prompt.token_shares import SpelledToken, word_shares
from .bounded_transport import BoundedTransport
from .secret import Secret

__all__ = ["OpenAIServerReasoner"]

LABEL = rb'^\s*\{\s*"label"\s*:\s*"'
SARCASTIC = rb'"sarcastic"\s*:\s*'
LISTED = 20  # the most that vLLM lists by default, and OpenAI at all
LABEL_TOKENS = 32  # enough for an answer that is the label alone
LOSSLESS = 512 * 512  # pixels; larger pictures travel as JPEG
QUALITY = 95
FIRST_PAUSE = 0.5
"""Seconds before a request is sent again; each further pause is twice as long, unless the server says how long."""
LONGEST_CAUSE = 200
NO_KEY = "none"
LOGGERS = ("httpcore2.connection", "httpcore2.http11", "httpx2", "openai", "openai._base_client")
"""Those that log heads of answers, where a server may repeat what it was sent."""

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class _Reply:
    text: str
    tokens: tuple[SpelledToken, ...]
    count: int | None


class OpenAIServerReasoner:
    """Asks a server, up to `batch_size` posts at a time. Safe to share between threads.

    A LoRA adapter is a model of its own to such a server: it is asked for by the adapter's name, and the server must
    list it. Nothing is sent to any host but that of `url`: redirects are not followed and proxies not used. Pictures
    travel as PNG, large ones as JPEG. Failed requests are sent again, `retries` times, with growing pauses, until
    `timeout` seconds have passed since the post's first request. Answers over 16 MiB are refused, and so are packed
    ones. The key is struck out of whatever the server says.

    Args:
        config: `url` and `model` name server and model; `api_key_env` names the environment variable with the key;
            without `pictures` the model there is shown words alone.

    Attributes:
        id: Names the model in answers.
        reads_pictures: Whether it is shown the pictures of posts.
        config: What it was opened with.

    Raises:
        InputError: `url` is no http or https address.
    """

    def __init__(self, config: ReasonerConfig) -> None:
        key = (os.environ.get(config.api_key_env) or NO_KEY).strip()
        _check_access(config, key)
        self.id, self.reads_pictures = config.id, config.pictures
        self.config = config
        self._prompts = Prompts(config.prompt)
        self._served: set[str] = set()
        self._secret = Secret("" if key == NO_KEY else key)
        self._secret.watch(LOGGERS)
        self._transport = BoundedTransport()
        self._client = openai.OpenAI(
            base_url=config.url,
            api_key=key,
            timeout=config.timeout,
            max_retries=0,  # `_patiently` sends again, within the deadline
            default_headers={"Accept-Encoding": "identity"},
            http_client=openai.DefaultHttpxClient(follow_redirects=False, trust_env=False, transport=self._transport),
        )

    def close(self) -> None:
        """Close the connections; the reasoner answers no more."""
        self._client.close()
        self._secret.unwatch(LOGGERS)

    def load(self, lora: LoraRef) -> None:
        """See that the server lists the adapter: some servers answer to any name, without it.

        Raises:
            ReasonerError: It does not, or cannot be asked.
        """
        self._prompts.of(lora)
        name = lora.name
        if name == self.config.model:
            raise ReasonerError(f"the adapter is named like the model {name!r}: the server could not tell them apart")
        if name in self._served:
            return
        with self._discreet():
            try:
                models = self._patiently(self._client.models.list, monotonic() + self.config.timeout)
                self._served.update(str(model.id) for model in models.data)
            except (openai.OpenAIError, ValueError, AttributeError, TypeError, RecursionError) as error:
                raise ReasonerError(self._cause(error, name)) from error
        if name not in self._served:
            listed = ", ".join(sorted(self._served)) or "nothing"
            raise ReasonerError(
                f"{self.config.url} serves no adapter {name!r}, only {listed}: start it with the adapter"
            )

    def reason(
        self, samples: Sequence[Sample], lora: LoraRef | None = None, *, rationale: bool = False
    ) -> list[Verdict]:
        """One verdict per post, in order; see `Reasoner.reason`.

        Raises:
            ReasonerError: The server is lost, too slow or busy, does not have the model or adapter, or gives no
                log-probabilities.
            PostError: It is shown words alone, and a post has none.
        """
        if not samples:
            return []
        if lora is not None:
            self.load(lora)
        prompt = self._prompts.of(lora)
        return verdicts_of(
            self, prompt, samples, lambda some, why: self._judged(some, prompt, lora, why), rationale=rationale
        )

    def _judged(
        self, samples: Sequence[Sample], prompt: Prompt, lora: LoraRef | None, rationale: bool
    ) -> list[Verdict]:
        with ThreadPoolExecutor(min(self.config.batch_size, len(samples))) as pool:
            waiting = [pool.submit(self._judge, s, prompt.for_sample(s), lora, rationale) for s in samples]
            try:
                unclear = f"{self.config.url} sent no answer that makes sense"
                with self._discreet(), translated(lambda cause: ReasonerError(f"{unclear}: {cause}")):
                    return [each.result() for each in waiting]
            finally:
                pool.shutdown(wait=False, cancel_futures=True)  # after a failure the rest is not sent any more

    def _judge(self, sample: Sample, prompt: Prompt, lora: LoraRef | None, rationale: bool) -> Verdict:
        started, deadline = perf_counter(), monotonic() + self.config.timeout
        messages = [
            {**message, "content": [_part(part) for part in message["content"]]}
            for message in prompt.messages(sample, image_size=self.config.image_size, pictures=self.reads_pictures)
        ]
        schema = answer_schema(prompt)
        model = self.config.model if lora is None else lora.name
        if not rationale:
            label_alone = {"properties": {"label": schema["properties"]["label"]}, "required": ["label"]}
            reply = self._ask(model, messages, {**schema, **label_alone}, LABEL_TOKENS, deadline)
            probabilities = self._probabilities(reply, prompt)
            read_label(reply.text, prompt)  # refuses a reply that is not an answer, whatever its probabilities are
            answer, sarcasm = None, None
        else:
            most = self.config.max_rationale_tokens
            reply = self._ask(model, messages, schema, most, deadline)
            probabilities = self._probabilities(reply, prompt)
            answer = read_answer(reply.text, prompt, sample)
            label = LABELS[int(probabilities.argmax())]
            if answer.label != label:  # spelled in a less likely way; the probabilities decide
                schema = answer_schema(prompt, label=prompt.labels[label])
                reply = self._ask(model, messages, schema, most, deadline)
                answer = read_answer(reply.text, prompt, sample)
            shares = word_shares(reply.tokens, SARCASTIC, ["true", "false"])
            sarcasm = None if shares is None else float(shares[0])
        return verdict(
            probabilities,
            answer,
            reasoner=self.id,
            prompt=prompt,
            lora=lora,
            sarcasm=sarcasm,
            tokens=reply.count,
            timings={"request": 1000 * (perf_counter() - started)},
        )

    def _ask(self, model: str, messages: list[Any], schema: Mapping[str, Any], most: int, deadline: float) -> _Reply:
        response_format: Any = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": schema, "strict": True},
        }
        try:
            reply = self._patiently(
                lambda: self._client.chat.completions.create(
                    model=model,
                    messages=messages,
                    response_format=response_format,
                    max_tokens=most,
                    temperature=0,
                    logprobs=True,
                    top_logprobs=LISTED,
                ),
                deadline,
            )
        except (openai.OpenAIError, ValueError) as error:
            raise ReasonerError(self._cause(error, model)) from error
        try:
            return self._reply(reply, most)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:  # the client checks no types
            raise ReasonerError(f"{self.config.url} sent no chat completion that can be read: {error}") from error

    def _patiently(self, send: Callable[[], Answer], deadline: float) -> Answer:
        """What a request is answered with, sent again where that may help, until the deadline."""
        for tries in range(1, self.config.retries + 2):
            try:
                with self._transport.until(deadline):
                    return send()
            except openai.APITimeoutError:
                raise
            except (openai.APIConnectionError, openai.RateLimitError, openai.InternalServerError) as error:
                pause = _pause(error, tries)
                if tries > self.config.retries or monotonic() + pause >= deadline:
                    raise
                sleep(pause)
        raise AssertionError("the last try returns or raises")

    @contextmanager
    def _discreet(self) -> Iterator[None]:
        """Strike the key out of errors; one that held it loses its causes, which hold it as well."""
        try:
            yield
        except HybridError as error:
            message, held = self._secret.struck(str(error)), False
            link: BaseException | None = error
            while link is not None and not held:
                held, link = self._secret.struck(str(link)) != str(link), link.__cause__ or link.__context__
            if not held:
                raise
        else:
            return
        raise ReasonerError(message) from None

    def _reply(self, reply: Any, most: int) -> _Reply:
        choice = reply.choices[0] if getattr(reply, "choices", None) else None
        if choice is None or choice.message.content is None:
            raise ReasonerError(f"{self.config.url} sent no chat completion: is it an OpenAI-compatible server?")
        if choice.finish_reason == "length":
            raise ReasonerError(f"the answer did not end after {most} tokens: raise `max_rationale_tokens`")
        if choice.logprobs is None or not choice.logprobs.content:
            raise ReasonerError(
                f"{self.config.url} gives no log-probabilities, so no label can be read: allow them there"
            )
        tokens = tuple(_spelled(token) for token in choice.logprobs.content)
        return _Reply(
            self._secret.struck(choice.message.content), tokens, reply.usage.total_tokens if reply.usage else None
        )

    def _probabilities(self, reply: _Reply, prompt: Prompt) -> FloatArray:
        shares = word_shares(reply.tokens, LABEL, [f'{prompt.labels[label]}"' for label in LABELS])
        if shares is None:
            raise ReasonerError(
                f"none of the label words is among the {LISTED} likeliest tokens of {self.config.model}"
            )
        return shares

    def _cause(self, error: Exception, model: str) -> str:
        """What went wrong and what to do, in words that hold no key."""
        url = self.config.url
        if isinstance(error, openai.APITimeoutError):
            return f"{url} gave no whole answer within {self.config.timeout:g} s: raise `timeout`"
        if isinstance(error, openai.APIConnectionError):
            return f"{url} cannot be reached or broke off ({error.__cause__ or error}): is the server up?"
        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            return f"{url} refuses the key: set the environment variable {self.config.api_key_env}"
        if isinstance(error, openai.NotFoundError):
            return f"{url} has no model {model!r}, or is not where its API begins (most end in /v1)"
        if isinstance(error, openai.RateLimitError):
            return f"{url} is too busy (429): lower `batch_size` or raise `retries`"
        if isinstance(error, openai.APIStatusError):
            return (
                f"{url} refused the request ({error.status_code}): {self._secret.struck(error.message)[:LONGEST_CAUSE]}"
            )
        return f"{url} sent no answer that can be read: {self._secret.struck(str(error))[:LONGEST_CAUSE]}"


def _check_access(config: ReasonerConfig, key: str) -> None:
    """What could not be sent, or would show a secret in messages, is refused before anything is sent."""
    try:
        url = urlsplit(config.url or "")
    except ValueError as error:
        raise InputError(f"url is no address: {error}", field="url") from error
    if "@" in url.netloc:
        raise InputError("url holds a name or password, which messages would show: use `api_key_env`", field="url")
    if url.query or url.fragment:
        raise InputError("url holds a query, which messages would show: use `api_key_env` for a key", field="url")
    if url.scheme not in {"http", "https"} or not url.netloc:
        raise InputError(f"url {config.url!r} is no http or https address", field="url")
    if not (key.isascii() and key.isprintable()):
        raise InputError(f"the key in {config.api_key_env} holds characters that no header takes", field="api_key_env")


def _pause(error: openai.APIError, tries: int) -> float:
    """Seconds before the next try: what the server says, where it says it in a way that can be read."""
    headers: Mapping[str, str] = getattr(getattr(error, "response", None), "headers", {})
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) * unit
        except ValueError:
            continue
        if seconds >= 0:  # not NaN
            return seconds
    return FIRST_PAUSE * 2.0 ** (tries - 1)


def _spelled(token: Any) -> SpelledToken:
    listed = {_bytes(each): float(each.logprob) for each in (*(token.top_logprobs or ()), token)}
    if not all(value < 1 for value in listed.values()):  # also true of NaN
        raise ValueError("log-probabilities that are no numbers")
    return SpelledToken(_bytes(token), listed)


def _bytes(token: Any) -> bytes:
    """A token may be a part of a character, which only its bytes can say; not all servers send them."""
    return token.token.encode() if token.bytes is None else bytes(token.bytes)


def _part(part: Mapping[str, Any]) -> dict[str, Any]:
    if part["type"] != "image":
        return dict(part)
    picture, file = part["image"], BytesIO()
    kind = "PNG" if picture.width * picture.height <= LOSSLESS else "JPEG"
    picture.save(file, kind, **({"quality": QUALITY} if kind == "JPEG" else {}))
    encoded = base64.b64encode(file.getvalue()).decode("ascii")
    return {"type": "image_url", "image_url": {"url": f"data:image/{kind.lower()};base64,{encoded}"}}
