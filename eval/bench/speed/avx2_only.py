"""Runs a program as a machine without AVX-512, VNNI or AMX would run it, on a machine that has them.

    python eval/bench/speed/avx2_only.py eval/bench/speed/bench.py --save

ONNX Runtime has no setting for this: it asks the processor by the `cpuid` instruction. So every `cpuid` in a copy of
its library becomes a trap, and a small library that is loaded before it answers the trap with the processor's own
answer less the wide instructions. PyTorch, oneDNN, MKL and NumPy are told by their variables. Records say so and get
names of their own. Needs Linux on x86-64, `gcc` and `objdump`. What stays different from an older machine: its caches,
clocks and memory.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from eval.bench.keeping import INSTRUCTIONS

ANSWERS = r"""
#define _GNU_SOURCE
#include <cpuid.h>
#include <signal.h>
#include <stddef.h>
#include <ucontext.h>

static void without(unsigned *set, unsigned bits) { *set &= ~bits; }

static void answer(int signal, siginfo_t *info, void *context) {
  greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
  unsigned leaf = registers[REG_RAX], part = registers[REG_RCX], a, b, c, d;
  __cpuid_count(leaf, part, a, b, c, d);
  if (leaf == 7 && part == 0) {
    without(&b, 1u << 16 | 1u << 17 | 1u << 21 | 1u << 26 | 1u << 27 | 1u << 28 | 1u << 30 | 1u << 31); /* AVX-512 */
    without(&c, 1u << 1 | 1u << 6 | 1u << 11 | 1u << 12 | 1u << 14); /* VBMI, VNNI, BITALG, VPOPCNTDQ */
    without(&d, 1u << 2 | 1u << 3 | 1u << 8 | 7u << 22 | 1u << 25);  /* AVX-512 of later years, AMX */
  }
  if (leaf == 7 && part == 1) {
    without(&a, 1u << 4 | 1u << 5 | 1u << 21 | 1u << 23); /* AVX-VNNI, BF16, AMX-FP16, AVX-IFMA */
    without(&d, 1u << 4 | 1u << 5 | 1u << 10);            /* AVX-VNNI-INT8, AVX-NE-CONVERT, AVX-VNNI-INT16 */
  }
  if (leaf == 13 && part == 0) without(&a, 0xe0u); /* registers of AVX-512 */
  registers[REG_RAX] = a, registers[REG_RBX] = b, registers[REG_RCX] = c, registers[REG_RDX] = d;
}

__attribute__((constructor)) static void listen(void) {
  struct sigaction action = {0};
  action.sa_sigaction = answer;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  sigaction(SIGTRAP, &action, NULL);
}
"""
"""Bits as Intel's Software Developer's Manual, volume 2A, `CPUID`, numbers them."""
TOLD = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR",
    INSTRUCTIONS: "AVX2",
}
CPUID, TRAP = b"\x0f\xa2", b"\xcc\x90"


def main() -> None:
    """Make the copy and the library, run the program with its arguments, and end as it ends."""
    if len(sys.argv) < 2:
        sys.exit("name a program, and its arguments after it")
    with tempfile.TemporaryDirectory() as folder:
        library, source = Path(folder, "answers.so"), Path(folder, "answers.c")
        source.write_text(ANSWERS, encoding="utf-8")
        subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", library, source], check=True)
        for each in copied(Path(folder)).glob("capi/onnxruntime_pybind11_state*.so"):
            trap(each)
        paths = os.pathsep.join([folder, *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, **TOLD, "LD_PRELOAD": str(library), "PYTHONPATH": paths}
        sys.exit(subprocess.run([sys.executable, *sys.argv[1:]], env=environment).returncode)


def copied(folder: Path) -> Path:
    """The installed package `onnxruntime`, copied into a folder."""
    found = importlib.util.find_spec("onnxruntime")
    if found is None or found.origin is None:
        sys.exit("onnxruntime is not installed")
    return Path(shutil.copytree(Path(found.origin).parent, folder / "onnxruntime"))


def trap(library: Path) -> None:
    """Put a trap, of the same two bytes, in the place of every `cpuid` instruction of a library."""
    listing = tool("objdump", "-d", "--no-show-raw-insn", library)
    places = [int(line.split(":")[0], 16) for line in listing.splitlines() if re.search(r"\tcpuid\s*$", line)]
    loaded = re.findall(r"LOAD\s+(0x\w+) (0x\w+) 0x\w+ (0x\w+)", tool("readelf", "-lW", library))
    segments = [(int(address, 16), int(offset, 16), int(size, 16)) for offset, address, size in loaded]
    content = bytearray(library.read_bytes())
    for place in places:
        at = next(place - start + offset for start, offset, size in segments if start <= place < start + size)
        if content[at : at + 2] != CPUID:
            sys.exit(f"found {content[at : at + 2].hex()} at {place:#x} of {library.name}; wanted cpuid")
        content[at : at + 2] = TRAP
    if not places:
        sys.exit(f"found no cpuid in {library.name}: this way does not fit it")
    library.write_bytes(content)


def tool(*command: str | Path) -> str:
    """What a tool of the machine prints."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    main()
