"""The same posts through `BatchAnalyzer` in Ray Data, Daft and Spark: labels must be those of the library.

    python eval/bench/scale/engines.py [ray] [daft] [spark]

Daft and Spark stand in no lock of ours (Daft wants an older pyarrow, Spark is 300 MB and wants Java): install those
that are asked for into an environment of their own, beside this package. It ends with an error where one differs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from hybrid_mmsa import Analysis, Analyzer, Sample
from hybrid_mmsa.engines import BatchAnalyzer

TEXTS = ["What a lovely day 😍", "I hate this, it broke again", None, "The shop opens at nine", "So sad she is gone"]
POSTS: dict[str, list[Any]] = {"id": [f"p{n}" for n in range(100)], "text": [TEXTS[n % 5] for n in range(100)]}
Labels = dict[str, str | None]


def here() -> Labels:
    """What the library answers."""
    rows = [Sample(id=id_, text=text) for id_, text in zip(POSTS["id"], POSTS["text"], strict=True)]
    answers = Analyzer.from_pretrained().stream(rows, explain="none")
    return {str(a.id): a.sentiment.label if isinstance(a, Analysis) else None for a in answers}


def on_ray() -> Labels:
    """Ray Data, with a checkpoint by id, and a second run that finds nothing left to do."""
    import pyarrow
    import pyarrow.dataset
    import pyarrow.parquet
    import ray.data
    from ray.data.checkpoint import CheckpointConfig

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    with TemporaryDirectory() as folder:
        pyarrow.parquet.write_table(pyarrow.table(POSTS), f"{folder}/posts.parquet")
        context = ray.data.DataContext.get_current()
        context.checkpoint_config = CheckpointConfig("id", f"{folder}/done", delete_checkpoint_on_success=False)
        for _ in range(2):
            posts = ray.data.read_parquet(f"{folder}/posts.parquet")
            answers = posts.map_batches(BatchAnalyzer(), batch_format="pyarrow", batch_size=32, num_cpus=1)
            answers.write_parquet(f"{folder}/answers")
        table = pyarrow.dataset.dataset(f"{folder}/answers", format="parquet").to_table()
    ray.shutdown()
    if table.num_rows != len(POSTS["id"]):
        sys.exit(f"ray: {table.num_rows} rows for {len(POSTS['id'])} posts")
    return dict(zip(table["id"].to_pylist(), table["label"].to_pylist(), strict=True))


def on_daft() -> Labels:
    """Daft, a column of structs."""
    import daft
    import pyarrow
    from daft.functions import to_struct

    answer = BatchAnalyzer()
    kind = daft.DataType.from_arrow_type(pyarrow.struct(answer.schema))
    columns = daft.func.batch(return_dtype=kind, unnest=True)(answer)
    frame = daft.from_pydict(POSTS).select(columns(to_struct(id=daft.col("id"), text=daft.col("text")))).to_pydict()
    return dict(zip(frame["id"], frame["label"], strict=True))


def on_spark() -> Labels:
    """Spark in this process, by `mapInPandas` and `mapInArrow`."""
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    session = builder.config("spark.driver.host", "127.0.0.1").getOrCreate()
    answer = BatchAnalyzer()
    frame = session.createDataFrame(list(zip(POSTS["id"], POSTS["text"], strict=True)), "id string, text string")
    both = [frame.mapInPandas(answer, answer.ddl).collect(), frame.mapInArrow(answer, answer.ddl).collect()]
    session.stop()
    first, second = [{row.id: row.label for row in rows} for rows in both]
    if first != second:
        sys.exit("spark: mapInPandas and mapInArrow disagree")
    return first


ENGINES: dict[str, Callable[[], Labels]] = {"ray": on_ray, "daft": on_daft, "spark": on_spark}


def main() -> None:
    """Run what is named, or all."""
    console, expected = Console(), here()
    for name in sys.argv[1:] or ENGINES:
        found = ENGINES[name]()
        wrong = {id_ for id_ in expected if found.get(id_, "none") != expected[id_]}
        if wrong or len(found) != len(expected):
            sys.exit(f"{name}: {len(wrong)} labels differ")
        console.print(
            f"{name}: {len(found)} posts, the library's labels, {sum(v is None for v in found.values())} errors"
        )


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
    main()
