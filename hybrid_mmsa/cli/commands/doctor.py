"""`hybrid-mmsa doctor`: what is installed, whether it works, and how fast. It changes and fetches nothing."""

from __future__ import annotations

import getpass
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from time import perf_counter
from types import MappingProxyType
from typing import Annotated, Literal

import typer

from ..._version import __version__
from ...analyzer import Analyzer
from ...data import CORPORA
from ...encoders import ENCODER_KINDS
from ...errors import ArtefactError, HybridError
from ...plugins import GROUPS, installed_plugins
from ...reasoning import Preset, presets
from ...reasoning.models.store import check_files, model_folder, read_manifest
from ..terminal.console import PROGRAM, emit, notes, page
from ..terminal.options import AsJson

__all__ = ["MODULES", "Check", "checks", "doctor", "requirements"]

TEST_POST = "What a lovely day, thank you all!"
REPEATS = 5
IMPORT_SECONDS = 300
MODULES = MappingProxyType(
    {
        "llama-cpp-python": "llama_cpp",
        "open-clip-torch": "open_clip",
        "pillow": "PIL",
        "scikit-learn": "sklearn",
        "vadersentiment": "vaderSentiment",
    }
)
"""Distributions that are imported under a name that is not their own with underscores."""
BACKENDS = MappingProxyType(
    {
        "vlm": "hybrid_mmsa.reasoning.backends.transformers",
        "llama": "hybrid_mmsa.reasoning.backends.llama_cpp",
        "server": "hybrid_mmsa.reasoning.backends.openai_server",
    }
)
"""The reasoner backend that an extra opens; it is imported together with the extra's packages."""
PATHS = re.compile(r"(?:[A-Za-z]:\\|\\\\|~?/)[^\s'\",;]*")
"""Whatever begins as a path does; what follows it up to a space goes with it."""
FIND_GPU = (
    "import torch; n = torch.cuda.device_count(); "
    "print(', '.join(torch.cuda.get_device_name(i) for i in range(n)) or 'none: reasoners run on the CPU')"
)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: `ok`, `absent` (optional and not installed) or `failed`."""

    name: str
    state: Literal["ok", "absent", "failed"]
    found: str


def doctor(
    as_json: AsJson = False,
    report: Annotated[
        bool, typer.Option("--report", help="Write what a report of a defect needs, without names and paths of yours.")
    ] = False,
) -> None:
    """Check the installation: versions, extras, the bundled models, pulled models, and a timed test post.

    For example:
        hybrid-mmsa doctor
        hybrid-mmsa doctor --report > report.txt
    """
    console, waiting = page(), notes()
    styles = {"ok": "green", "absent": "dim", "failed": "bold red"}
    failed = 0
    with waiting.status("looking ...") if waiting.is_terminal else nullcontext():
        for check in checks():
            check = without_private(check) if report else check
            failed += check.state == "failed"
            if as_json:
                emit(json.dumps(asdict(check), ensure_ascii=False))
                continue
            console.print(f"{check.state:<8}", style=styles[check.state], end="")
            console.print(f"{check.name:<16}{check.found}", soft_wrap=True)
    if failed:
        raise typer.Exit(1)


def without_private(check: Check) -> Check:
    """The check as strangers may read it: no paths, no user and host, no names of plugins."""
    found = "not shown here" if check.name == "plugin" else PATHS.sub("…", check.found)
    for name in {getpass.getuser(), platform.node()}:
        found = re.sub(rf"\b{re.escape(name)}\b", "…", found) if name else found
    return replace(check, found=found)


def checks() -> Iterator[Check]:
    """Everything looked at, cheapest first."""
    yield Check("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield Check("cores", "ok", str(os.cpu_count()))
    needed = requirements()
    if needed is None:
        yield Check(PROGRAM, "absent", f"{__version__} runs from its sources and is not installed: extras are unknown")
    else:
        yield Check(PROGRAM, "ok", __version__)
        versions = {name: _version(name) for name in needed[""]}
        missing = [name for name, version in versions.items() if version is None]
        if missing:
            yield Check("core", "failed", f"not installed: {', '.join(missing)}; pip install {PROGRAM}")
        else:
            yield Check("core", "ok", ", ".join(f"{name} {version}" for name, version in versions.items()))
    yield from _model()
    pulled = [check for preset in presets().values() if (check := _preset(preset)) is not None]
    yield from pulled or [Check("reasoner", "absent", f"no preset is pulled, see `{PROGRAM} models list`")]
    for extra, distributions in sorted((needed or {}).items()):
        if extra:
            yield _extra(extra, distributions)
    yield from _plugins()
    if "vlm" in (needed or {}) and _version("torch") is not None:
        yield _gpu()


def requirements() -> dict[str, list[str]] | None:
    """Distributions needed by each extra, by the core under `""`; None where the package is not installed."""
    try:
        lines = importlib.metadata.requires(PROGRAM) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    needed: dict[str, list[str]] = {}
    for line in lines:
        name = re.match(r"[\w.-]+", line)
        extra = re.search(r"extra == ['\"]([\w-]+)", line)
        if name:
            needed.setdefault(extra[1] if extra else "", []).append(name[0].lower())
    return needed


def _extra(extra: str, distributions: list[str]) -> Check:
    """Whether an extra is there and really imports, found out in a process of its own, which may die of it."""
    name = f"extra {extra}"
    missing = [d for d in distributions if _version(d) is None]
    if missing:
        which = "" if len(missing) == len(distributions) else f" (lacks {', '.join(missing)})"
        return Check(name, "absent", f"pip install '{PROGRAM}[{extra}]'{which}")
    modules = [MODULES.get(d, d.replace("-", "_")) for d in distributions]
    if extra in BACKENDS:
        modules.append(BACKENDS[extra])
    return _imported(name, f"import {', '.join(modules)}", ", ".join(f"{d} {_version(d)}" for d in distributions))


def _imported(name: str, program: str, content: str) -> Check:
    """Whether a line that imports something runs."""
    try:
        process = _python(program)
    except subprocess.TimeoutExpired:
        return Check(name, "failed", f"{content}: importing it took over {IMPORT_SECONDS} s")
    if process.returncode:
        cause = (process.stderr.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
        return Check(name, "failed", f"{content} is installed, but does not import: {cause}")
    return Check(name, "ok", content)


def _plugins() -> Iterator[Check]:
    """What other packages offer, each imported in a process of its own."""
    built_in = {"encoders": ENCODER_KINDS, "reasoners": (*presets(),), "corpora": tuple(CORPORA)}
    for plugin in (plugin for group in GROUPS for plugin in installed_plugins(group)):
        if plugin.name in built_in[plugin.group]:
            yield Check("plugin", "failed", f"{plugin} has the name of a built-in one and is never used")
            continue
        program = f"from hybrid_mmsa.plugins import find_plugin; find_plugin({plugin.group!r}, {plugin.name!r}).load()"
        yield _imported("plugin", program, str(plugin))


def _gpu() -> Check:
    """The graphics cards that torch sees, asked in a process of its own."""
    try:
        process = _python(FIND_GPU)
    except subprocess.TimeoutExpired:
        return Check("gpu", "failed", f"importing torch took over {IMPORT_SECONDS} s")
    if process.returncode:
        return Check("gpu", "failed", (process.stderr.strip().splitlines() or [f"exit code {process.returncode}"])[-1])
    return Check("gpu", "absent" if process.stdout.startswith("none") else "ok", process.stdout.strip())


def _python(program: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", "-c", program]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=IMPORT_SECONDS)


def _preset(preset: Preset) -> Check | None:
    folder = model_folder(preset.name)
    try:
        pulled = read_manifest(folder)
        if pulled is None:
            return None
        check_files(folder, pulled)
    except ArtefactError as error:
        return Check("reasoner", "failed", f"{preset.name}: {error}")
    needs = f"needs {preset.memory} GB, in 4 bits {preset.memory_4bit} GB"
    return Check("reasoner", "ok", f"{preset.name} {pulled.revision[:12]}, all files as they should be; {needs}")


def _model() -> Iterator[Check]:
    """Whether the bundled model is there, whole (loading checks every hash), and answers."""
    started = perf_counter()
    try:
        analyzer = Analyzer.from_pretrained()
    except HybridError as error:
        yield Check("model", "failed", str(error))
        return
    loaded = perf_counter()
    adapter = analyzer.adapters[analyzer.default]
    remark = f"{adapter.name} {adapter.hash[:12]}, encoder {adapter.encoder} {adapter.encoder_hash[:12]}"
    yield Check("model", "ok", f"{remark}, all files as they should be; loaded in {1000 * (loaded - started):.0f} ms")
    times = []
    for _ in range(1 + REPEATS):
        started = perf_counter()
        label = analyzer.analyze(TEST_POST).sentiment.label
        times.append(1000 * (perf_counter() - started))
    state: Literal["ok", "failed"] = "ok" if label == "positive" else "failed"
    speed = f"{times[0]:.1f} ms the first time, then {sorted(times[1:])[REPEATS // 2]:.1f} ms"
    yield Check("test post", state, f"{TEST_POST!r} is {label}: {speed}")


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
