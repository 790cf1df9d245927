"""Opens a reasoner and asks it about one post, in a process of its own that imports nothing else.

    OMP_NUM_THREADS=2 python eval/bench/reasoner/fresh.py MODEL TEXT [PICTURE]

Prints JSON: seconds to open, imports among them, seconds to the first whole answer, and peak memory in MB.
"""

from __future__ import annotations

import json
import sys
import time

from eval.bench.speed.memory import peak_memory_mb


def fresh(model: str, text: str, picture: str | None = None) -> dict[str, float]:
    """Open, ask, tell."""
    begin = time.perf_counter()
    from hybrid_mmsa.inputs import read_sample
    from hybrid_mmsa.reasoning import open_reasoner
    from hybrid_mmsa.types import Sample

    reasoner = open_reasoner(model)
    opened = time.perf_counter()
    reasoner.reason([read_sample(Sample(text=text, image=picture))], rationale=True)
    return {
        "seconds_to_open": opened - begin,
        "seconds_to_answer": time.perf_counter() - opened,
        "peak_memory_mb": peak_memory_mb(),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(fresh(*sys.argv[1:])))
