"""`hybrid-mmsa eval run | posts | report | results`: arguments in, results out. It holds no logic of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ...analyzer import Analyzer
from ...data import load_corpus, read_posts
from ...errors import InputError
from ...evaluation import (
    Result,
    evaluate_posts,
    load_protocol,
    load_result,
    load_results,
    render_report,
    render_results,
    run_protocol,
    save_result,
    summary,
)
from ...reasoning import open_reasoner
from ...types import Sample
from ..terminal.console import emit, notes, page, say
from ..terminal.options import AsJson, Model, ReasonerChoice

__all__ = ["eval_app"]

eval_app = typer.Typer(help="Measure: on a benchmark, or on your own labelled posts.", no_args_is_help=True)
AdapterName = Annotated[str | None, typer.Option("--adapter", help="An adapter that answers in the model's place.")]
Pattern = Annotated[
    str, typer.Option("--model", metavar="NAME_OR_PATH", help="A model; {fold} and {seed} in it are filled in.")
]


@eval_app.command("run")
def run(
    protocol: Annotated[str, typer.Argument(help="A protocol file (.toml), or the name of a bundled one.")],
    data: Annotated[
        Path | None, typer.Option(help="The corpus's folder, in its official layout; a bundled corpus needs none.")
    ] = None,
    model: Pattern = "default",
    adapter: AdapterName = None,
    reasoner: ReasonerChoice = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the results.")] = Path("eval-results"),
    floors_only: Annotated[bool, typer.Option(help="Measure no model, only the floors.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure a model on a benchmark, floors beside it. A run that broke off goes on where it stopped.

    For example:

        hybrid-mmsa eval run mvsa_single --data MVSA_Single
    """
    chosen, pattern, failed = load_protocol(protocol), adapter or model, 0
    folds = chosen.manifest().folds
    if folds and "{fold}" not in pattern and not floors_only:
        say(f"{chosen.name} needs a model for each of its {folds} folds (--model 'my-models/{{fold}}'): floors only")
        floors_only = True
    for seed in chosen.seeds if "{seed}" in pattern and not floors_only else (None,):
        name = pattern if seed is None else pattern.replace("{seed}", str(seed))
        models = None if floors_only else _models(name, reasoner)
        label = "floors" if models is None else Path(name).name.replace("{fold}", "folds")
        stem = f"{chosen.name}_{label}" + ("" if seed is None else f"_seed{seed}")
        partial = out / f"{stem}.partial.jsonl"
        with _progress() as advance:
            result = run_protocol(chosen, data, models, partial if models else None, advance)
        result = result.model_copy(update={"seed": seed})
        path = out / f"{result.date}_{stem}.json"
        save_result(result, path)
        if partial.is_file():  # so that the next run starts anew
            partial.replace(path.with_suffix(".predictions.jsonl"))
        say(f"wrote {path}")
        _show(result, as_json)
        failed += result.failed
    raise typer.Exit(1 if failed else 0)


@eval_app.command("posts")
def posts(
    file: Annotated[Path, typer.Argument(help="Labelled posts: .jsonl, .csv or .parquet.")],
    model: Model = "default",
    adapter: AdapterName = None,
    reasoner: ReasonerChoice = None,
    sarcasm: Annotated[bool, typer.Option("--sarcasm", help="Score sarcasm instead of sentiment.")] = False,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Also write the result to this file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure a model on your own labelled posts: fused, text alone and picture alone.

    For example:

        hybrid-mmsa eval posts labelled.jsonl
    """
    analyzer = _models(adapter or model, reasoner)(None)
    with _progress() as advance:
        result = evaluate_posts(file, analyzer, "sarcasm" if sarcasm else "sentiment", lambda done: advance(done, None))
    if out is not None:
        save_result(result, out)
    _show(result, as_json)
    raise typer.Exit(1 if result.failed else 0)


@eval_app.command("report")
def report(
    results: Annotated[list[Path], typer.Argument(help="Result files, or folders of them.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The page to write.")],
    texts: Annotated[Path | None, typer.Option(help="Your posts or corpus: shows the words of the mistakes.")] = None,
) -> None:
    """Write results as one page that opens offline.

    For example:

        hybrid-mmsa eval report eval-results -o report.html
    """
    loaded = _load(results)
    words = {} if texts is None else _words(texts, loaded)
    out.write_text(render_report(loaded, words), encoding="utf-8")
    say(f"wrote {out}")


@eval_app.command("results")
def results_page(
    folder: Annotated[Path, typer.Argument(help="Folder of result files.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The Markdown page to write.")],
) -> None:
    """Write the page of all results from their files."""
    out.write_text(render_results(_load([folder])), encoding="utf-8")
    say(f"wrote {out}")


def _models(name: str, reasoner: str | None) -> Callable[[int | None], Analyzer]:
    opened = None if reasoner is None else open_reasoner(reasoner)
    return lambda fold: Analyzer.from_pretrained(
        name if fold is None else name.replace("{fold}", str(fold)), reasoner=opened
    )


def _load(paths: list[Path]) -> list[Result]:
    results = [r for path in paths for r in (load_results(path) if path.is_dir() else [load_result(path)])]
    if not results:
        raise InputError("no result files there", field="results")
    return results


def _words(source: Path, results: list[Result]) -> dict[str, str]:
    """The texts of posts by id, from a file of posts or a corpus folder."""
    if source.is_dir():
        names = dict.fromkeys(result.corpus for result in results if result.corpus)
        samples = [record.sample for name in names for record in load_corpus(name, source)]
    else:
        samples = [row for _, row in read_posts(source) if isinstance(row, Sample)]
    return {sample.id: sample.text for sample in samples if sample.id and sample.text}


def _show(result: Result, as_json: bool) -> None:
    if as_json:
        emit(result.model_dump_json())
    else:
        page().print(summary(result), soft_wrap=True)


@contextmanager
def _progress() -> Iterator[Callable[[int, int | None], None]]:
    columns = (TextColumn("posts"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = notes()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("posts", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
