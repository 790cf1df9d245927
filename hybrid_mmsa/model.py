"""A model as it is opened, closed and moved to another process: encoder, adapters, reasoner, policy. Knows no posts."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self, TypeAlias, cast

from .adapters import Adapter, bundled_adapters, resolve_adapter
from .encoders import CachedEncoder, Encoder, checked_encoder, open_encoder
from .errors import ArtefactError, ClosedError, InputError
from .foreign import translated
from .forks import OpenLock
from .inputs import DEFAULT_LIMITS, Limits
from .reasoning import Reasoner, ReasonerConfig, check_reasoner, load_lora, open_reasoner
from .routing import Policy
from .senses import PictureReaders, check_senses
from .types import Sense

__all__ = ["AdapterSet", "ModelParts", "OpenModel", "open_model"]

ReasonerSource: TypeAlias = "str | Path | ReasonerConfig | Reasoner"
"""What `open_reasoner` opens."""


@dataclass(frozen=True, slots=True, eq=False)
class OpenModel:
    """An adapter with its encoder, both open.

    Attributes:
        folder: Where the adapter stands.
        adapter: What is fitted.
        encoder: What it was fitted to.
    """

    folder: Path
    adapter: Adapter
    encoder: Encoder


def open_model(name_or_path: str | Path = "default", *, threads: int = 1) -> OpenModel:
    """Open a bundled model by its name, or one by its folder, and check that its parts belong together.

    Args:
        name_or_path: See `resolve_adapter`.
        threads: Threads per operator of the encoder.

    Raises:
        ArtefactError: No such adapter, a damaged file, or one fitted to another encoder than it names.
        MissingExtraError: The encoder's library is not installed.
    """
    folder = resolve_adapter(name_or_path)
    adapter = Adapter.load(folder)
    encoder = open_encoder(adapter.encoder, folder, threads=threads)
    adapter.check_encoder(encoder.name, encoder.hash)
    return OpenModel(folder, adapter, encoder)


class AdapterSet:
    """The adapters of an analyzer by name. A bundled one that fits the encoder is loaded when it is first asked for.

    Args:
        adapters: Loaded adapters; the first is the default.
        encoder: What all of them must be fitted to.
        policy: What their routers must be able to promise.
        reasoner: What their LoRA adapters are for.

    Raises:
        ArtefactError: There are none, two have one name, or one does not fit.
    """

    def __init__(
        self, adapters: Sequence[Adapter], encoder: Encoder, policy: Policy | None, reasoner: Reasoner | None
    ) -> None:
        self._encoder, self._policy, self._reasoner = encoder, policy, reasoner
        self._by_name: dict[str, Adapter] = {}
        self._lock = OpenLock()
        for adapter in adapters:
            self._add(adapter)
        if len(self._by_name) < len(adapters) or not adapters:
            names = ", ".join(adapter.name for adapter in adapters) or "none"
            raise ArtefactError(f"an analyzer needs adapters of different names, not {names}")
        self.default = adapters[0].name

    @property
    def by_name(self) -> Mapping[str, Adapter]:
        """Those that are loaded; a view that cannot be changed."""
        return MappingProxyType(self._by_name)

    def get(self, name: str | None = None) -> Adapter:
        """An adapter by its name, the default without one.

        Raises:
            InputError: No adapter of that name is loaded or bundled.
            ArtefactError: The bundled one does not fit the encoder or the policy.
        """
        name = self.default if name is None else name
        with self._lock:
            if not isinstance(name, str) or name not in self._by_name:
                bundled = bundled_adapters()
                if not isinstance(name, str) or name not in bundled:
                    loaded = ", ".join(self._by_name)
                    others = ", ".join(sorted(bundled.keys() - self._by_name.keys())) or "no others"
                    raise InputError(f"no adapter {name!r}; loaded are {loaded}, bundled are {others}", field="adapter")
                self._add(Adapter.load(bundled[name], self._by_name[self.default]))
            return self._by_name[name]

    def _add(self, adapter: Adapter) -> None:
        adapter.check_encoder(self._encoder.name, self._encoder.hash)
        adapter.check_router()
        adapter.router.level(self._policy)  # raises now where a policy cannot be kept
        if self._reasoner is not None and adapter.lora is not None:
            load_lora(self._reasoner, adapter.lora)
        self._by_name = {**self._by_name, adapter.name: adapter}  # a new one: readers may be iterating over the old


class ModelParts:
    """What answers together: an encoder, adapters fitted to it, perhaps a reasoner and a policy. None can be replaced.

    Args:
        encoder: Turns posts into features.
        adapters: Fitted parts by name; the first answers unless a call names another.
        reasoner: Answers deferred posts; without one the fast answer stands and says so.
        policy: What may be deferred, also as the command line spells it (`"budget:0.1"`, see `Policy.parse`); `None`
            uses the thresholds the adapter was fitted with.
        limits: How much of a post is read, and what its picture may cost.
        senses: What else is read in pictures: `ocr`, the words there, and `faces`. None by default.

    Raises:
        ArtefactError: An adapter was fitted to another encoder, or two have one name.
        InputError: No such policy or sense, or not a reasoner.
        MissingExtraError: The packages of a sense are not installed.
    """

    def __init__(
        self,
        encoder: Encoder,
        adapters: Sequence[Adapter],
        *,
        reasoner: Reasoner | None = None,
        policy: Policy | str | None = None,
        limits: Limits = DEFAULT_LIMITS,
        senses: Sequence[Sense] = (),
    ) -> None:
        if reasoner is not None:
            check_reasoner(reasoner)
        # Types are asked here, and not objects: `isinstance` reads `__class__`, which may raise.
        if not issubclass(type(limits), Limits):
            raise InputError(f"found a {type(limits).__name__}; wanted Limits", field="limits")
        self._limits = limits
        self._encoder, self._reasoner = encoder, reasoner
        self._reasoner_id = None if reasoner is None else reasoner.id
        if policy is not None and not issubclass(type(policy), str | Policy):
            message = f"found {type(policy).__name__}; wanted a Policy, or its spelling such as 'budget:0.1'"
            raise InputError(message, field="policy")
        self._policy = Policy.parse(policy) if isinstance(policy, str) else policy
        self._adapters = AdapterSet(adapters, encoder, self._policy, reasoner)
        head = self._adapters.get().head
        self._checked = checked_encoder(encoder, head.width("text"), head.width("image"))
        self._senses = check_senses(senses)
        self._readers = PictureReaders(self._senses) if self._senses else None
        self._closed = False
        self._opened: tuple[object, ...] = ()
        self._reopen: Callable[[], ModelParts] = partial(
            type(self), encoder, adapters, reasoner=reasoner, policy=policy, limits=limits, senses=self._senses
        )
        self._live: Mapping[str, object] = {"encoder": encoder, "adapters": adapters, "reasoner": reasoner}

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path = "default",
        *,
        reasoner: ReasonerSource | None = None,
        adapters: Sequence[str | Path] = (),
        policy: Policy | str | None = None,
        threads: int | None = None,
        cache: int | None = None,
        limits: Limits = DEFAULT_LIMITS,
        senses: Sequence[Sense] = (),
    ) -> Self:
        """Load a model: a bundled adapter's name or a folder, and further adapters to choose from per call.

        Args:
            name_or_path: The adapter that answers by default.
            reasoner: What answers deferred posts, see `open_reasoner`: a pulled preset's name, a model's folder, a
                configuration or its `.toml` file, recorded verdicts (`.jsonl`), or a reasoner. None by default.
            adapters: More adapters, fitted to the same encoder or holding a LoRA adapter alone. Bundled ones need not
                be named here: they are loaded when a call names them.
            policy: What may be deferred, as a `Policy` or as the command line spells it (`"budget:0.1"`).
            threads: Threads per operator; default 1. Run posts side by side rather than one post faster.
            cache: Remember the features of so many posts, see `CachedEncoder`; default none.
            limits: How much of a post is read, and what its picture may cost.
            senses: What else is read in pictures, each by the packages of the extra of its name: `ocr`, the words
                there, and `faces`; each counts in the answer by weights of the model's folder, and is evidence alone
                without them. None by default.

        Raises:
            ArtefactError: No such adapter, a damaged file, one fitted to another encoder, or a model not pulled.
            InputError: No such reasoner, policy or sense.
            MissingExtraError: The packages of the reasoner or of a sense are not installed.
        """
        kind = type(adapters)
        if issubclass(kind, str | Path) or not issubclass(kind, Iterable):
            raise InputError(f"found a {kind.__name__}; wanted a list of names", field="adapters")
        if threads is not None and (type(threads) is not int or threads < 1):
            raise InputError("threads are counted: wanted a whole number from 1 on, or None", field="threads")
        model = open_model(name_or_path, threads=threads or 1)
        encoder = model.encoder if cache is None else CachedEncoder(model.encoder, cache)
        loaded = [model.adapter, *(Adapter.load(resolve_adapter(name), model.adapter) for name in adapters)]
        opened = None if reasoner is None else open_reasoner(reasoner)
        parts = cls(encoder, loaded, reasoner=opened, policy=policy, limits=limits, senses=senses)
        parts._opened = (model.encoder,) if opened is reasoner else (model.encoder, opened)
        is_named = issubclass(type(reasoner), str | Path)
        source = _absolute(cast("str | Path", reasoner)) if is_named else reasoner
        parts._reopen = partial(
            cls.from_pretrained,
            _absolute(name_or_path),
            reasoner=source,
            adapters=tuple(map(_absolute, adapters)),
            policy=policy,
            threads=threads,
            cache=cache,
            limits=limits,
            senses=parts._senses,
        )
        parts._live = {"reasoner": source}
        return parts

    @property
    def encoder(self) -> Encoder:
        """Turns posts into features."""
        return self._encoder

    @property
    def adapters(self) -> Mapping[str, Adapter]:
        """The loaded adapters by name; a bundled one joins them when a call first names it."""
        return self._adapters.by_name

    @property
    def default(self) -> str:
        """Name of the adapter that answers unless a call names another."""
        return self._adapters.default

    @property
    def reasoner(self) -> Reasoner | None:
        """Answers deferred posts."""
        return self._reasoner

    @property
    def policy(self) -> Policy | None:
        """What may be deferred; `None`: by the thresholds the adapter was fitted with."""
        return self._policy

    @property
    def limits(self) -> Limits:
        """How much of a post is read, and what its picture may cost."""
        return self._limits

    @property
    def senses(self) -> tuple[Sense, ...]:
        """What else is read in pictures."""
        return self._senses

    def close(self) -> None:
        """Close what `from_pretrained` opened; parts that were handed over stay open. No post is answered any more."""
        self._closed = True
        opened, self._opened = self._opened, ()
        for part in opened:
            if callable(close := getattr(part, "close", None)):
                close()

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError("this analyzer is closed; open another with `Analyzer.from_pretrained`")

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Callable[[], ModelParts], tuple[Any, ...]]:
        self._check_open()
        for name, part in self._live.items():
            with translated(partial(_not_picklable, name)):
                pickle.dumps(part)
        return self._reopen, ()


def _not_picklable(name: str, cause: str) -> InputError:
    return InputError(
        f"this analyzer was built from a live object that cannot be pickled ({cause}); build it with "
        "`Analyzer.from_pretrained` from names and paths, or in the other process",
        field=name,
    )


def _absolute(name_or_path: str | Path) -> str | Path:
    """A bundled name as it is; the path of an existing file or folder made absolute, for another process to open."""
    if isinstance(name_or_path, str) and name_or_path in bundled_adapters():
        return name_or_path
    path = Path(name_or_path)
    return path.absolute() if path.exists() else name_or_path
