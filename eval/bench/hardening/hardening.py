"""Hostile input by the thousand, long runs, what commands open and write: the record behind `eval/HARDENING.md`.

    python eval/bench/hardening/hardening.py [PART ...] [--share 1.0] [--minutes 20] [--json] [--save]

Families of small trials: `pictures`, `texts`, `files`, `artefacts`, `servers`. Every trial must end in an answer or in
one of the errors of `hybrid_mmsa.errors`, in time. Long runs: `large_pictures`, `kills`, `many_threads`, `soak`. Last,
`traces` watches the commands of the core. All parts are measured unless some are named. With `--save` each part is put
into today's record as it ends, so that a part can be measured again alone, and the page is written anew.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table

from eval.bench.hardening import runs, tracing
from eval.bench.hardening.page import PAGE, page
from eval.bench.hardening.trials import figures, run_trials
from eval.bench.keeping import RESULTS, circumstances, keep, program, show

NAME = "hardening"
FAMILIES = ("pictures", "texts", "files", "artefacts", "servers")
VERSIONS = ("pillow", "onnxruntime", "pydantic", "tokenizers", "ijson", "openpyxl", "pyarrow", "peft", "openai")


def trials(family: str, share: float) -> dict[str, Any]:
    """The figures of a family; `share` of its trials is run, the first ones."""
    module = importlib.import_module(f"eval.bench.hardening.{family}")
    count = max(1, round(share * module.COUNT))
    return {"seed": getattr(module, "SEED", None), **figures(list(run_trials(family, count)))}


def parts(share: float, minutes: float) -> dict[str, Callable[[], dict[str, Any]]]:
    """What measures each part, by its name."""
    measuring: dict[str, Callable[[], dict[str, Any]]] = {
        family: lambda family=family: trials(family, share)  # type: ignore[misc]
        for family in FAMILIES
    }
    return measuring | {
        "large_pictures": runs.large_pictures,
        "kills": runs.kills,
        "many_threads": runs.many_threads,
        "soak": lambda: runs.soak(minutes),
        "traces": tracing.summary,
    }


def main() -> None:
    """Measure, print and perhaps keep."""
    parser = program(__doc__, NAME)
    parser.add_argument("parts", nargs="*", metavar="PART")
    parser.add_argument("--share", type=float, default=1.0, help="share of the trials of a family")
    parser.add_argument("--minutes", type=float, default=20.0, help="minutes of the soak")
    options = parser.parse_args()
    measuring = parts(options.share, options.minutes)
    if unknown := set(options.parts) - measuring.keys():
        parser.error(f"no part {', '.join(sorted(unknown))}; wanted some of {', '.join(measuring)}")
    record: dict[str, Any] = circumstances(VERSIONS, 1)
    for name in options.parts or measuring:
        measured = measuring[name]()
        if options.save:
            path = RESULTS / f"{NAME}-{record['date']}.json"
            kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
            record = {**kept, **record}
        record[name] = measured
        if options.save:
            keep(NAME, record)
            PAGE.write_text(page(record), encoding="utf-8")
    show(record, _table(record), as_json=options.json)


def _table(record: dict[str, Any]) -> Table:
    table = Table(title=f"{NAME}, {record['date']}")
    for column in ("part", "outcomes"):
        table.add_column(column)
    for name, found in record.items():
        if isinstance(found, dict) and name not in ("machine", "versions"):
            table.add_row(name, json.dumps(found.get("outcomes", {k: v for k, v in found.items() if k != "commands"})))
    return table


if __name__ == "__main__":
    main()
    Console(stderr=True).print("done")
