"""Nothing leaves and nothing is written: no command of the core opens a socket or a file outside its output."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from eval.bench.hardening.tracing import COMMANDS, lay_out, stray, traced
from hybrid_mmsa import privacy

PACKAGE = Path(__file__).resolve().parent.parent / "hybrid_mmsa"


@pytest.fixture
def folder(tmp_path):
    folder, _ = lay_out(tmp_path)
    return folder


@pytest.mark.parametrize("name", COMMANDS)
def test_a_core_command_opens_no_socket_and_writes_nothing_but_its_output(name, folder):
    home = folder.parent / "home"
    trace = traced(COMMANDS[name], folder, home)
    assert trace.code == (1 if name == "drift" else 0), (
        trace.errors
    )  # it says that twenty times three posts are shifted
    assert trace.sockets == ()
    assert stray(trace, folder) == []
    assert [*home.rglob("*")] == []


def test_the_tracer_hears_of_what_it_is_there_for(folder):
    """A plugin-like module that opens a socket and writes into the home is found out."""
    program = (
        "import socket, pathlib\n"
        "pathlib.Path.home().joinpath('id').write_text('x')\n"
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "try:\n    s.connect(('192.0.2.1', 9))\nexcept OSError:\n    pass\n"
    )
    (folder / "hybrid_mmsa.py").write_text(program)  # `python -m` finds the working directory first
    trace = traced([], folder, folder.parent / "home")
    assert trace.sockets
    assert folder.parent / "home" / "id" in trace.written


def test_one_module_imports_onnxruntime_and_telemetry_is_off_by_then():
    importing = [
        file.relative_to(PACKAGE).as_posix()
        for file in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import) and any(alias.name.split(".")[0] == "onnxruntime" for alias in node.names)
    ]
    assert set(importing) == {"onnx/session.py"}
    program = (
        "import builtins, os\nimported = builtins.__import__\n"
        "def hook(name, *rest):\n"
        "    if name == 'onnxruntime': assert os.environ['ORT_DISABLE_TELEMETRY'] == '1'\n"
        "    return imported(name, *rest)\n"
        "builtins.__import__ = hook\n"
        "import hybrid_mmsa; hybrid_mmsa.analyze('What a day!')\n"
    )
    clean = {name: value for name, value in os.environ.items() if name not in privacy.TELEMETRY_OFF}
    assert subprocess.run([sys.executable, "-c", program], env=clean).returncode == 0


def test_a_switch_that_the_user_has_set_stays(monkeypatch):
    monkeypatch.setattr(os, "environ", {"HF_HUB_OFFLINE": "0"})
    privacy.switch_telemetry_off()
    privacy.forbid_downloads()
    assert os.environ["HF_HUB_OFFLINE"] == "0"
    assert os.environ["TRANSFORMERS_OFFLINE"] == "1"
    assert os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1"
