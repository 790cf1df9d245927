"""Products in pieces are those of whole matrices, and no thread of BLAS wakes for them."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_mmsa.products import product

PROGRAM = """
import os
import numpy as np
from hybrid_mmsa.products import product

def busy():
    tasks = os.listdir("/proc/self/task")
    return {task: int(open(f"/proc/self/task/{task}/schedstat").read().split()[0]) for task in tasks}

chance = np.random.default_rng(0)
pairs = [(18, 4608, 96), (18, 25, 2304), (18, 96, 768), (1, 4608, 96), (300, 5, 300)]
matrices = [(chance.random((m, k), np.float32), chance.random((k, n), np.float32)) for m, k, n in pairs]
before = busy()
for _ in range(5):
    for left, right in matrices:
        product(left, right)
after = busy()
own = str(os.getpid())
print(sum(time - before.get(task, 0) for task, time in after.items() if task != own))
"""


@given(st.integers(1, 40), st.integers(1, 5000), st.integers(1, 300), st.integers(0, 9))
def test_pieces_give_the_whole(rows, inner, columns, seed):
    chance = np.random.default_rng(seed)
    left, right = chance.random((rows, inner), np.float32), chance.random((columns, inner), np.float32).T
    assert product(left, right) == pytest.approx(left @ right, rel=1e-4)


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="how busy a thread was stands in Linux's /proc")
def test_no_other_thread_wakes():
    program = [sys.executable, "-c", PROGRAM]
    free = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    told = subprocess.run(program, capture_output=True, text=True, check=True, env=free | {"OPENBLAS_NUM_THREADS": "4"})
    assert int(told.stdout) < 1_000_000  # nanoseconds; a thread that waits for more spends 26,000,000
