"""ONNX Runtime sessions as this package wants them: CPU, quiet, few threads. Knows nothing of posts.

The one place that imports onnxruntime, because its telemetry has to be off before that.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ArtefactError
from ..privacy import switch_telemetry_off

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["open_session"]

_QUIET = 3  # errors only


def open_session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    """Open a model file for inference on the CPU.

    Args:
        path: An `.onnx` file.
        threads: Threads inside one operator; a session may be run by many threads at once.

    Raises:
        ArtefactError: The file is missing or no valid model.
    """
    switch_telemetry_off()
    import onnxruntime  # not before: a process that only asks a reasoner opens no encoder

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _QUIET
    # Spinning workers burn a core between posts; an embedded library must not.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own error classes are private
        raise ArtefactError(f"cannot open the model {path}: {error}") from error
