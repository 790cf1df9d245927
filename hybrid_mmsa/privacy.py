"""Keeps the libraries that this package runs from reporting on its users. Knows no library's code, only its switches.

Each switch is an environment variable that a library reads when it is imported, so the call stands before the import.
"""

from __future__ import annotations

import os

__all__ = ["TELEMETRY_OFF", "forbid_downloads", "switch_telemetry_off"]

TELEMETRY_OFF = {
    "DO_NOT_TRACK": "1",  # huggingface_hub, and others that follow consoledonottrack.com
    "HF_HUB_DISABLE_TELEMETRY": "1",  # huggingface_hub, and so transformers, datasets and trl, which report through it
    # onnxruntime 1.32 writes a device identifier and a queue of events to the home folder, and looks up a host;
    # its `disable_telemetry_events` comes too late.
    "ORT_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}
OFFLINE = {"HF_DATASETS_OFFLINE": "1", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}


def switch_telemetry_off() -> None:
    """Switch off the reports of libraries that are imported from here on, in this process and those it starts.

    A switch that the user has set stays as it is.
    """
    for name, value in TELEMETRY_OFF.items():
        os.environ.setdefault(name, value)


def forbid_downloads() -> None:
    """Forbid the model hub's libraries to ask the hub, in the rest of this process; for a program, not for a library.

    A switch that the user has set stays as it is.
    """
    for name, value in OFFLINE.items():
        os.environ.setdefault(name, value)
