"""ONNX Runtime sessions as this package wants them: CPU, quiet, few threads. Knows nothing of posts.

The one place that imports onnxruntime, because its telemetry has to be off before that.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ArtefactError
from ..forks import tell_of_forks
from ..privacy import switch_telemetry_off
from .weights import Shown, graph_alone

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["Session", "open_session"]

_QUIET = 3  # errors only


class Session:
    """A model file that is open.

    In a forked process it is opened again where it has threads of its own, or where another thread was using it at the
    time of the fork: the locks inside stay closed then. Otherwise the child shares its memory.

    Args:
        model: See `open_session`.
        threads: See `open_session`.
        shown: See `open_session`.

    Attributes:
        inputs: Shapes by name; a length that is not fixed is a name.
        outputs: Their names: the model's own, then those of what is shown.
    """

    def __init__(self, model: Path | bytes, threads: int, shown: Shown | None = None) -> None:
        self._model, self._threads, self._shown = model, threads, shown
        session = _inference_session(model, threads, shown)
        self.inputs: dict[str, Sequence[int | str]] = {each.name: each.shape for each in session.get_inputs()}
        self.outputs: tuple[str, ...] = tuple(output.name for output in session.get_outputs())
        self._session: onnxruntime.InferenceSession | None = session
        self._calls: list[None] = []  # one entry for each that runs: appending and popping need no lock
        tell_of_forks(self)

    def forked(self) -> None:
        """Leave a session that cannot be used, and never destroy it: that would wait for threads that are gone."""
        if self._threads > 1 or self._calls:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._session))
            self._session = None
        self._calls = []

    def run(self, outputs: Sequence[str], inputs: Mapping[str, Any]) -> list[Any]:
        """Some outputs of the model, by their names."""
        calls = self._calls
        calls.append(None)
        try:
            session = self._session or _inference_session(self._model, self._threads, self._shown)
            self._session = session
            values: list[Any] = session.run(outputs, inputs)
        finally:
            calls.pop()
        return values


def open_session(model: Path | bytes, threads: int, shown: Shown | None = None) -> Session:
    """Open a model for inference on the CPU.

    Args:
        model: An `.onnx` file, or the bytes of one that is whole in itself.
        threads: Threads inside one operator; a session may be run by many threads at once.
        shown: What inside the model can be asked for besides its outputs; of a file alone.

    Raises:
        ArtefactError: The file is missing or no valid model.
    """
    return Session(model, threads, shown)


def _inference_session(model: Path | bytes, threads: int, shown: Shown | None) -> onnxruntime.InferenceSession:
    switch_telemetry_off()
    import onnxruntime  # not before: a process that only asks a reasoner opens no encoder

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _QUIET
    # ONNX Runtime's own pool of memory never gives any back, and grows as long as new lengths come: by 140 MB in 90
    # seconds of mixed posts. Without it a run takes no longer.
    options.enable_cpu_mem_arena = False
    # Spinning workers burn a core between posts; an embedded library must not.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Weights may not lie elsewhere than the model seems to.
    beside = os.devnull if isinstance(model, bytes) else str(model.resolve().parent)
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", beside)
    try:
        graph = model if isinstance(model, bytes) else graph_alone(model.resolve(), shown)
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own error classes are private
        named = "in the weights" if isinstance(model, bytes) else model
        raise ArtefactError(f"cannot open the model {named}: {error}") from error
